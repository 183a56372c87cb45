import { createHash } from 'node:crypto'
import { dirname, resolve } from 'node:path'
import { assembleConfig } from './assemble.ts'
import { checkTree } from './check.ts'
import type { Config } from './config.ts'
import { type ConfigFiles, machineFiles } from './files.ts'
import { applyIncludes, readFile } from './include.ts'
import { applyEnvironment, applyFlags } from './layers.ts'
import { ConfigError, createFindings, type Findings, type Problem } from './problem.ts'
import { createReferences, pathFrom } from './references.ts'
import { checkMeaning } from './rules/meaning.ts'
import { type ConfigValues, configShape } from './schema.ts'
import { vocabularyOf } from './shape.ts'
import { BY_DEFAULT, type Node } from './tree.ts'
import type { Setting } from './walk.ts'

/** What {@link loadConfig} reads from. */
export interface LoadOptions {
  /** The main file. */
  readonly path: string
  readonly files?: ConfigFiles
  /** `ROLEMINT_*` variables, and those that `${env:…}` names. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Dotted path → text; stronger than everything else. */
  readonly flags?: ReadonlyMap<string, string>
}

/** A configuration that was accepted. */
export interface Loaded {
  readonly config: Config
  readonly warnings: readonly Problem[]
  /** Every value in effect with where it comes from, in the order of the schema; for `config show`. */
  readonly settings: readonly Setting[]
}

/**
 * Reads a configuration and checks it whole. Layers, from weak to strong: defaults, the file with what it
 * includes, the `ROLEMINT_*` environment, flags.
 *
 * @throws {ConfigError} with everything that is wrong; nothing else is thrown, whatever the files hold.
 */
export function loadConfig({
  path,
  files = machineFiles,
  env,
  flags = new Map(),
}: LoadOptions): Loaded {
  const findings = createFindings()
  const main = resolve(path)
  const folder = dirname(main)
  const deps = { files, folder, findings }
  const references = createReferences({ ...deps, env })

  const file = readFile(main, BY_DEFAULT, [], deps)
  if (!file || findings.isUnread()) throw refused(findings)
  const overlaid = applyEnvironment(file, env, configShape, findings)
  // Flags may change what is included, and tenants that only an included file holds.
  const [inTenants, elsewhere] = split(flags)
  const whole = applyIncludes(
    applyFlags(overlaid, elsewhere, configShape, findings),
    references,
    deps,
  )
  const tree: Node = applyFlags(whole, inTenants, configShape, findings)

  if (findings.isUnread()) throw refused(findings)

  const checked = checkTree(tree, configShape, { references, findings })
  checkMeaning(checked, (name) => readText(files, pathFrom(folder, name)), findings)
  const { value } = checked
  if (!isSound(value, findings)) throw refused(findings)
  const hash = hashOf(checked.settings)
  return {
    config: assembleConfig(value, { folder, places: checked.places, hash }),
    warnings: findings.problems(vocabulary),
    settings: checked.settings,
  }
}

const vocabulary = vocabularyOf(configShape)

function refused(findings: Findings): ConfigError {
  return new ConfigError(findings.problems(vocabulary))
}

/** With nothing found, the value is of the type its schema says. */
function isSound(value: unknown, findings: Findings): value is ConfigValues {
  return value !== undefined && !findings.hasErrors()
}

function readText(files: ConfigFiles, path: string): string | undefined {
  try {
    return files.read(path)
  } catch {
    return undefined
  }
}

function split(flags: ReadonlyMap<string, string>) {
  return [
    new Map([...flags].filter(([name]) => name.startsWith('tenants.'))),
    new Map([...flags].filter(([name]) => !name.startsWith('tenants.'))),
  ] as const
}

/** SHA-256 over path and value of every setting, sorted, so that neither order nor layer of writing matters. */
function hashOf(settings: readonly Setting[]): string {
  const lines = settings
    .map(({ path, hashed }) => JSON.stringify([path, canonical(hashed)]))
    .toSorted()
  return createHash('sha256').update(lines.join('\n')).digest('hex')
}

/** Plain data with the keys of every group in order. */
function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical)
  if (typeof value !== 'object' || value === null) return value
  const sorted = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(sorted.map(([key, inner]) => [key, canonical(inner)]))
}
