import type { Worker } from 'node:worker_threads'
import type { Clock } from '../../lib/clock.ts'
import { type Answer, encodeBatch, type Outcomes, type Write } from './sqlite-protocol.ts'

/** The main thread's end of the writer thread. */
export interface WriterLink {
  /** Commits the writes in one transaction; at most one call at a time. Rejects when nothing is known to be durable. */
  commit(writes: readonly Write[]): Promise<Outcomes>
  close(): Promise<void>
}

/** How long a crashed writer stays down: a thread that dies at once must not be started in a loop. */
const RESTART_MILLISECONDS = 250

/**
 * Starts the writer thread and starts it again when it dies. What was with it then rejects: it may or may not be durable.
 * Until it is back, batches wait for it, each caller no longer than its own signal.
 */
export function createWriterLink({
  startWriter,
  clock,
}: {
  readonly startWriter: () => Worker
  readonly clock: Clock
}): WriterLink {
  let waiting: { resolve: (outcomes: Outcomes) => void; reject: (error: Error) => void } | undefined
  let unsent: readonly Write[] | undefined
  let restart: NodeJS.Timeout | undefined
  let closing = false
  let worker: Worker | undefined = start()

  function start(): Worker {
    const started = startWriter()
    let crash: unknown
    started.on('message', receive)
    started.on('error', (error) => {
      crash = error
    })
    started.on('exit', () => {
      worker = undefined
      if (closing) return
      waiting?.reject(new Error('The writer thread of the store died.', { cause: crash }))
      waiting = undefined
      restart = setTimeout(() => {
        worker = start()
        if (unsent !== undefined) send(worker, unsent)
      }, RESTART_MILLISECONDS)
    })
    return started
  }

  function receive(answer: Answer): void {
    const caller = waiting
    waiting = undefined
    if (typeof answer === 'string')
      caller?.reject(new Error(`The store did not take the write: ${answer}.`))
    else caller?.resolve(answer)
  }

  function send(to: Worker, writes: readonly Write[]): void {
    unsent = undefined
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    to.postMessage(encodeBatch(writes, clock.now()))
  }

  return {
    commit(writes) {
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        if (worker === undefined) unsent = writes
        else send(worker, writes)
      })
    },

    async close() {
      closing = true
      if (restart !== undefined) clearTimeout(restart)
      waiting?.reject(new Error('The store was closed.'))
      const running = worker
      if (running === undefined) return
      const exited = new Promise((resolve) => running.once('exit', resolve))
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      running.postMessage('close')
      // A writer that hangs in a system call does not read its messages.
      const impatience = setTimeout(() => void running.terminate(), 2000)
      await exited
      clearTimeout(impatience)
    },
  }
}
