/**
 * Sending and timing. Whatever the loop, the generator's core never goes idle while a run is on: see {@link spinWhile}.
 */
import type { Answer, Connection } from './connection.ts'

/** What happened while requests were sent. */
export interface Driven {
  /** Milliseconds of each request, in order of completion. */
  readonly latencies: Float64Array
  /** From the first sending to the last answer. */
  readonly milliseconds: number
}

/** Called for every answer. */
export type OnAnswer = (answer: Answer) => void

/**
 * Closed loop: every connection sends its next request as soon as it has an answer, so the server is saturated. Ends
 * after `milliseconds`, or when `next` has no more; never, but also without spinning, once `givenUp` fires.
 */
export function driveClosed(
  connections: readonly Connection[],
  next: () => Buffer | undefined,
  milliseconds: number,
  onAnswer: OnAnswer,
  givenUp?: AbortSignal,
): Promise<Driven> {
  return new Promise((resolve) => {
    const latencies: number[] = []
    const start = performance.now()
    let active = connections.length
    const sendOn = (connection: Connection) => {
      const now = performance.now()
      const request = now - start < milliseconds ? next() : undefined
      if (request) {
        connection.send(request, (answer) => {
          latencies.push(performance.now() - now)
          onAnswer(answer)
          sendOn(connection)
        })
        return
      }
      active -= 1
      if (active === 0)
        resolve({
          latencies: Float64Array.from(latencies),
          milliseconds: performance.now() - start,
        })
    }
    for (const connection of connections) sendOn(connection)
    spinWhile(() => active > 0, givenUp)
  })
}

/**
 * Open loop: requests are due at times fixed beforehand, whatever the server does. A latency counts from the moment a
 * request was due, also while it waits for a free connection, so a slow answer cannot hide the ones behind it
 * (coordinated omission). Timers are too coarse for this, which is another reason to spin. Like {@link driveClosed}
 * it never ends once `givenUp` fires.
 */
export function driveOpen(
  connections: readonly Connection[],
  requests: readonly Buffer[],
  dueAt: Float64Array,
  onAnswer: OnAnswer,
  givenUp?: AbortSignal,
): Promise<Driven> {
  return new Promise((resolve) => {
    const latencies = new Float64Array(requests.length)
    const idle = [...connections]
    const start = performance.now()
    let sent = 0
    let answered = 0
    const sendDue = () => {
      const now = performance.now() - start
      while (idle.length > 0 && sent < requests.length && (dueAt[sent] ?? Infinity) <= now) {
        const connection = idle.pop()
        const request = requests[sent]
        const due = dueAt[sent]
        if (!connection || !request || due === undefined) return
        sent += 1
        connection.send(request, (answer) => {
          latencies[answered] = performance.now() - start - due
          answered += 1
          idle.push(connection)
          onAnswer(answer)
        })
      }
    }
    spinWhile(() => {
      sendDue()
      if (answered < requests.length) return true
      resolve({ latencies, milliseconds: performance.now() - start })
      return false
    }, givenUp)
  })
}

/**
 * Keeps this process polling, never sleeping, while `isOn`. It needs a core of its own.
 *
 * A generator that sleeps until an answer comes has to be woken by the server: the system call that sends the answer
 * then also sends an interrupt to the idle core, which in a virtual machine leaves the guest and costs the sender some
 * 20 µs. That is the bench's doing and not the server's, and falls hardest on the fastest server. So it is done alike
 * for rolemint, the peer and the trivial server, in both loops.
 */
export function spinWhile(isOn: () => boolean, givenUp?: AbortSignal): void {
  const spin = () => {
    if (!givenUp?.aborted && isOn()) setImmediate(spin)
  }
  spin()
}

/** Times in milliseconds at which `count` requests are due: a Poisson process of `perSecond`, the same for the same seed. */
export function poissonArrivals(count: number, perSecond: number, seed: number): Float64Array {
  const random = mulberry32(seed)
  const dueAt = new Float64Array(count)
  let time = 0
  for (let index = 0; index < count; index += 1) {
    time += (-Math.log(1 - random()) / perSecond) * 1000
    dueAt[index] = time
  }
  return dueAt
}

/** A small seeded generator: two servers must meet the same arrivals. */
function mulberry32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
