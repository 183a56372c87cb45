import type { Rate } from './duration.ts'

/**
 * What is remembered of a key that was seen: work not yet worked off, and when that was true.
 *
 * `backlog` is counted in `1/count` ms: one request adds `perMilliseconds`, one millisecond takes away `count`. All
 * three are whole numbers and `count * perMilliseconds` stays below 2^53, so nothing is ever rounded: a burst of
 * exactly `count` passes, at `3/s` as at `1000/s`, which a theoretical arrival time in floating milliseconds does not give.
 */
export interface Bucket {
  readonly at: number
  readonly backlog: number
  readonly rate: Rate
}

/** Whether one more request is admitted, and what to remember then. `waitMilliseconds` is 0 when it is. */
export interface Verdict {
  readonly bucket: Bucket
  readonly waitMilliseconds: number
}

/** Past this, `backlog` could no longer be counted exactly. */
const MOST_BACKLOG = 2 ** 52
/** How many bursts may be owed for what happened without room, so that nobody is shut out for longer than nine periods. */
const MOST_BURSTS_OWED = 10

/**
 * One step of the Generic Cell Rate Algorithm, as the continuous-state leaky bucket of ITU-T I.371 (equal to its
 * virtual-scheduling form): `rate.count` at once, then one each `rate.perMilliseconds / rate.count`. Pure.
 *
 * A refused request costs nothing, so a caller that keeps knocking is admitted as soon as one that waited.
 *
 * @param bucket what the last step returned for this key; undefined for a key never seen
 * @param now whole milliseconds
 */
export function gcra(bucket: Bucket | undefined, now: number, rate: Rate): Verdict {
  const backlog = backlogAt(bucket, now, rate)
  const waitMilliseconds = waitBefore(backlog, rate)
  const taken = waitMilliseconds > 0 ? backlog : backlog + rate.perMilliseconds
  return { bucket: { at: now, backlog: taken, rate }, waitMilliseconds }
}

/** What is still to be worked off at `now`. */
export function backlogAt(bucket: Bucket | undefined, now: number, rate: Rate): number {
  // Another rate counts in other units. It comes from an operator's edit, and a fresh burst then harms nobody.
  if (bucket === undefined || !sameRate(bucket.rate, rate)) return 0
  // A clock set back must not lock a client out until it has caught up: nothing is worked off, nothing is added.
  const elapsed = Math.max(0, now - bucket.at)
  return Math.max(0, bucket.backlog - elapsed * rate.count)
}

/** Milliseconds until one more request has room; 0 when it has now. */
export function waitBefore(backlog: number, rate: Rate): number {
  const excess = backlog + rate.perMilliseconds - rate.count * rate.perMilliseconds
  return excess > 0 ? Math.ceil(excess / rate.count) : 0
}

/** The backlog after one more that has happened already, room or not. Bounded, so that nobody is locked out for ever. */
export function owed(backlog: number, rate: Rate): number {
  const most = Math.min(MOST_BURSTS_OWED * rate.count * rate.perMilliseconds, MOST_BACKLOG)
  return Math.max(backlog, Math.min(backlog + rate.perMilliseconds, most))
}

/** How many more would be admitted at once. */
export function remainingAt(backlog: number, rate: Rate): number {
  const room = rate.count * rate.perMilliseconds - backlog
  return Math.max(0, Math.floor(room / rate.perMilliseconds))
}

/** Milliseconds until everything is worked off. */
export function emptyAfter(backlog: number, rate: Rate): number {
  return Math.ceil(backlog / rate.count)
}

function sameRate(a: Rate, b: Rate): boolean {
  return a === b || (a.count === b.count && a.perMilliseconds === b.perMilliseconds)
}
