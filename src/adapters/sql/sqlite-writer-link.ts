import type { Worker } from 'node:worker_threads'
import type { Clock } from '../../lib/clock.ts'
import type { ClaimRow, NewRow } from './ledger-row.ts'
import {
  type Answer,
  APPEND,
  type Outcomes,
  RUN,
  SCRUB,
  type Value,
  type Write,
} from './sqlite-protocol.ts'

/** The main thread's end of the writer thread. */
export interface WriterLink {
  /** Commits the writes in one transaction; at most one call at a time. Rejects when nothing is known to be durable. */
  readonly commit: (writes: readonly Write[]) => Promise<Outcomes>
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

/**
 * A batch as one flat array: structured cloning of it costs half of what nested objects cost. Digests travel as
 * Latin-1 text, since cloning a small Buffer copies the whole 8 KiB slab it was cut from.
 */
function encodeBatch(writes: readonly Write[], now: number): Value[] {
  const flat: Value[] = [now, writes.length]
  for (const write of writes) {
    if (write.kind === 'append') encodeAppend(flat, write.entry, write.claims)
    else if (write.kind === 'run') {
      flat.push(RUN, write.sql, write.parameters.length)
      for (const value of write.parameters) {
        flat.push(value instanceof Uint8Array ? new Uint8Array(value) : value)
      }
    } else flat.push(SCRUB)
  }
  return flat
}

function encodeAppend(flat: Value[], entry: NewRow | undefined, claims: readonly ClaimRow[]): void {
  flat.push(APPEND, claims.length)
  for (const claim of claims) {
    flat.push(
      claim.kind,
      claim.tenant,
      claim.key,
      claim.kind === 'pin' ? claim.owner : claim.expiresAt,
    )
  }
  if (entry === undefined) {
    flat.push(0)
    return
  }
  flat.push(
    1,
    entry.tenant,
    entry.id,
    entry.event,
    entry.at,
    entry.digest === null ? null : entry.digest.toString('latin1'),
    entry.kid,
    entry.client,
    entry.sub,
    entry.upn,
    entry.exp,
    entry.code,
    entry.trace_id,
    entry.details,
  )
}
