import { dirname, isAbsolute, join } from 'node:path'
import { Secret } from '../lib/secret.ts'
import type { ConfigFiles } from './files.ts'
import type { Findings, ProblemCode } from './problem.ts'
import type { Path, Place } from './tree.ts'

const WHOLE = /^\$\{(env|file|vault):([^}\s]+)\}$/
const PART = /\$\{(?:(env|file|vault):([^}\s]+)\}|)/g
const LONGEST_SECRET = 65_536

/** Looks up what `${env:…}` and `${file:…}` stand for. */
export interface References {
  /** A text with its references replaced; undefined when one of them could not be, which is reported. */
  expand(text: string, place: Place, path: Path): string | undefined
  /**
   * The secret behind a reference. A literal is reported and never repeated; so is a missing or empty secret.
   * The result is then an empty secret, so that later checks can go on: the configuration is refused anyway.
   */
  secret(
    text: string,
    place: Place,
    path: Path,
  ): { readonly value: Secret; readonly reference: string }
}

/** What {@link createReferences} needs. */
export interface ReferenceDeps {
  readonly files: ConfigFiles
  readonly env: Readonly<Record<string, string | undefined>>
  /** Where relative paths start that were written in no file. */
  readonly folder: string
  readonly findings: Findings
}

/** True when a text holds a reference: its value is then not for showing. */
export function hasReference(text: string): boolean {
  return text.includes('${')
}

/** The folder of the file a value was written in. */
export function folderOf(place: Place, folder: string): string {
  return place.kind === 'file' ? place.source.folder : folder
}

/** Resolves a path against a folder. */
export function pathFrom(folder: string, path: string): string {
  return isAbsolute(path) ? path : join(folder, path)
}

/** References over an environment and files. */
export function createReferences({ files, env, folder, findings }: ReferenceDeps): References {
  type Report = (code: ProblemCode, message: string, mend: string, warning?: boolean) => undefined

  function lookUp(kind: string, name: string, place: Place, report: Report): string | undefined {
    if (kind === 'vault') {
      return report(
        'config/not-available',
        'references to Vault are not available yet',
        'use ${file:PATH} with a file that a Vault agent writes, or ${env:NAME}',
      )
    }
    if (kind === 'env') {
      const value = env[name]
      if (value) return value
      const state = value === undefined ? 'not set' : 'empty'
      return report(
        'config/missing-secret',
        `environment variable ${name} is ${state}`,
        `set ${name}`,
      )
    }
    const path = pathFrom(folderOf(place, folder), name)
    return readTrimmed(files, path, report)
  }

  const reporter =
    (place: Place, path: Path, keepsValue: boolean): Report =>
    (code, message, mend, warning = false) => {
      const severity = warning ? 'warning' : 'error'
      return findings.add({ code, path, place, message, mend, severity, keepsValue })
    }

  return {
    expand(text, place, path) {
      if (!hasReference(text)) return text
      const report = reporter(place, path, false)
      let failed = false
      const expanded = text.replace(
        PART,
        (_, kind: string | undefined, name: string | undefined) => {
          const value =
            kind === undefined || name === undefined
              ? report(
                  'config/bad-value',
                  'this is no reference',
                  'write ${env:NAME} or ${file:PATH}',
                )
              : lookUp(kind, name, place, report)
          if (value === undefined) failed = true
          return value ?? ''
        },
      )
      return failed ? undefined : expanded
    },
    secret(text, place, path) {
      // The empty secret in its place is a secret still.
      const report = reporter(place, path, true)
      const match = WHOLE.exec(text)
      if (match) {
        const [, kind = '', name = ''] = match
        const value = lookUp(kind, name, place, report)
        if (value !== undefined && kind === 'file')
          warnIfOpen(files, pathFrom(folderOf(place, folder), name), report)
        return { value: new Secret(value ?? ''), reference: text }
      }
      // The environment is where secrets may be, so a variable that sets the key directly needs no second one.
      if (place.kind === 'env' && !hasReference(text)) {
        return { value: new Secret(text), reference: `\${env:${place.name}}` }
      }
      report(
        'config/literal-secret',
        place.kind === 'flag'
          ? 'a secret was given as a flag, where every process of the machine can read it'
          : 'a secret is written out here',
        'put the whole value into a file or environment variable, write ${file:PATH} or ${env:NAME}, and replace the secret: it has been seen',
      )
      return { value: new Secret(''), reference: '' }
    },
  }
}

function readTrimmed(
  files: ConfigFiles,
  path: string,
  report: (code: ProblemCode, message: string, mend: string) => undefined,
): string | undefined {
  let value: string
  try {
    // One newline at the end is what editors and `echo` add; anything else belongs to the value.
    value = files.read(path).replace(/\r?\n$/, '')
  } catch (error) {
    return report(
      'config/missing-secret',
      `file ${path} cannot be read (${errorCode(error)})`,
      `create it, or mount its folder ${dirname(path)}`,
    )
  }
  if (value === '') return report('config/missing-secret', `file ${path} is empty`, 'fill it')
  if (value.length > LONGEST_SECRET)
    return report(
      'config/missing-secret',
      `file ${path} is longer than 64 KiB`,
      'name the right file',
    )
  return value
}

function warnIfOpen(
  files: ConfigFiles,
  path: string,
  report: (code: ProblemCode, message: string, mend: string, warning: boolean) => undefined,
): void {
  let mode: number | undefined
  try {
    mode = files.mode?.(path)
  } catch {
    return // it was readable a moment ago; whoever removed it will hear of it at the next load
  }
  if (mode === undefined || (mode & 0o077) === 0) return
  const bits = (mode & 0o777).toString(8).padStart(4, '0')
  report(
    'config/secret-mode',
    `file ${path} can be read by other accounts (mode ${bits})`,
    `chmod 600 ${path}`,
    true,
  )
}

/** The `code` of a system error, e.g. `ENOENT`. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'error'
}
