/** The wall clock, passed in so that a test or a simulation decides what time it is. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
}

/** The clock of the machine. */
export const systemClock: Clock = { now: Date.now }

/** Milliseconds that only grow, for measuring how long ago something was: nobody can set this clock back. */
export const monotonicClock: Clock = { now: performance.now.bind(performance) }

/** A point in time as JWTs carry it: whole seconds since the epoch, rounded down (NumericDate, RFC 7519 §2). */
export function numericDate(milliseconds: number): number {
  return Math.floor(milliseconds / 1000)
}
