import { Command } from 'commander'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { type Format, print } from './output.ts'
import type { Terminal } from './terminal.ts'

/** `rolemint status`: what a running server says of itself. */
export function statusCommand(terminal: Terminal): Command {
  return withAdminOptions(new Command('status'))
    .description('Show version, configuration, tenants and signing keys of a running server.')
    .action(async (options: { server?: string; output: Format }) => {
      const facts = await createAdminClient(terminal, options).call('GET', '/status')
      const members = facts !== null && typeof facts === 'object' ? Object.entries(facts) : []
      print(terminal, options.output, facts, [
        ['WHAT', 'VALUE'],
        ...members.map(([name, value]) => [
          name,
          typeof value === 'string' ? value : JSON.stringify(value),
        ]),
      ])
    })
}
