import { Command, Option } from 'commander'
import { createAdminClient } from './admin-client.ts'
import { readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { FORMATS, type Format, print } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface KeysOptions {
  readonly tenant?: string
  readonly server?: string
  readonly output: Format
}

/** `rolemint keys …`: the signing keys of a tenant. */
export function keysCommand(terminal: Terminal): Command {
  const keys = new Command('keys').description('Show and rotate the signing keys of a tenant.')
  withCommon(keys.command('list').description('List the keys with their states.')).action(
    async (options: KeysOptions) => {
      const facts = await createAdminClient(terminal, options).call(
        'GET',
        `/keys?${query(terminal, options)}`,
      )
      show(terminal, options.output, facts)
    },
  )
  withCommon(keys.command('rotate').description('Let the published successor sign from now on.'))
    .requiredOption('--reason <text>', 'why; it is recorded')
    .option('--alg <name>', 'only the key of this algorithm')
    .action(async (options: KeysOptions & { reason: string; alg?: string }) => {
      const facts = await createAdminClient(terminal, options).call('POST', '/keys/rotate', {
        tenant: tenantOf(terminal, options),
        reason: options.reason,
        ...(options.alg === undefined ? {} : { alg: options.alg }),
      })
      show(terminal, options.output, facts)
      terminal.stderr('rotated; tokens of the former key stay valid until they expire\n')
    })
  return keys
}

function withCommon(command: Command): Command {
  return command
    .option('--tenant <name>', 'tenant; beside `up`, the demo tenant')
    .option('--server <url>', 'admin address of the server')
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(FORMATS).default('table'),
    )
}

function tenantOf(terminal: Terminal, options: KeysOptions): string {
  const tenant = options.tenant ?? readDevState(terminal)?.tenant
  if (tenant === undefined) throw new CommandFailure(EXIT.usage, 'name the tenant with --tenant')
  return tenant
}

const query = (terminal: Terminal, options: KeysOptions) =>
  new URLSearchParams({ tenant: tenantOf(terminal, options) }).toString()

function show(terminal: Terminal, format: Format, facts: unknown): void {
  const list =
    facts !== null && typeof facts === 'object' && 'keys' in facts && Array.isArray(facts.keys)
      ? facts.keys
      : []
  const rows = list.map((key: Record<string, unknown>) => [
    String(key['kid']),
    String(key['alg']),
    String(key['state']),
    time(key['created_at']),
    time(key['activated_at']),
    typeof key['reason'] === 'string' ? key['reason'] : '',
  ])
  print(terminal, format, facts, [
    ['KID', 'ALG', 'STATE', 'CREATED', 'ACTIVE SINCE', 'REASON'],
    ...rows,
  ])
}

/** Milliseconds or an ISO time as an ISO time. */
function time(value: unknown): string {
  if (typeof value === 'number') return new Date(value).toISOString()
  return typeof value === 'string' ? value : ''
}
