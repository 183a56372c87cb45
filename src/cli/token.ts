import { Command } from 'commander'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import type { Secret } from '../lib/secret.ts'
import { createAdminClient, withAdminOptions } from './admin-client.ts'
import { DEV_FOLDER, devPaths, readDevState } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { type Format, outputOption, print, printable } from './output.ts'
import { CommandFailure, readSecret, type Terminal } from './terminal.ts'
import { exchangeToken, introspectToken } from './token-requests.ts'

/** `rolemint token …`: get one, read one, ask why it says what it says. */
export function tokenCommand(terminal: Terminal): Command {
  const token = new Command('token').description(
    'Exchange, read, check and explain tokens. Tokens come on stdin or as @file.',
  )
  exchange(token, terminal)
  inspect(token, terminal)
  verify(token, terminal)
  why(token, terminal)
  introspect(token, terminal)
  return token
}

function exchange(parent: Command, terminal: Terminal): void {
  parent
    .command('exchange')
    .description('Exchange a subject token for one of ours; prints the token.')
    .argument('[token]', 'the subject token as @file; standard input when left out')
    .option('--as <user>', 'beside `up`: bring the demo token of this user')
    .option('--server <url>', 'base of the token endpoint, the issuer')
    .option('--client <id>', 'client id')
    .option('--client-secret <file>', 'the client secret, as @file')
    .option(
      '--audience <target>',
      'target; may be repeated',
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option('--scope <scopes>', 'scopes, separated by spaces')
    .action(async (argument: string | undefined, options: ExchangeOptions) => {
      const dev = readDevState(terminal)
      const subject = await readSecret(
        terminal,
        options.as === undefined
          ? argument
          : `@${devPaths(DEV_FOLDER).token(demoUser(options.as, dev?.users))}`,
        'subject token',
      )
      const token = await exchangeToken(terminal, {
        ...(await party(terminal, options)),
        subject,
        audience: options.audience,
        scope: options.scope,
      })
      terminal.stdout(`${token.reveal()}\n`)
      terminal.stderr('next: pipe it into `rolemint token inspect`\n')
    })
}

interface PartyOptions {
  readonly server?: string
  readonly client?: string
  readonly clientSecret?: string
}

interface ExchangeOptions extends PartyOptions {
  readonly as?: string
  readonly audience: readonly string[]
  readonly scope?: string
}

function demoUser(user: string, known: readonly string[] | undefined): string {
  if (known?.includes(user)) return user
  const mend = known ? `one of ${known.join(', ')}` : 'a running `rolemint up` in this folder'
  throw new CommandFailure(EXIT.usage, `--as takes ${mend}`)
}

/** Who calls whom: from the options, else what `up` wrote here. */
async function party(terminal: Terminal, options: PartyOptions) {
  const dev = readDevState(terminal)
  const server = options.server ?? dev?.server
  const client = options.client ?? dev?.client
  if (server === undefined || client === undefined) {
    throw new CommandFailure(
      EXIT.usage,
      'give --server and --client, or run `rolemint up` in this folder first',
    )
  }
  if (options.clientSecret !== undefined && !options.clientSecret.startsWith('@')) {
    throw new CommandFailure(
      EXIT.usage,
      'give the client secret as @file: arguments are readable by other users',
    )
  }
  const secret = await readSecret(
    terminal,
    options.clientSecret ?? `@${devPaths(DEV_FOLDER).clientSecret}`,
    'client secret',
  )
  return { server, client, secret }
}

function inspect(parent: Command, terminal: Terminal): void {
  parent
    .command('inspect')
    .description(
      'Show what is in a token, and whether its signature is good. Nothing leaves this machine but the request for keys.',
    )
    .argument('[token]', 'the token as @file; standard input when left out')
    .option('--issuer <url>', 'issuer whose keys may verify it; beside `up`, the demo issuer')
    .addOption(outputOption().default('json'))
    .action(async (argument: string | undefined, options: { issuer?: string; output: Format }) => {
      const token = await readSecret(terminal, argument, 'token')
      const { header, payload } = decode(token)
      const verdict = await judge(token, options.issuer ?? readDevState(terminal)?.server)
      terminal.stderr(
        `${verdict.verified ? 'VERIFIED' : 'NOT VERIFIED'}: ${printable(verdict.reason)}\n`,
      )
      const facts = { verified: verdict.verified, header, payload }
      print(terminal, options.output, facts, [
        ['CLAIM', 'VALUE'],
        ...Object.entries({ ...header, ...payload }).map(([name, value]) => [
          name,
          JSON.stringify(value),
        ]),
      ])
    })
}

function decode(token: Secret): {
  header: Record<string, unknown>
  payload: Record<string, unknown>
} {
  try {
    return {
      header: { ...decodeProtectedHeader(token.reveal()) },
      payload: { ...decodeJwt(token.reveal()) },
    }
  } catch {
    throw new CommandFailure(EXIT.no, 'this is not a JWT')
  }
}

/**
 * Verifies against the keys of an issuer that the caller named. Never against keys found through the token itself: whoever wrote
 * the token would vouch for it.
 */
async function judge(
  token: Secret,
  issuer: string | undefined,
  audience?: string,
): Promise<{ verified: boolean; reason: string }> {
  if (issuer === undefined)
    return { verified: false, reason: 'no issuer to trust was named (--issuer)' }
  try {
    const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`), { timeoutDuration: 5000 })
    const checked = { issuer, typ: 'at+jwt', ...(audience === undefined ? {} : { audience }) }
    const { protectedHeader } = await jwtVerify(token.reveal(), keys, checked)
    return { verified: true, reason: `by ${issuer}, key ${protectedHeader.kid ?? '?'}` }
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'unknown reason'
    if (reason.includes('fetch failed'))
      throw new CommandFailure(EXIT.unreachable, `no keys from ${issuer}/jwks`)
    return { verified: false, reason }
  }
}

function verify(parent: Command, terminal: Terminal): void {
  parent
    .command('verify')
    .description(
      'Check a token as a resource server would; exit code 0 when it is good, 5 when not.',
    )
    .argument('[token]', 'the token as @file; standard input when left out')
    .option('--issuer <url>', 'issuer to trust; beside `up`, the demo issuer')
    .requiredOption('--audience <audience>', 'audience the token must be for')
    .action(
      async (argument: string | undefined, options: { issuer?: string; audience: string }) => {
        const token = await readSecret(terminal, argument, 'token')
        const issuer = options.issuer ?? readDevState(terminal)?.server
        if (issuer === undefined)
          throw new CommandFailure(EXIT.usage, 'name the issuer to trust with --issuer')
        const { verified, reason } = await judge(token, issuer, options.audience)
        terminal.stderr(`${verified ? 'VERIFIED' : 'NOT VERIFIED'}: ${printable(reason)}\n`)
        if (!verified) terminal.exit(EXIT.no)
      },
    )
}

function why(parent: Command, terminal: Terminal): void {
  withAdminOptions(parent.command('why'))
    .description('Show how the decision behind an issued token was made, rule by rule.')
    .argument('[token]', 'the token as @file; standard input when left out')
    .option('--role <role>', 'only what concerns this role')
    .option('--tenant <name>', 'tenant; taken from the token when left out')
    .action(async (argument: string | undefined, options: WhyOptions) => {
      const { payload } = decode(await readSecret(terminal, argument, 'token'))
      const tenant = options.tenant ?? text(payload['tenant'])
      const query = new URLSearchParams({ tenant })
      const admin = createAdminClient(terminal, options)
      const entry = await admin.call(
        'GET',
        `/decisions/${encodeURIComponent(text(payload['jti']))}?${query.toString()}`,
      )
      const steps = traceSteps(entry).filter((step) => concerns(step, options.role))
      print(terminal, options.output, steps, [
        ['', 'RULE', 'WHAT', 'WHERE'],
        ...steps.map((step) => [
          MARKS.get(step.effect) ?? '?',
          step.rule,
          step.detail,
          step.at ?? '',
        ]),
      ])
      const granted = Array.isArray(payload['roles']) && payload['roles'].includes(options.role)
      if (options.role !== undefined)
        terminal.stderr(`${options.role}: ${granted ? 'granted' : 'not granted'}\n`)
      if (options.role !== undefined && !granted) terminal.exit(EXIT.no)
    })
}

interface WhyOptions {
  readonly role?: string
  readonly server?: string
  readonly tenant?: string
  readonly output: Format
}

const MARKS: ReadonlyMap<string, string> = new Map([
  ['keep', '='],
  ['change', '>'],
  ['deny', 'x'],
])

interface Step {
  readonly rule: string
  readonly effect: string
  readonly detail: string
  readonly at?: string
}

function traceSteps(entry: unknown): readonly Step[] {
  if (entry !== null && typeof entry === 'object' && 'trace' in entry && Array.isArray(entry.trace))
    return entry.trace
  throw new CommandFailure(EXIT.no, 'no decision is recorded for this token')
}

/** Steps about a role are told by the words of their detail; steps about no role in particular always count. */
function concerns(step: Step, role: string | undefined): boolean {
  if (role === undefined || !['map', 'unmapped', 'ceiling', 'carried'].includes(step.rule))
    return true
  return step.detail.split(/[ :]+/).includes(role) || step.rule === 'unmapped'
}

function text(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new CommandFailure(EXIT.no, 'this is not a token issued by rolemint')
}

function introspect(parent: Command, terminal: Terminal): void {
  parent
    .command('introspect')
    .description(
      'Ask the server whether a token is good; exit code 0 when it is active, 5 when not.',
    )
    .argument('[token]', 'the token as @file; standard input when left out')
    .option('--server <url>', 'base of the introspection endpoint, the issuer')
    .option('--client <id>', 'client id of the resource server')
    .option('--client-secret <file>', 'the client secret, as @file')
    .addOption(outputOption().default('json'))
    .action(async (argument: string | undefined, options: PartyOptions & { output: Format }) => {
      const token = await readSecret(terminal, argument, 'token')
      const answer = await introspectToken(terminal, { ...(await party(terminal, options)), token })
      print(terminal, options.output, answer, [
        ['MEMBER', 'VALUE'],
        ...Object.entries(answer).map(([name, value]) => [name, JSON.stringify(value)]),
      ])
      if (answer['active'] !== true) terminal.exit(EXIT.no)
    })
}
