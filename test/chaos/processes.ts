/** Real processes of the product, for what cannot be shown within one: kills, signals, exit codes, what is printed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The root of the repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** How a process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A process that was started, and what it has said so far. */
export interface Started {
  readonly pid: number
  stdout(): string
  stderr(): string
  /** Resolves once it has ended and everything it said was read. */
  readonly ended: Promise<Ended>
  /** The first match on stderr. Rejects with what was said when it ends before, or when the time is over. */
  says(pattern: RegExp, milliseconds?: number): Promise<RegExpExecArray>
  kill(signal: NodeJS.Signals): void
}

/** How to start a process. */
export interface StartOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** A process group of its own, so that `kill` also reaches what it starts. */
  readonly group?: boolean
  /** Standard input, whole. */
  readonly input?: string
}

/** More than any command says; a server under load says more, and only its last words matter. */
const KEPT_CHARACTERS = 4_000_000

/** Starts a program. It is killed when this process ends without having waited for it. */
export function startProgram(
  program: string,
  args: readonly string[],
  { cwd = ROOT, env = bareEnvironment(), group = false, input }: StartOptions = {},
): Started {
  const child = spawn(program, args, {
    cwd,
    env,
    detached: group,
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  child.stdin?.end(input)
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  const { pid } = child
  if (pid === undefined) throw new Error(`${program} did not start`)
  const kill = (signal: NodeJS.Signals) => end(child, group, signal)
  const killOnExit = () => kill('SIGKILL')
  process.once('exit', killOnExit)
  const ended = once(child, 'close').then(([code, signal]) => {
    process.removeListener('exit', killOnExit)
    return { code, signal }
  })

  return {
    pid,
    stdout: stdout.text,
    stderr: stderr.text,
    ended,
    kill,
    async says(pattern, milliseconds = 60_000) {
      const signal = AbortSignal.timeout(milliseconds)
      let over = false
      void ended.then(() => (over = true))
      for (;;) {
        const match = pattern.exec(stderr.text())
        if (match) return match
        if (over || signal.aborted) {
          const why = over ? 'it ended' : `${milliseconds} ms passed`
          throw new Error(
            `${program} never said ${pattern}: ${why}\n${stdout.text()}${stderr.text()}`,
          )
        }
        await Promise.race([stderr.next(), ended, aborted(signal)])
      }
    },
  }
}

/** `node src/main.ts ARGS`: a command of rolemint. */
export function startRolemint(args: readonly string[], options: StartOptions = {}): Started {
  return startProgram(process.execPath, [`${ROOT}src/main.ts`, ...args], options)
}

/** A running `rolemint serve`. */
export interface Served extends Started {
  readonly url: string
  readonly adminUrl: string
}

/** Starts `rolemint serve -c FILE` and waits until it serves. Rejects with what it said when it does not. */
export async function startServing(
  configFile: string,
  options: StartOptions & { readonly more?: readonly string[] } = {},
): Promise<Served> {
  const started = startRolemint(['serve', '-c', configFile, ...(options.more ?? [])], options)
  const [, url = '', adminUrl = ''] = await started.says(/serves .* at (\S+), admin (\S+)\n/)
  return { ...started, url, adminUrl }
}

/** An environment in which nothing of this test run shows: no settings, no flags, no runner to report to. */
export function bareEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env
  return { PATH, HOME, ...(TMPDIR === undefined ? {} : { TMPDIR }), ...more }
}

function end(child: ChildProcess, group: boolean, signal: NodeJS.Signals): void {
  if (!group) {
    child.kill(signal)
    return
  }
  try {
    process.kill(-(child.pid ?? Number.NaN), signal)
  } catch {
    // Nothing of the group is left, which is what was asked for.
  }
}

function collect(stream: NodeJS.ReadableStream | null) {
  let text = ''
  let wake: (() => void)[] = []
  stream?.setEncoding('utf8')
  stream?.on('data', (chunk: string) => {
    text = (text + chunk).slice(-KEPT_CHARACTERS)
    for (const each of wake) each()
    wake = []
  })
  return {
    text: () => text,
    next: () => new Promise<void>((resolve) => void wake.push(resolve)),
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
