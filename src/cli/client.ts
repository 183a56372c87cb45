import { Command } from 'commander'
import { newClientSecret } from '../client/new-secret.ts'
import { createSystemRandom } from '../lib/id.ts'
import { type Format, outputOption } from './output.ts'
import type { Terminal } from './terminal.ts'

/** `rolemint client secret new`: a secret for a client, and the digest for the configuration. */
export function clientCommand(terminal: Terminal): Command {
  const client = new Command('client').description('Credentials of clients.')
  const secret = client
    .command('secret')
    .description('Client secrets. rolemint makes them: a chosen one could be guessed.')
  secret
    .command('new')
    .description('Make a secret. It is printed once and kept nowhere.')
    .addOption(outputOption())
    .action((options: { output: Format }) => {
      const made = newClientSecret(createSystemRandom())
      if (options.output !== 'table') {
        terminal.stdout(
          `${JSON.stringify({ secret: made.secret.reveal(), sha256: made.sha256 })}\n`,
        )
        return
      }
      terminal.stdout(`secret  ${made.secret.reveal()}\nsha256  ${made.sha256}\n`)
      terminal.stderr(
        'give the secret to the client; put the digest under clients.<id>.auth.clientSecret.sha256, beside the old one while you rotate\n',
      )
    })
  return client
}
