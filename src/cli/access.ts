import { Command } from 'commander'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { type Format, print } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface PreviewOptions {
  readonly user: string
  readonly client: string
  readonly idp?: string
  readonly audience: readonly string[]
  readonly tenant?: string
  readonly server?: string
  readonly output: Format
}

/** `rolemint access preview`: what a user would get, decided as an exchange would, without issuing. */
export function accessCommand(terminal: Terminal): Command {
  const access = new Command('access').description('Ask what somebody would get.')
  withAdminOptions(access.command('preview'))
    .description(
      'Decide for a user and a client without issuing a token; exit code 5 when it would be refused.',
    )
    .requiredOption('--user <name>', 'the user, as the entitlement source knows them')
    .requiredOption('--client <id>', 'the client that would ask')
    .option('--idp <name>', 'identity provider, where the client has several')
    .option(
      '--audience <target>',
      'target; may be repeated',
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option('--tenant <name>', 'tenant; beside `up`, the demo tenant')
    .action(async (options: PreviewOptions) => {
      const tenant = options.tenant ?? readDevState(terminal)?.tenant
      if (tenant === undefined)
        throw new CommandFailure(EXIT.usage, 'name the tenant with --tenant')
      const decision = await createAdminClient(terminal, options).call(
        'POST',
        '/decisions/preview',
        {
          tenant,
          client: options.client,
          audience: options.audience,
          subject: {
            user: options.user,
            ...(options.idp === undefined ? {} : { idp: options.idp }),
          },
        },
      )
      show(terminal, options.output, decision)
    })
  return access
}

function show(terminal: Terminal, format: Format, decision: unknown): void {
  const { outcome, trace, grant, error_code: code } = members(decision)
  const steps = Array.isArray(trace) ? trace.map(members) : []
  print(terminal, format, decision, [
    ['RULE', 'EFFECT', 'WHAT', 'WHERE'],
    ...steps.map((step) =>
      [step['rule'], step['effect'], step['detail'], step['at'] ?? ''].map(String),
    ),
  ])
  if (outcome === 'grant') {
    const roles = members(grant)['roles']
    terminal.stderr(`would be granted: ${Array.isArray(roles) ? roles.join(', ') : ''}\n`)
    return
  }
  terminal.stderr(`would be refused: ${String(code)}\n`)
  terminal.exit(EXIT.no)
}

function members(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === 'object'
    ? Object.fromEntries(Object.entries(value))
    : {}
}
