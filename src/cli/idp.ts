import { Command } from 'commander'
import { ALGORITHM_NAMES, type Idp, toIdp, toTokenLimits } from '../subject/options.ts'
import { checkRows, createChecks, exitOf } from './checks.ts'
import { EXIT } from './exit-codes.ts'
import { checkKeys } from './idp-checks.ts'
import { checkToken, type TokenJudge } from './idp-token.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { type Format, outputOption, print } from './output.ts'
import { CommandFailure, readSecret, type Terminal } from './terminal.ts'

interface TestOptions {
  readonly issuer?: string
  readonly config?: string
  readonly tenant?: string
  readonly token?: string | true
  readonly output: Format
}

/** `rolemint idp …`: the identity providers whose tokens are trusted. */
export function idpCommand(terminal: Terminal): Command {
  const idp = new Command('idp').description('Check identity providers.')
  idp
    .command('test')
    .description(
      'Check that an identity provider keeps its contract (docs/contracts/idp.md): discovery, keys, caching, clock, and a token if one is given. Exit code 5 when it does not, 6 when it cannot be reached.',
    )
    .argument('[name]', 'the IdP in the configuration; with --issuer, none is needed')
    .option('--issuer <url>', 'an issuer that need not be configured')
    .option('-c, --config <file>', 'configuration file')
    .option('--tenant <name>', 'tenant, where several have an IdP of this name')
    .option('--token [file]', 'also check a token: @file, or standard input when left out')
    .addOption(outputOption())
    .action((name: string | undefined, options: TestOptions) => test(terminal, name, options))
  return idp
}

async function test(
  terminal: Terminal,
  name: string | undefined,
  options: TestOptions,
): Promise<void> {
  const { judge, allowHttp } = chosen(terminal, name, options)
  const token =
    options.token === undefined
      ? undefined
      : await readSecret(terminal, options.token === true ? undefined : options.token, 'token')
  const checks = createChecks()
  const { keySource, algorithms } = judge.idp
  const { skewSeconds } = judge.limits
  const keys = await checkKeys(terminal, { keySource, algorithms, skewSeconds, allowHttp }, checks)
  if (token !== undefined) {
    if (keys) checkToken(token, judge, keys, checks)
    else checks.fail('token', 'not checked: there are no keys', 'mend what is said above first')
  }
  const facts = { issuer: judge.idp.issuer, passed: exitOf(checks.all) === EXIT.yes }
  print(terminal, options.output, { ...facts, checks: checks.all }, checkRows(checks.all))
  const count = (result: string) => checks.all.filter((check) => check.result === result).length
  terminal.stderr(
    `${judge.idp.issuer}: ${count('ok')} ok, ${count('warn')} to look at, ${count('fail')} failed\n`,
  )
  terminal.exit(exitOf(checks.all))
}

interface Chosen {
  readonly judge: TokenJudge
  readonly allowHttp: boolean
}

function chosen(terminal: Terminal, name: string | undefined, options: TestOptions): Chosen {
  if (options.issuer !== undefined) {
    if (name !== undefined)
      throw new CommandFailure(EXIT.usage, 'give the name of an IdP or --issuer, not both')
    return unconfigured(options.issuer)
  }
  if (name === undefined || options.config === undefined)
    throw new CommandFailure(EXIT.usage, 'give --issuer URL, or a name and -c FILE')
  const { config } = loadOrExplain(terminal, options.config)
  const found = [...config.tenants.values()].flatMap((tenant) => {
    const idp = tenant.idps.get(name)
    const isMeant = options.tenant === undefined || options.tenant === tenant.name
    return idp && isMeant ? [idp] : []
  })
  const [idp, second] = found
  if (idp === undefined)
    throw new CommandFailure(EXIT.usage, `no IdP called ${name} in ${options.config}`)
  if (second !== undefined)
    throw new CommandFailure(EXIT.usage, `several tenants have an IdP called ${name}: add --tenant`)
  return {
    judge: { idp, isConfigured: true, limits: config.tokenLimits },
    allowHttp: config.profile === 'dev',
  }
}

/** An issuer by its address alone: every algorithm we can verify, and any audience, since nobody said which. */
function unconfigured(issuer: string): Chosen {
  if (!URL.canParse(issuer)) throw new CommandFailure(EXIT.usage, '--issuer takes a URL')
  const idp: Idp = toIdp('idp', { issuer, audience: '-', algorithms: [...ALGORITHM_NAMES] })
  const { hostname } = new URL(issuer)
  return {
    judge: { idp, isConfigured: false, limits: toTokenLimits({}) },
    allowHttp: ['127.0.0.1', '[::1]', 'localhost'].includes(hostname),
  }
}
