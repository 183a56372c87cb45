import type { Rate } from '../lib/duration.ts'

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
  const backlog = bucket === undefined ? 0 : remaining(bucket, now, rate)
  const excess = backlog + rate.perMilliseconds - rate.count * rate.perMilliseconds
  if (excess > 0) {
    return { bucket: { at: now, backlog, rate }, waitMilliseconds: Math.ceil(excess / rate.count) }
  }
  return { bucket: { at: now, backlog: backlog + rate.perMilliseconds, rate }, waitMilliseconds: 0 }
}

function remaining(bucket: Bucket, now: number, rate: Rate): number {
  // Another rate counts in other units. It comes from an operator's edit, and a fresh burst then harms nobody.
  if (!sameRate(bucket.rate, rate)) return 0
  // A clock set back must not lock a client out until it has caught up: nothing is worked off, nothing is added.
  const elapsed = Math.max(0, now - bucket.at)
  if (elapsed >= rate.perMilliseconds) return 0
  return Math.max(0, bucket.backlog - elapsed * rate.count)
}

function sameRate(a: Rate, b: Rate): boolean {
  return a === b || (a.count === b.count && a.perMilliseconds === b.perMilliseconds)
}
