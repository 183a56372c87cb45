import { Command } from 'commander'
import type { Static } from 'typebox'
import Value from 'typebox/value'
import {
  checkSource,
  type SourceCheckAsk,
  type SourceCheckDeps,
  type SourceReport,
} from '../entitlement/check-source.ts'
import { type Source, sourceSchema, toSource } from '../entitlement/options.ts'
import { monotonicClock } from '../lib/clock.ts'
import { createSystemRandom } from '../lib/id.ts'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { DEV_FOLDER, devPaths, readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { type Format, outputOption, print, printable } from './output.ts'
import { CommandFailure, readSecret, type Terminal } from './terminal.ts'

/** Where a check may call. */
export interface Reach {
  /** Networks besides the public ones. */
  readonly allow: readonly string[]
  readonly allowLoopback: boolean
}

/** Opens the adapter a server would use, telling of each answer. */
export type OpenSource = (
  reach: Reach,
  observed: Parameters<SourceCheckDeps['open']>[0],
) => ReturnType<SourceCheckDeps['open']>

/** A person who types an address means it, wherever it is. Metadata services are never called even so. */
const ANYWHERE: Reach = { allow: ['0.0.0.0/0', '::/0'], allowLoopback: true }
/** As `roles.max` when it is left out. */
const MAX_ROLES = 200

interface TestOptions {
  readonly user: string
  readonly output: Format
  readonly config?: string
  readonly tenant?: string
  readonly url?: string
  readonly roles: string
  readonly next?: string
  readonly echo?: string
  readonly snapshot?: string
  readonly recheck?: true
  readonly bearer?: string
}

interface ListOptions {
  readonly tenant?: string
  readonly server?: string
  readonly output: Format
}

/** `rolemint source list|show|test`: entitlement sources, and whether one keeps docs/contracts/source.md. */
export function sourceCommand(terminal: Terminal, open: OpenSource): Command {
  const source = new Command('source').description('Show and test entitlement sources.')
  withServer(source.command('list').description('List the sources a server knows.')).action(
    async (options: ListOptions) => list(terminal, options, await sourcesOf(terminal, options)),
  )
  withServer(source.command('show').description('Show a source.').argument('<name>')).action(
    async (name: string, options: ListOptions) => {
      const found = (await sourcesOf(terminal, options)).filter((one) => one['name'] === name)
      if (found.length === 0) throw new CommandFailure(EXIT.no, `there is no source ${name}`)
      list(terminal, options, found)
    },
  )
  source
    .command('test')
    .addOption(outputOption())
    .description(
      'Ask a source as a server would, and say what it does not keep of the contract; exit code 5 when something would fail, 6 when nobody answers.',
    )
    .argument('[name]', 'source in the configuration; without it, give --url and --roles')
    .requiredOption('--user <name>', 'a user the source knows, best one with several pages')
    .option('-c, --config <file>', 'configuration file (ROLEMINT_CONFIG, else what `up` wrote)')
    .option('--tenant <name>', 'tenant, where several have a source of that name')
    .option('--url <template>', 'address with {user} in its path or query')
    .option('--roles <path>', 'where the roles are', 'items[*].role')
    .option('--next <path>', 'where the link to the next page is')
    .option('--echo <path>', 'where the answer repeats the user')
    .option('--snapshot <path>', 'where every page names the state it was read from')
    .option('--recheck', 'ask for pages again by their ETags')
    .option('--bearer <@file>', 'bearer token: a file, or - for standard input')
    .action(async (name: string | undefined, options: TestOptions) => {
      const { source: tested, reach, maxRoles } = await chosen(terminal, name, options)
      const deps: SourceCheckDeps = {
        open: (observed) => open(reach, observed),
        random: createSystemRandom(),
        clock: monotonicClock,
      }
      show(
        terminal,
        options.output,
        await checkSource(deps, tested, { user: options.user, maxRoles }),
      )
    })
  return source
}

function withServer(command: Command): Command {
  return withAdminOptions(command).option('--tenant <name>', 'only those of this tenant')
}

interface Chosen {
  readonly source: Source
  readonly reach: Reach
  readonly maxRoles: SourceCheckAsk['maxRoles']
}

async function chosen(
  terminal: Terminal,
  name: string | undefined,
  options: TestOptions,
): Promise<Chosen> {
  if (name === undefined) return typed(terminal, options)
  if (options.url !== undefined)
    throw new CommandFailure(EXIT.usage, 'give either a source of the configuration or --url')
  return configured(terminal, name, options)
}

/** A source as the options describe it. */
async function typed(terminal: Terminal, options: TestOptions): Promise<Chosen> {
  const { url, roles, next, echo, snapshot, recheck } = options
  if (url === undefined)
    throw new CommandFailure(EXIT.usage, 'name a source of the configuration, or give --url')
  const config = {
    url,
    roles,
    ...(next === undefined ? {} : { nextPage: next }),
    ...(echo === undefined ? {} : { echo }),
    ...(snapshot === undefined ? {} : { consistency: { snapshot } }),
    ...(recheck ? { consistency: { recheck } } : {}),
  } satisfies Static<typeof sourceSchema>
  const [error] = Value.Errors(sourceSchema, config)
  if (error) {
    const where = error.instancePath.slice(1) || 'the source'
    throw new CommandFailure(EXIT.usage, `${where} cannot be used: ${error.message}`)
  }
  const bearer =
    options.bearer === undefined
      ? undefined
      : await readSecret(terminal, options.bearer, 'bearer token')
  const source = toSource('source', bearer ? { ...config, auth: { bearer } } : config)
  return { source, reach: ANYWHERE, maxRoles: MAX_ROLES }
}

/** A source of a configuration file, called from here as a server with that file would. */
function configured(terminal: Terminal, name: string, options: TestOptions): Chosen {
  const state = readDevState(terminal)
  const path =
    options.config ??
    (terminal.env['ROLEMINT_CONFIG'] || (state ? devPaths(DEV_FOLDER).config : 'rolemint.yaml'))
  const { config } = loadOrExplain(terminal, path)
  const found = [...config.tenants.values()].flatMap((tenant) =>
    options.tenant === undefined || tenant.name === options.tenant
      ? tenant.sources.filter((one) => one.name === name).map((source) => ({ tenant, source }))
      : [],
  )
  const [only, another] = found
  if (!only) throw new CommandFailure(EXIT.usage, `there is no source ${name} in ${path}`)
  if (another)
    throw new CommandFailure(EXIT.usage, 'several tenants have it: name one with --tenant')
  return {
    source: only.source,
    reach: { allow: config.outboundAllow, allowLoopback: config.profile === 'dev' },
    maxRoles: only.tenant.rules.maxSourceRoles,
  }
}

const OUTCOMES = {
  kept: { exit: EXIT.yes, says: 'keeps the contract' },
  broken: { exit: EXIT.no, says: 'does not keep the contract' },
  unreachable: { exit: EXIT.unreachable, says: 'gave no answer' },
} as const satisfies Record<SourceReport['outcome'], unknown>

function show(terminal: Terminal, format: Format, report: SourceReport): void {
  print(terminal, format, report, [
    ['CHECK', 'VERDICT', 'WHAT', 'MEND'],
    ...report.findings.map(({ check, verdict, detail, mend }) => [
      check,
      verdict === 'fail' ? 'FAIL' : verdict,
      detail,
      mend ?? '',
    ]),
  ])
  const { exit, says } = OUTCOMES[report.outcome]
  const roles = report.roles ? `; ${report.user} has ${report.roles.join(', ') || 'no roles'}` : ''
  terminal.stderr(`${printable(`${report.source} ${says}${roles}`)}\n`)
  terminal.exit(exit)
}

async function sourcesOf(
  terminal: Terminal,
  options: ListOptions,
): Promise<readonly Record<string, unknown>[]> {
  const query =
    options.tenant === undefined
      ? ''
      : `?${new URLSearchParams({ tenant: options.tenant }).toString()}`
  const facts = members(await createAdminClient(terminal, options).call('GET', `/sources${query}`))
  const { sources } = facts
  return Array.isArray(sources) ? sources.map(members) : []
}

function list(
  terminal: Terminal,
  { output }: ListOptions,
  sources: readonly Record<string, unknown>[],
): void {
  print(terminal, output, { sources }, [
    ['TENANT', 'SOURCE', 'URL', 'ROLES', 'WHERE'],
    ...sources.map((one) =>
      ['tenant', 'name', 'url', 'roles', 'at'].map((member) => text(one[member])),
    ),
  ])
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function members(value: unknown): Record<string, unknown> {
  return value !== null && typeof value === 'object'
    ? Object.fromEntries(Object.entries(value))
    : {}
}
