import { connect, type Socket } from 'node:net'
import { type Answer, parseAnswer } from '../../bench/connection.ts'

/** How a call ended. A number is the status of an answer that came in time. */
export type Outcome = number | 'timeout' | 'unsent' | 'cut'

/** One attempt to get an answer. */
export interface Call {
  readonly request: Buffer
  /** When it was due, in milliseconds of `performance.now()`. */
  readonly due: number
  /** Called exactly once. `body` is valid only until it returns. */
  readonly done: (outcome: Outcome, now: number, body?: Buffer) => void
}

/** Who calls. */
export interface FleetOptions {
  readonly port: number
  /** As many connections as all clients together would ever open. */
  readonly connections: number
  /** Counted from when a call was due, also while it waits for a connection. */
  readonly timeoutMilliseconds: number
  /** Number of addresses the connections come from, 127.0.`network`.1 and on: a fleet is many machines. */
  readonly addresses: number
  readonly network: number
}

/** Many clients of one server. */
export interface Fleet {
  call(call: Call): void
  /** Gives up what takes too long, sends what waits. To be called again and again, with `performance.now()`. */
  tend(now: number): void
  /** Calls that have not ended. */
  readonly pending: number
  readonly counts: { dialled: number; failedDials: number; closedByServer: number }
  close(): void
}

interface Slot {
  readonly address: string
  state: 'closed' | 'dialling' | 'idle' | 'busy' | 'resting'
  socket: Socket | undefined
  call: Call | undefined
  received: Buffer | undefined
  /** When dialling began or resting ends. */
  since: number
}

const SWEEP_MILLISECONDS = 5
/** After a dial that failed; a client that dials without pause would be a second attack beside the first. */
const REST_MILLISECONDS = 50
/** Dialling is dear for the generator as well, and calls that need no new connection must not be late for it. */
const MOST_DIALS_A_TURN = 2
const CLOSES = /\r\nconnection: *close/i

/**
 * The clients of an open-loop run. Nothing here waits for the server: calls are due when they are due, and the server's
 * slowness shows as calls that time out or that find no connection.
 *
 * - A call that finds all connections busy, and no further one allowed, fails at once as `unsent`: a pool that is exhausted
 *   fails fast. It counts as offered and not answered. Were it queued here, this queue would be part of every latency, and
 *   the longer the server keeps a connection busy, the more of what is measured would be the queue.
 * - A call that needs a new connection waits for one to be dialled, the newest first, until its timeout.
 * - A call that is sent and not answered within its timeout fails as `timeout`; its connection is closed, as there is no
 *   other way to withdraw a request in HTTP/1.1, and another is opened when there is need.
 * - `Connection: close` and lost connections are honoured as an HTTP client would: a lost connection fails its call as
 *   `cut` (a POST must not be sent twice by itself, RFC 9110 §9.2.2) and is dialled again on demand.
 */
