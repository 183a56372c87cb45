import { spawnSync } from 'node:child_process'
import { findFiles, ROOT, runTests, type Tally, testCommand } from './run-tests.ts'
import type { TallyLine } from './tally-reporter.ts'

/** Whether a promise is kept, and the figure that says so. */
export interface Verdict {
  readonly ok: boolean
  /** Short and measured: `212 passed`, `0 of 500 missing`, `0.41 (at least 0.33)`. */
  readonly figure: string
}

/** One promise of a work order that anyone can check again. */
export interface Proof {
  /** Stable, for `--only` and for quoting: `1.kill-loop`. */
  readonly id: string
  readonly what: string
  run(context: ProofContext): Verdict | Promise<Verdict>
}

/** Tests that must be there and pass. */
export interface TestDemand {
  /** Globs from the root. */
  readonly files: readonly string[]
  /** Only tests whose own name matches are counted. */
  readonly name?: RegExp
  /** Fewer than this and the proof fails: a name that matches nothing must not look like success. */
  readonly atLeast: number
  readonly isolation?: 'none' | 'process'
}

/** What a proof may use. Whatever it runs is noted as the command behind its figure. */
export interface ProofContext {
  /** A sample that fits CI: smaller loops, looser numbers; never fewer promises. */
  readonly quick: boolean
  /** Runs test files, each set once for all proofs of a run; passes when at least so many passed and none failed or was skipped. */
  readonly tests: (demand: TestDemand) => Promise<Verdict>
  /**
   * Runs a command from the root and gives the JSON it prints, whatever its exit code: the proof judges the content.
   * The same command is run once for all proofs of a run.
   * @throws {Error} when it prints no JSON.
   */
  readonly json: (command: readonly string[], timeoutMilliseconds: number) => unknown
}

/** A context of its own for one proof, and the commands it came to run. */
export interface Recorded {
  readonly context: ProofContext
  readonly commands: readonly string[]
}

/** Makes the contexts of one run of `prove`; `answers` are shared, so that the bench is run once. */
export function createContexts(quick: boolean): () => Recorded {
  // A command that failed is kept as well: twelve proofs on a broken bench wait for it once.
  const tallies = new Map<string, Promise<Tally>>()
  const answers = new Map<string, { readonly json: unknown } | { readonly error: unknown }>()
  return () => {
    const commands: string[] = []
    const context: ProofContext = {
      quick,
      async tests({ files: globs, isolation = 'process', ...demand }) {
        const files = findFiles(globs)
        if (files.length === 0) return { ok: false, figure: `no file matches ${globs.join(', ')}` }
        const line = testCommand({ files, isolation })
        commands.push(line)
        const tally =
          tallies.get(line) ?? runTests({ files, isolation, show: false, ...TEST_TIMES })
        tallies.set(line, tally)
        return judge(await tally, demand)
      },
      json(command, timeoutMilliseconds) {
        const line = command.join(' ').replace(/^node /, 'npx node ')
        commands.push(line)
        const answer = answers.get(line) ?? answerOf(command, timeoutMilliseconds)
        answers.set(line, answer)
        if ('error' in answer) throw answer.error
        return answer.json
      },
    }
    return { context, commands }
  }
}

const TEST_TIMES = { testMilliseconds: 15 * 60_000, runMilliseconds: 20 * 60_000 }

/**
 * Whether the tests that count are there and passed. They are picked from the tally of the whole file: node:test's own filter
 * by name starts the servers of suites it then leaves out, and they keep the run from ending.
 */
export function judge(
  { passed, failed, skipped, todo, ok, output }: Tally,
  { name = /(?:)/, atLeast }: Pick<TestDemand, 'name' | 'atLeast'>,
): Verdict {
  const counts = (line: TallyLine) => name.test(line.name)
  const good = passed.filter(counts).length
  // A file that did not load or end fails under its own name, and with it every proof it might hold.
  const bad = failed.filter((line) => counts(line) || line.file.endsWith(line.name))
  const left = [...skipped, ...todo].filter(counts)
  const brokeOff = !ok && failed.length === 0
  const parts = [`${good} passed`]
  if (bad[0]) parts.push(`${bad.length} failed, first: ${bad[0].name}`)
  if (brokeOff) parts.push(`the run broke off: ${lastWords(output)}`)
  if (left[0]) parts.push(`${left.length} skipped, first: ${left[0].name}`)
  if (good < atLeast) parts.push(`at least ${atLeast} expected`)
  return { ok: parts.length === 1, figure: parts.join('; ') }
}

function lastWords(output: string): string {
  return output.trim().split('\n').at(-1)?.trim().slice(0, 160) ?? ''
}

function answerOf(
  command: readonly string[],
  timeoutMilliseconds: number,
): { readonly json: unknown } | { readonly error: unknown } {
  try {
    return { json: jsonOf(command, timeoutMilliseconds) }
  } catch (error) {
    return { error }
  }
}

function jsonOf([program = '', ...args]: readonly string[], timeout: number): unknown {
  const ended = spawnSync(program === 'node' ? process.execPath : program, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (ended.error) throw ended.error
  return parseJsonOutput(ended.stdout, ended.stderr)
}

/** The whole output as JSON, or its last line: a command may talk before it answers. */
export function parseJsonOutput(stdout: string, stderr: string): unknown {
  for (const text of [stdout, stdout.trim().split('\n').at(-1) ?? '']) {
    try {
      return JSON.parse(text)
    } catch {
      // The next reading may fit; if none does, that is reported below.
    }
  }
  throw new Error(`printed no JSON: ${lastWords(`${stdout}\n${stderr}`)}`)
}

/** The number at `path` (`exchange.ratio`) of some JSON; undefined when there is none. */
export function numberAt(json: unknown, path: string): number | undefined {
  let at = json
  for (const key of path.split('.')) {
    if (typeof at !== 'object' || at === null) return undefined
    at = (at as Record<string, unknown>)[key]
  }
  return typeof at === 'number' && Number.isFinite(at) ? at : undefined
}

/** The figures of a program's JSON, by name; one that is not there is NaN, which keeps no promise. */
export function figuresOf(
  { json }: Pick<ProofContext, 'json'>,
  command: readonly string[],
  names: readonly string[],
): readonly number[] {
  const answer = json(command, LONGEST_PROGRAM_MILLISECONDS)
  return names.map((name) => numberAt(answer, name) ?? Number.NaN)
}

const LONGEST_PROGRAM_MILLISECONDS = 60 * 60_000
