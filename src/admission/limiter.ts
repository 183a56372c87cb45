/** The limit of the load gate: how many requests may begin in one turn of the event loop. Pure, so that a storm can be simulated. */

/** What the limiter knows. */
export interface Limiter {
  /** Requests that may begin in one turn; fractional between steps. */
  readonly limit: number
  /** How late the event loop came to things of late through work of its own, milliseconds. */
  readonly lateness: number
}

/** What was seen since the step before. */
export interface Sample {
  readonly milliseconds: number
  /** How late a timer fired in it: how long a turn of the event loop kept others waiting. */
  readonly lateMilliseconds: number
  /** Processor time that the thread used in it. On a busy machine the loop is late without a fault of its own, and doing less would not help. */
  readonly cpuMilliseconds: number
}

/** Bounds of the limiter. */
export interface LimiterBounds {
  readonly floor: number
  readonly cap: number
  /** Where it starts, and where it starts again after a time in which nobody waited. */
  readonly initial: number
  /** How late the loop may be under load. */
  readonly lateMilliseconds: number
}

/** A limiter that has seen nothing yet: it holds still until it has. */
export function newLimiter({ initial, lateMilliseconds }: LimiterBounds): Limiter {
  return { limit: initial, lateness: lateMilliseconds }
}

/** Over so long a time lateness is averaged, and the limit is multiplied by the whole gradient; a shorter sample counts for less. */
const STEP_MILLISECONDS = 20
const MOST_SHRINK = 0.7
const MOST_GROWTH = 3
/** A longer stall counts as so many times the wanted lateness: it is over when it is seen, and one must not undo what was learnt. */
const WORST = 4
/** No timer is exact to less than this. */
const EXACT_MILLISECONDS = 0.5

/**
 * The limiter after one more sample.
 *
 * As in Gradient2 (Netflix, concurrency-limits) the limit is multiplied by wanted through seen, within bounds. What is seen is not the time of
 * requests: those wait for the ledger and for sources, which costs this process nothing, and must not shut the door when a source is slow. What is
 * scarce is the one thread, and how late it comes to things says how scarce. The wanted value is fixed: one that is learnt is dragged along by
 * a long storm, and without load the loop is never late.
 */
export function step(limiter: Limiter, sample: Sample, bounds: LimiterBounds): Limiter {
  if (sample.milliseconds <= 0) return limiter
  const wanted = bounds.lateMilliseconds
  const share = Math.min(sample.milliseconds / STEP_MILLISECONDS, 1)
  const late = Math.min(sample.lateMilliseconds, sample.cpuMilliseconds)
  const seen = clamp(late, EXACT_MILLISECONDS, wanted * WORST)
  const lateness = limiter.lateness + (seen - limiter.lateness) * share
  const gradient = clamp(wanted / lateness, MOST_SHRINK, MOST_GROWTH)
  return { limit: clamp(limiter.limit * gradient ** share, bounds.floor, bounds.cap), lateness }
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most)
}