export function createFleet(options: FleetOptions): Fleet {
  const slots: Slot[] = Array.from({ length: options.connections }, (_, index) => ({
    address: `127.0.${options.network}.${1 + (index % options.addresses)}`,
    state: 'closed',
    socket: undefined,
    call: undefined,
    received: undefined,
    since: 0,
  }))
  const closed = slots.toReversed()
  const idle: Slot[] = []
  const counts = { dialled: 0, failedDials: 0, closedByServer: 0 }
  // Sorted by due, as calls come in that order: the newest is at the end, those to give up at `oldest`.
  let waiting: Call[] = []
  let oldest = 0
  let inFlight = 0
  let dialling = 0
  let sweptAt = 0
  let isClosed = false
  const common = Buffer.allocUnsafe(64 * 1024)

  function end(slot: Slot, outcome: Outcome, now: number, body?: Buffer): void {
    const { call } = slot
    if (!call) return
    slot.call = undefined
    inFlight -= 1
    // An answer that comes between the timeout and the next sweep is as useless as one that comes later.
    const isLate = now - call.due > options.timeoutMilliseconds
    call.done(isLate ? 'timeout' : outcome, now, body)
  }

  function drop(slot: Slot, state: 'closed' | 'resting'): void {
    const { socket } = slot
    if (slot.state === 'dialling') dialling -= 1
    const at = slot.state === 'idle' ? idle.indexOf(slot) : -1
    if (at >= 0) idle.splice(at, 1)
    slot.socket = undefined
    slot.received = undefined
    slot.state = state
    slot.since = performance.now()
    if (state === 'closed') closed.push(slot)
    socket?.destroy()
  }

  function dial(slot: Slot, now: number): void {
    slot.state = 'dialling'
    slot.since = now
    dialling += 1
    counts.dialled += 1
    const socket = connect({
      port: options.port,
      host: '127.0.0.1',
      localAddress: slot.address,
      noDelay: true,
      // One buffer for all: a read is handed over before the next one begins.
      onread: {
        buffer: common,
        callback: (bytes) => {
          if (slot.socket === socket) read(slot, common.subarray(0, bytes))
          return true
        },
      },
    })
    slot.socket = socket
    socket.once('connect', () => {
      if (slot.socket !== socket) return
      dialling -= 1
      slot.state = 'idle'
      idle.push(slot)
      sendWaiting()
    })
    const lost = () => {
      if (slot.socket !== socket || isClosed) return
      const wasDialling = slot.state === 'dialling'
      if (wasDialling) counts.failedDials += 1
      else counts.closedByServer += 1
      drop(slot, wasDialling ? 'resting' : 'closed')
      end(slot, 'cut', performance.now())
    }
    socket.on('error', lost)
    socket.on('end', lost)
    socket.on('close', lost)
  }

  function read(slot: Slot, chunk: Buffer): void {
    const bytes = slot.received ? Buffer.concat([slot.received, chunk]) : chunk
    let answer: Answer | undefined
    try {
      answer = parseAnswer(bytes)
    } catch {
      drop(slot, 'closed')
      end(slot, 'cut', performance.now())
      return
    }
    if (!answer) {
      slot.received = Buffer.from(bytes)
      return
    }
    slot.received = undefined
    if (CLOSES.test(answer.head)) {
      counts.closedByServer += 1
      drop(slot, 'closed')
    } else if (slot.call) {
      slot.state = 'idle'
      idle.push(slot)
    }
    end(slot, answer.status, performance.now(), answer.body)
    sendWaiting()
  }

  function sendWaiting(): void {
    while (idle.length > 0 && waiting.length > oldest) {
      const slot = idle.pop()
      const call = waiting.pop()
      if (!slot || !call) return
      slot.state = 'busy'
      slot.call = call
      inFlight += 1
      slot.socket?.write(call.request)
    }
  }

  function sweep(now: number): void {
    sweptAt = now
    const expired = now - options.timeoutMilliseconds
    for (const slot of slots) {
      if (slot.state === 'busy' && slot.call && slot.call.due <= expired) {
        drop(slot, 'closed')
        end(slot, 'timeout', now)
      } else if (slot.state === 'dialling' && slot.since <= expired) {
        counts.failedDials += 1
        drop(slot, 'closed')
      } else if (slot.state === 'resting' && now - slot.since >= REST_MILLISECONDS) {
        slot.state = 'closed'
        closed.push(slot)
      }
    }
    while ((waiting[oldest]?.due ?? Infinity) <= expired) giveUpOldest(now)
    waiting = waiting.slice(oldest)
    oldest = 0
  }

  function giveUpOldest(now: number): void {
    const call = waiting[oldest]
    oldest += 1
    call?.done('unsent', now)
  }

  return {
    counts,
    get pending() {
      return inFlight + waiting.length - oldest
    },
    call: (call) => void waiting.push(call),
    tend(now) {
      if (now - sweptAt >= SWEEP_MILLISECONDS) sweep(now)
      sendWaiting()
      const lacking = waiting.length - oldest - dialling
      for (let dials = Math.min(lacking, MOST_DIALS_A_TURN); dials > 0; dials -= 1) {
        const slot = closed.pop()
        if (!slot) break
        dial(slot, now)
      }
      // Whoever is still without a connection, and without the prospect of one.
      while (waiting.length - oldest > dialling + closed.length) giveUpOldest(now)
    },
    close() {
      isClosed = true
      for (const slot of slots) slot.socket?.destroy()
    },
  }
}
