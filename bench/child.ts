import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

/** Cores: the generator has one, every server the other. */
export const GENERATOR_CORE = 0
export const SERVER_CORE = 1

/** Whether processes can be kept apart; without it generator and server disturb each other. */
export function canPin(): boolean {
  if (availableParallelism() < 2) return false
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A process the bench started. */
export interface Child {
  readonly pid: number
  /** Sends a message over IPC and waits for the next one. @throws {Error} when the process ends first. */
  ask(message: unknown): Promise<unknown>
  /** Waits for a message without sending one. @throws {Error} when the process ends first. */
  heard(): Promise<unknown>
  /** Rejects when the process ends without having been stopped, with the end of its stderr. */
  readonly died: Promise<never>
  /** Ends it: SIGTERM, and SIGKILL after five seconds. */
  stop(): Promise<void>
}

/** How to start a process. */
export interface ChildOptions {
  /** Arguments of node, the file first. */
  readonly args: readonly string[]
  /** Left out: not pinned. */
  readonly core?: number
  readonly env?: Readonly<Record<string, string>>
  /** False for servers that must not know they are measured: then `ask` and `heard` are of no use. */
  readonly ipc?: boolean
  /** Where its stderr goes. */
  readonly folder: string
  readonly name: string
}

/**
 * Starts a node process, pinned to a core. Its stdout is thrown away, which is what a log costs when somebody else
 * pays for the disk; its stderr is kept in a file for when it fails.
 */
export function startChild(options: ChildOptions): Child {
  const errorFile = join(options.folder, `${options.name}.stderr`)
  const errorHandle = openSync(errorFile, 'w')
  const node = [process.execPath, ...options.args]
  const command = options.core === undefined ? node : ['taskset', '-c', `${options.core}`, ...node]
  const [file = '', ...args] = command
  const child = spawn(file, args, {
    stdio: ['ignore', 'ignore', errorHandle, ...(options.ipc === false ? [] : ['ipc' as const])],
    env: { ...process.env, ...options.env },
  })
  closeSync(errorHandle)
  if (child.pid === undefined) throw new Error(`${options.name} did not start`)
  let stopping = false
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const died = ended.then(() => {
    if (stopping) return new Promise<never>(() => undefined)
    throw new Error(`${options.name} ended by itself: ${tail(errorFile)}`)
  })
  // Whoever waits for the process hears of its end; nobody waiting is no failure.
  died.catch(() => undefined)
  const heard = () => Promise.race([nextMessage(child), died])
  return {
    pid: child.pid,
    heard,
    ask(message) {
      const answer = heard()
      child.send(message as object)
      return answer
    },
    died,
    async stop() {
      stopping = true
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(killer)
    },
  }
}

function nextMessage(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once('message', resolve))
}

function tail(file: string): string {
  return readFileSync(file, 'utf8').trim().slice(-2000)
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
