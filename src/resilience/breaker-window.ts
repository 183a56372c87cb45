import type { Clock } from '../lib/clock.ts'

/** What opens a breaker. Shares are of the calls that the window remembers. */
export interface WindowOptions {
  /** Calls remembered; an older one is forgotten when a newer one comes. */
  readonly calls: number
  /** How long a call is remembered: without an end, failures of last night would open it in the morning. */
  readonly ageMilliseconds: number
  /** Fewer calls than that say nothing. */
  readonly leastCalls: number
  /** From this share of failed calls on, above 0 and up to 1. */
  readonly failureShare: number
  /** From this share of slow calls on, above 0 and up to 1. */
  readonly slowShare: number
}

/** What the window remembers. A call that failed slowly counts as both. */
export interface WindowCounts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/** The last calls of one dependency. */
export interface BreakerWindow {
  record(failed: boolean, slow: boolean): void
  /** Whether so many failed, or were slow, that it should not be asked. */
  isBad(): boolean
  counts(): WindowCounts
  clear(): void
}

const FAILED = 1
const SLOW = 2

/**
 * A sliding window bounded by number and by age, in constant space and constant time a call.
 *
 * cockatiel's own two do not fit: one slides by the wall clock, which can be set back, the other never forgets by age, and neither
 * knows of slow calls.
 */
export function createBreakerWindow(
  { clock }: { readonly clock: Clock },
  { calls: most, ageMilliseconds, leastCalls, failureShare, slowShare }: WindowOptions,
): BreakerWindow {
  // A ring, made when the first call comes: of thousands of dependencies most are never called.
  let ring: { readonly times: Float64Array; readonly marks: Uint8Array } | undefined
  let oldest = 0
  let calls = 0
  let failures = 0
  let slow = 0

  function count(mark: number, step: 1 | -1): void {
    calls += step
    if (mark & FAILED) failures += step
    if (mark & SLOW) slow += step
  }

  function forgetOldest({ marks }: NonNullable<typeof ring>): void {
    count(marks[oldest] ?? 0, -1)
    oldest = (oldest + 1) % most
  }

  function forgetOld(): void {
    if (!ring) return
    const since = clock.now() - ageMilliseconds
    for (let left = calls; left > 0 && (ring.times[oldest] ?? 0) <= since; left -= 1)
      forgetOldest(ring)
  }

  return {
    record(failed, isSlow) {
      ring ??= { times: new Float64Array(most), marks: new Uint8Array(most) }
      forgetOld()
      if (calls === most) forgetOldest(ring)
      const place = (oldest + calls) % most
      const mark = (failed ? FAILED : 0) | (isSlow ? SLOW : 0)
      ring.times[place] = clock.now()
      ring.marks[place] = mark
      count(mark, 1)
    },
    isBad() {
      forgetOld()
      if (calls < leastCalls) return false
      return failures >= failureShare * calls || slow >= slowShare * calls
    },
    counts() {
      forgetOld()
      return { calls, failures, slow }
    },
    clear() {
      oldest = 0
      calls = 0
      failures = 0
      slow = 0
    },
  }
}
