import { Command } from 'commander'
import { systemClock } from '../lib/clock.ts'
import { type AdminClient, createAdminClient, withAdminOptions } from './admin-client.ts'
import { readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { changeKey, confirmation, killKey, killRows, killTalk } from './keys-change.ts'
import { drillCommand } from './keys-drill-command.ts'
import {
  asRing,
  keyNamed,
  type RingFacts,
  readConsumers,
  readRing,
  shortKids,
} from './keys-facts.ts'
import { recounted } from './keys-recount.ts'
import { processScreen, type Screen } from './keys-screen.ts'
import { consumerRows, ringRows } from './keys-tables.ts'
import { drawTimeline, livesOf } from './keys-timeline.ts'
import { type Format, print } from './output.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

interface KeysOptions {
  readonly tenant?: string
  readonly server?: string
  readonly output: Format
}

type ChangeOptions = KeysOptions & { readonly reason: string }

const PLAIN_COLUMNS = 80

/** `rolemint keys …`: the signing keys of a tenant. */
export function keysCommand(terminal: Terminal, screen: Screen = processScreen()): Command {
  const keys = new Command('keys').description('Show and change the signing keys of a tenant.')
  list(keys.command('list'), terminal)
  timeline(keys.command('timeline'), terminal, screen)
  consumers(keys.command('consumers'), terminal)
  rotate(keys.command('rotate'), terminal)
  change(keys.command('promote'), terminal, 'promote', 'Make a published key sign from now on.')
  change(keys.command('retire'), terminal, 'retire', 'Take a key that nobody needs out of JWKS.')
  kill(keys.command('kill'), terminal, screen)
  drillCommand(keys.command('drill'), terminal)
  return keys
}

function list(command: Command, terminal: Terminal): void {
  withCommon(command.description('List the keys with their states.'))
    .option('--recount', 'count signatures in the ledger instead of taking what replicas reported')
    .action(async (options: KeysOptions & { recount?: boolean }) => {
      const { admin, tenant } = at(terminal, options)
      const ring = await readRing(admin, tenant)
      show(terminal, options.output, options.recount ? await recounted(admin, ring) : ring)
    })
}

function timeline(command: Command, terminal: Terminal, screen: Screen): void {
  withCommon(command.description('Draw the life of the keys over time.')).action(
    async (options: KeysOptions) => {
      const { admin, tenant } = at(terminal, options)
      const now = systemClock.now()
      const lives = livesOf(await readRing(admin, tenant), now)
      if (options.output !== 'table') {
        const facts = { tenant, now: iso(now), keys: lives.map(lifeBody) }
        print(terminal, options.output, facts, [])
        return
      }
      const { columns } = screen
      const plain = columns === undefined || terminal.env['NO_COLOR'] !== undefined
      terminal.stdout(drawTimeline(lives, { now, plain, columns: columns ?? PLAIN_COLUMNS }))
    },
  )
}

function lifeBody({ kid, alg, state, spans, killedAt }: ReturnType<typeof livesOf>[number]) {
  return {
    kid,
    alg,
    state,
    spans: spans.map((span) => ({ state: span.state, from: iso(span.from), to: iso(span.to) })),
    ...(killedAt === undefined ? {} : { killed_at: iso(killedAt) }),
  }
}

function consumers(command: Command, terminal: Terminal): void {
  withCommon(
    command.description(
      'Show which verifier fetched which keys, and which may accept a killed one.',
    ),
  ).action(async (options: KeysOptions) => {
    const { admin, tenant } = at(terminal, options)
    const facts = await readConsumers(admin, tenant)
    const kids = facts.consumers.flatMap((one) => [
      ...one.kids,
      ...one.lacks,
      ...one.exposed.map(({ kid }) => kid),
    ])
    const short = shortKids([...new Set(kids)].map((kid) => ({ kid })))
    print(
      terminal,
      options.output,
      facts,
      consumerRows(facts, (kid) => short.get(kid) ?? kid),
    )
    if (facts.consumers.length > 0) return
    terminal.stderr(`no verifier is configured: tenants.${tenant}.consumers\n`)
  })
}

function rotate(command: Command, terminal: Terminal): void {
  withCommon(command.description('Let the published successor sign from now on.'))
    .requiredOption('--reason <text>', 'why; it is recorded')
    .option('--alg <name>', 'only the key of this algorithm')
    .action(async (options: ChangeOptions & { alg?: string }) => {
      const { admin, tenant } = at(terminal, options)
      const facts = await admin.call('POST', '/keys/rotate', {
        tenant,
        reason: options.reason,
        ...(options.alg === undefined ? {} : { alg: options.alg }),
      })
      show(terminal, options.output, asRing(facts))
      terminal.stderr('rotated; tokens of the former key stay valid until they expire\n')
    })
}

const DONE = {
  promote: 'promoted; tokens of the former key stay valid until they expire\n',
  retire: 'retired; JWKS does not name it any more\n',
} as const

function change(
  command: Command,
  terminal: Terminal,
  action: keyof typeof DONE,
  description: string,
): void {
  withKid(command.description(description)).action(
    async (given: string, options: ChangeOptions) => {
      const { admin, tenant } = at(terminal, options)
      const { kid } = keyNamed(await readRing(admin, tenant), given)
      const { reason } = options
      show(terminal, options.output, await changeKey(admin, action, { tenant, kid, reason }))
      terminal.stderr(DONE[action])
    },
  )
}

function kill(command: Command, terminal: Terminal, screen: Screen): void {
  withKid(
    command.description('Mark a key as compromised. Its successor signs at once; no way back.'),
  )
    .option('--yes', 'do not ask', false)
    .action(async (given: string, options: ChangeOptions & { yes: boolean }) => {
      const { admin, tenant } = at(terminal, options)
      const confirmed = confirmation(tenant, options.yes, screen)
      const facts = await killKey(admin, { tenant, kid: given, reason: options.reason }, confirmed)
      print(terminal, options.output, facts, killRows(facts))
      terminal.stderr(killTalk(facts))
    })
}

function withKid(command: Command): Command {
  return withCommon(command)
    .argument(
      '<kid>',
      'the kid, or its first 6 characters or more; after -- if it begins with a dash',
    )
    .requiredOption('--reason <text>', 'why; it is recorded')
}

function withCommon(command: Command): Command {
  return withAdminOptions(command.option('--tenant <name>', 'tenant; beside `up`, the demo tenant'))
}

function at(
  terminal: Terminal,
  options: KeysOptions,
): { readonly admin: AdminClient; readonly tenant: string } {
  const tenant = options.tenant ?? readDevState(terminal)?.tenant
  if (tenant === undefined) throw new CommandFailure(EXIT.usage, 'name the tenant with --tenant')
  return { tenant, admin: createAdminClient(terminal, options) }
}

function show(terminal: Terminal, format: Format, ring: RingFacts): void {
  print(terminal, format, ring, ringRows(ring))
}

function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
