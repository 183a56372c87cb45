import { setTimeout } from 'node:timers/promises'
import type { Command } from 'commander'
import { monotonicClock } from '../lib/clock.ts'
import { Secret } from '../lib/secret.ts'
import { createAdminClient } from './admin-client.ts'
import { EXIT } from './exit-codes.ts'
import { type DrillPlan, type DrillReport, runDrill } from './keys-drill.ts'
import type { DrillClient } from './keys-drill-watch.ts'
import { type Format, outputOption, print } from './output.ts'
import { CommandFailure, readSecret, type Terminal } from './terminal.ts'

interface DrillOptions {
  readonly tenant: string
  readonly confirm: string
  readonly yes: boolean
  readonly reason: string
  readonly replica: readonly string[]
  readonly client: string
  readonly clientSecret?: string
  readonly resourceClient?: string
  readonly resourceSecret?: string
  readonly subject: readonly string[]
  readonly audience: readonly string[]
  readonly server?: string
  readonly within: string
  readonly output: Format
}

const TIMEOUT_MILLISECONDS = 30_000
const INTERVAL_MILLISECONDS = 200
const SECRET_VARIABLE = 'ROLEMINT_CLIENT_SECRET'

const several = (value: string, all: string[]) => [...all, value]

/** `rolemint keys drill`: kills the key that signs, on purpose, and measures how long that takes to be true everywhere. */
export function drillCommand(command: Command, terminal: Terminal): void {
  command
    .description(
      'Kill the key that signs, and measure what each replica does. A rehearsal on the real thing: the tokens of that key die.',
    )
    .requiredOption('--tenant <name>', 'tenant')
    .requiredOption('--confirm <name>', 'the name of the tenant once more')
    .option('--yes', 'needed: the key is really killed', false)
    .requiredOption(
      '--replica <url>',
      "base of the tenant's endpoints at one replica; repeat it",
      several,
      [],
    )
    .requiredOption('--client <id>', 'client that exchanges')
    .option('--client-secret <file>', `its secret, as @file; else ${SECRET_VARIABLE}`)
    .option('--resource-client <id>', 'client that introspects; left out: the same')
    .option('--resource-secret <file>', 'its secret, as @file')
    .option(
      '--subject <file>',
      'subject token, as @file; may be repeated; left out: standard input',
      several,
      [],
    )
    .option('--audience <target>', 'target; may be repeated', several, [])
    .option('--reason <text>', 'why; it is recorded', 'drill')
    .option('--within <seconds>', 'exit 5 when something took longer', '5')
    .option('--server <url>', 'admin address of one replica')
    .addOption(outputOption())
    .action(async (options: DrillOptions) => {
      mustBeMeant(options)
      const within = Number(options.within)
      if (!(within > 0)) throw new CommandFailure(EXIT.usage, '--within takes seconds')
      const deps = {
        admin: createAdminClient(terminal, options),
        fetch: terminal.fetch,
        monotonic: monotonicClock,
        pause: (milliseconds: number) => setTimeout(milliseconds),
        say: (line: string) => terminal.stderr(`${line}\n`),
      }
      const report = await runDrill(deps, await planOf(terminal, options))
      print(terminal, options.output, report, drillRows(report))
      const late = lateIn(report, within)
      if (late.length === 0) return
      terminal.stderr(`not within ${within} s: ${late.join(', ')}\n`)
      terminal.exit(EXIT.no)
    })
}

function mustBeMeant({ tenant, confirm, yes }: DrillOptions): void {
  if (!yes)
    throw new CommandFailure(EXIT.usage, 'a drill kills the key for good: add --yes to go on')
  if (confirm !== tenant)
    throw new CommandFailure(
      EXIT.usage,
      '--confirm and --tenant are not the same; nothing was done',
    )
}

async function planOf(terminal: Terminal, options: DrillOptions): Promise<DrillPlan> {
  const secret = await clientSecret(terminal, options.clientSecret)
  const exchanger: DrillClient = { client: options.client, secret }
  const files: readonly (string | undefined)[] =
    options.subject.length === 0 ? [undefined] : options.subject
  const subjects: Secret[] = []
  for (const file of files) subjects.push(await readSecret(terminal, file, 'subject token'))
  return {
    tenant: options.tenant,
    reason: options.reason,
    replicas: options.replica.map((url) => url.replace(/\/+$/, '')),
    exchanger,
    resource:
      options.resourceClient === undefined
        ? exchanger
        : {
            client: options.resourceClient,
            secret: await fileSecret(terminal, options.resourceSecret, '--resource-secret'),
          },
    subjects,
    audience: options.audience,
    timeoutMilliseconds: TIMEOUT_MILLISECONDS,
    intervalMilliseconds: INTERVAL_MILLISECONDS,
  }
}

async function clientSecret(terminal: Terminal, file: string | undefined): Promise<Secret> {
  const given = terminal.env[SECRET_VARIABLE]
  if (file === undefined && given) return new Secret(given.trim())
  return fileSecret(terminal, file, '--client-secret')
}

/** Standard input is for the subject token, so a secret is a file. */
function fileSecret(terminal: Terminal, file: string | undefined, name: string): Promise<Secret> {
  if (!file?.startsWith('@'))
    throw new CommandFailure(
      EXIT.usage,
      `give ${name} as @file: arguments are readable by other users`,
    )
  return readSecret(terminal, file, 'client secret')
}

const MEASURES = [
  ['last bad signature', 'last_bad_signature'],
  ['JWKS clean', 'jwks_clean'],
  ['introspection denies', 'introspection_denies'],
  ['first good token', 'first_good_token'],
] as const

/** What was measured, a replica a column. */
function drillRows(report: DrillReport): readonly (readonly string[])[] {
  const { replicas } = report
  return [
    ['SECONDS FROM THE COMMAND', 'ALL', ...replicas.map(({ replica }) => replica)],
    ['kill answered', secondsText(report.kill_answered, '')],
    ...MEASURES.map(([label, name]) => {
      const unseen = name === 'last_bad_signature' ? 'none' : 'never'
      const all = name === 'first_good_token' ? 'good_tokens_everywhere' : name
      const each = replicas.map((replica) => secondsText(replica[name], unseen))
      return [label, secondsText(report[all], unseen), ...each]
    }),
    ['answers', '', ...replicas.map(({ answers }) => String(answers))],
    ['failures', '', ...replicas.map(({ failures }) => String(failures))],
    ['killed', report.killed],
    ['signs now', report.signs_now ?? 'no key'],
  ]
}

function secondsText(seconds: number | null, unseen: string): string {
  return seconds === null ? unseen : seconds.toFixed(2)
}

function lateIn(report: DrillReport, within: number): readonly string[] {
  return MEASURES.flatMap(([label, name]) => {
    const seconds = name === 'first_good_token' ? report.good_tokens_everywhere : report[name]
    // No bad signature at all is the best there is; anything else that was not seen did not happen in time.
    const isLate = seconds === null ? name !== 'last_bad_signature' : seconds > within
    return isLate ? [label] : []
  })
}
