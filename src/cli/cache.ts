import { Command } from 'commander'
import Type, { type Static } from 'typebox'
import Value from 'typebox/value'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { type Format, print } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface CacheOptions {
  readonly tenant?: string
  readonly server?: string
  readonly output: Format
}

const cachesSchema = Type.Object({
  entries: Type.Number(),
  bytes: Type.Number(),
  max_bytes: Type.Number(),
  loading: Type.Number(),
  hits: Type.Number(),
  loads: Type.Number(),
  sources: Type.Array(
    Type.Object({
      tenant: Type.String(),
      source: Type.String(),
      entries: Type.Number(),
      bytes: Type.Number(),
    }),
  ),
})

const purgedSchema = Type.Object({ entries: Type.Number(), reached: Type.String() })

/** `rolemint cache …`: the roles that a replica keeps, so as not to ask entitlement sources at every exchange. */
export function cacheCommand(terminal: Terminal): Command {
  const cache = new Command('cache').description('Show and purge the roles kept by a replica.')
  list(cache.command('list'), terminal)
  purge(cache.command('purge'), terminal)
  return cache
}

function list(command: Command, terminal: Terminal): void {
  withAdminOptions(command.description('List the entitlement sources with what is kept of them.'))
    .option('--tenant <name>', 'only the sources of this tenant')
    .action(async (options: CacheOptions) => {
      const query =
        options.tenant === undefined
          ? ''
          : `?${new URLSearchParams({ tenant: options.tenant }).toString()}`
      const facts = await createAdminClient(terminal, options).call('GET', `/caches${query}`)
      if (!Value.Check(cachesSchema, facts)) throw notUnderstood()
      print(terminal, options.output, facts, rows(facts))
      terminal.stderr(
        `${facts.entries} answers in ${kibibytes(facts.bytes)} of ${kibibytes(facts.max_bytes)}; ${facts.hits} look-ups from memory, ${facts.loads} loads, ${facts.loading} under way\n`,
      )
    })
}

function purge(command: Command, terminal: Terminal): void {
  withAdminOptions(
    command.description(
      'Forget roles, so that the sources are asked anew. Tokens that were issued live on.',
    ),
  )
    .option('--tenant <name>', 'whose; beside `up`, the demo tenant')
    .option('--user <name>', 'only of this user, as the sources know it')
    .option('--source <name>', 'only of this source')
    .action(async (options: CacheOptions & { user?: string; source?: string }) => {
      const tenant = options.tenant ?? readDevState(terminal)?.tenant
      if (tenant === undefined)
        throw new CommandFailure(EXIT.usage, 'name the tenant with --tenant')
      const facts = await createAdminClient(terminal, options).call('POST', '/caches/purge', {
        tenant,
        ...(options.user === undefined ? {} : { user: options.user }),
        ...(options.source === undefined ? {} : { source: options.source }),
      })
      if (!Value.Check(purgedSchema, facts)) throw notUnderstood()
      print(terminal, options.output, facts, [
        ['FORGOTTEN', 'REACHED'],
        [String(facts.entries), facts.reached === 'all' ? 'all replicas' : 'this replica'],
      ])
      if (facts.reached !== 'all')
        terminal.stderr('this replica alone; with several, purge at each (--server)\n')
    })
}

function rows({ sources }: Static<typeof cachesSchema>): readonly (readonly string[])[] {
  return [
    ['TENANT', 'SOURCE', 'ANSWERS', 'SIZE'],
    ...sources.map(({ tenant, source, entries, bytes }) => [
      tenant,
      source,
      String(entries),
      kibibytes(bytes),
    ]),
  ]
}

function kibibytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)} KiB`
}

function notUnderstood(): CommandFailure {
  return new CommandFailure(EXIT.bug, 'the server answered something else than caches')
}
