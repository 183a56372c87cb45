import { spawn } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { TallyLine } from './tally-reporter.ts'

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** What a run of node:test is asked to do. */
export interface TestRun {
  /** Files from the root; an empty list is refused, as node:test would then look for files by itself. */
  readonly files: readonly string[]
  /** `none` runs all files in one process: a hundred files in under a second, but they must share nothing. */
  readonly isolation: 'none' | 'process'
  /** Whether the run's own report goes to this terminal; else only the tally is kept. */
  readonly show: boolean
  /** The longest one test, and with `process` one file, may take; then it fails by name instead of holding up the rest. */
  readonly testMilliseconds: number
  /** The longest the whole run may take; then it is killed, as by a test that blocks the event loop or left something open. */
  readonly runMilliseconds: number
}

/** How a run of node:test ended. */
export interface Tally {
  readonly passed: readonly TallyLine[]
  readonly failed: readonly TallyLine[]
  readonly skipped: readonly TallyLine[]
  readonly todo: readonly TallyLine[]
  /** Files in which no test ran. */
  readonly empty: readonly TallyLine[]
  /** Nothing failed and the run came to its end. A file that cannot be loaded fails here though no test did. */
  readonly ok: boolean
  /** What the run said, when it was not shown. */
  readonly output: string
}

/** Paths from the root that match any of the globs, each once, in order; nothing of `node_modules`. */
export function findFiles(globs: readonly string[]): string[] {
  const found = globSync([...globs], { cwd: ROOT }).map((path) => path.split('\\').join(posix.sep))
  return [...new Set(found)].filter((path) => !path.includes('node_modules/')).toSorted()
}

/** The command of a run, for people to repeat. */
export function testCommand({ files, isolation }: Pick<TestRun, 'files' | 'isolation'>): string {
  return `npx node --test${isolation === 'none' ? ' --test-isolation=none' : ''} ${files.join(' ')}`
}

/** Runs test files with the Node that runs this, and counts. */
export async function runTests(run: TestRun): Promise<Tally> {
  if (run.files.length === 0) throw new Error('no test files to run')
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-tally-'))
  const tallyFile = join(folder, 'tally.jsonl')
  try {
    const { ended, output } = await runNode(
      [
        '--test',
        `--test-isolation=${run.isolation}`,
        `--test-timeout=${run.testMilliseconds}`,
        // Two cores, and suites that start servers: more at once only makes them wait for each other.
        ...(run.isolation === 'process' ? ['--test-concurrency=2'] : []),
        '--test-reporter=spec',
        '--test-reporter-destination=stdout',
        '--test-reporter=./tools/tally-reporter.ts',
        `--test-reporter-destination=${tallyFile}`,
        ...run.files,
      ],
      run,
    )
    return tallyOf(readLines(tallyFile), ended, output)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Past its time the run is asked to stop, as node:test then names the tests it was at; a blocked event loop is not asked twice. */
function runNode(
  args: readonly string[],
  { show, runMilliseconds }: TestRun,
): Promise<{ readonly ended: boolean; readonly output: string }> {
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: environment(),
    stdio: ['ignore', show ? 'inherit' : 'pipe', show ? 'inherit' : 'pipe'],
  })
  const parts: string[] = []
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (part: string) => parts.push(part))
  const ask = setTimeout(() => child.kill('SIGTERM'), runMilliseconds)
  const force = setTimeout(() => child.kill('SIGKILL'), runMilliseconds + 10_000)
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(ask)
      clearTimeout(force)
      resolve({ ended: code === 0, output: parts.join('') })
    })
  })
}

/** Run from inside a test, node:test would report to that test's runner instead of to us. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  return env
}

function readLines(path: string): TallyLine[] {
  const lines = readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as TallyLine)
}

function tallyOf(lines: readonly TallyLine[], ended: boolean, output: string): Tally {
  const of = (outcome: TallyLine['outcome']) => lines.filter((line) => line.outcome === outcome)
  const failed = of('failed')
  return {
    passed: of('passed'),
    failed,
    skipped: of('skipped'),
    todo: of('todo'),
    empty: of('empty'),
    ok: ended && failed.length === 0,
    output,
  }
}
