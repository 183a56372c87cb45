import { Command, Option } from 'commander'
import { stringify } from 'yaml'
import { findExplanation, nearestKey } from '../config/explain.ts'
import { editorSchemaText } from '../config/json-schema.ts'
import { type Loaded, loadConfig } from '../config/load.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import { renderProblems } from '../config/render.ts'
import { effectiveTree, listSettings } from '../config/show.ts'
import { EXIT } from './exit-codes.ts'
import type { Io } from './io.ts'
import { table } from './output.ts'

interface FileOptions {
  readonly config?: string
  readonly set: ReadonlyMap<string, string>
  readonly output: 'table' | 'json' | 'yaml'
}

/** `rolemint config check|show|explain|schema`. */
export function configCommand(io: Io): Command {
  const command = new Command('config').description('Check, show and explain the configuration.')
  // Subcommands inherit both: a usage error is thrown for the caller to turn into exit code 2.
  command.exitOverride().configureOutput({
    writeOut: (data) => io.stdout(data),
    writeErr: (talk) => io.stderr(talk),
  })

  withFile(command.command('check'), ['table', 'json'])
    .description('Say whether the configuration is valid; exit 0 or 3.')
    .action((options: FileOptions) => check(io, options))

  withFile(command.command('show'), ['yaml', 'json', 'table'])
    .description('Print every value in effect; secrets are redacted.')
    .option('--origin', 'also where each value comes from, and whether it is hot')
    .action((options: FileOptions & { origin?: true }) => show(io, options))

  command
    .command('explain')
    .description('Say what a key means.')
    .argument('<key>', 'e.g. tenants.acme.tokens.ttl, or tokens.ttl')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json']).default('table'))
    .action((key: string, options: { output: string }) => explain(io, key, options.output))

  command
    .command('schema')
    .description('Print the JSON Schema of the configuration, for editors.')
    .action(() => io.stdout(editorSchemaText()))
  return command
}

function withFile(command: Command, formats: readonly [string, ...string[]]): Command {
  return command
    .option('-c, --config <file>', 'configuration file (ROLEMINT_CONFIG, else rolemint.yaml)')
    .option(
      '--set <key=value>',
      'set a key, stronger than file and environment; repeatable',
      (given: string, before: ReadonlyMap<string, string>) => {
        const [key = '', ...value] = given.split('=')
        return new Map([...before, [key, value.join('=')]])
      },
      new Map<string, string>(),
    )
    .addOption(new Option('-o, --output <format>').choices([...formats]).default(formats[0]))
}

function pathOf(io: Io, options: FileOptions): string {
  return options.config ?? (io.env['ROLEMINT_CONFIG'] || 'rolemint.yaml')
}

function load(io: Io, options: FileOptions): Loaded | ConfigError {
  try {
    const { files, env } = io
    return loadConfig({ path: pathOf(io, options), files, env, flags: options.set })
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
}

function check(io: Io, options: FileOptions): void {
  const loaded = load(io, options)
  const valid = !(loaded instanceof ConfigError)
  const problems: readonly Problem[] = valid ? loaded.warnings : loaded.problems
  io.exit(valid ? EXIT.yes : EXIT.configInvalid)
  if (options.output === 'json') {
    const hash = valid ? loaded.config.hash : undefined
    io.stdout(`${JSON.stringify({ valid, hash, problems }, null, 2)}\n`)
    return
  }
  if (problems.length > 0) io.stderr(`${renderProblems(problems)}\n`)
  const count = (severity: string, word: string) => {
    const found = problems.filter((problem) => problem.severity === severity).length
    return found === 0 ? [] : [`${found} ${word}${found === 1 ? '' : 's'}`]
  }
  const counts = [...count('error', 'error'), ...count('warning', 'warning')].join(', ')
  const verdict = valid ? 'valid' : 'invalid'
  io.stderr(`${pathOf(io, options)} is ${verdict}${counts === '' ? '' : `: ${counts}`}\n`)
}

function show(io: Io, options: FileOptions & { origin?: true }): void {
  const loaded = load(io, options)
  if (loaded instanceof ConfigError) {
    io.stderr(renderProblems(loaded.problems))
    io.exit(EXIT.configInvalid)
    return
  }
  const settings = listSettings(loaded.settings)
  const withOrigin = options.origin === true
  if (options.output === 'table') {
    const head = withOrigin ? ['KEY', 'VALUE', 'ORIGIN', 'CHANGE'] : ['KEY', 'VALUE']
    const rows = settings.map(({ key, value, origin, reload }) => {
      const shown = typeof value === 'string' ? value : JSON.stringify(value)
      return withOrigin ? [key, shown, origin, reload] : [key, shown]
    })
    io.stdout(table([head, ...rows]))
  } else if (options.output === 'json') {
    const facts = withOrigin ? { settings } : effectiveTree(loaded.settings)
    io.stdout(`${JSON.stringify(facts, null, 2)}\n`)
  } else if (withOrigin) {
    // One line a value, so that the comment behind it is about that value.
    const lines = settings.map(
      ({ key, value, origin, reload }) =>
        `${JSON.stringify(key)}: ${JSON.stringify(value)} # ${origin}, ${reload}\n`,
    )
    io.stdout(lines.join(''))
  } else io.stdout(stringify(effectiveTree(loaded.settings)))
}

function explain(io: Io, asked: string, output: string): void {
  const found = findExplanation(asked)
  if (!found) {
    const meant = nearestKey(asked)
    io.stderr(
      `there is no key ${JSON.stringify(asked)}${meant ? `; did you mean ${meant}?` : ''}\n`,
    )
    io.exit(EXIT.usage)
    return
  }
  if (output === 'json') {
    io.stdout(`${JSON.stringify(found, null, 2)}\n`)
    return
  }
  const { key, description, type, required, reload, env } = found
  const fallback = found.default ?? (required ? 'none; it must be given' : 'none')
  const change = { hot: 'takes effect at once', restart: 'takes effect at the next start' }
  const lines = [
    ['type', type],
    ['default', fallback],
    ...(reload ? [['change', change[reload]]] : []),
    ...(env ? [['env', env]] : []),
  ]
  io.stdout(`${key}\n  ${description}\n\n${table(lines).replace(/^/gm, '  ').trimEnd()}\n`)
}
