import type { WindowOptions } from './breaker-window.ts'

/** What holds for every dependency unless its options say otherwise. */
export interface UpstreamBounds {
  /** Calls that wait for a place at most. A long queue would only let callers time out later. */
  readonly queue: number
  /** Longest wait for a place, part of the whole time of the call. */
  readonly queueMilliseconds: number
  /** Attempts after the first. */
  readonly retries: number
  /** Longest wait before the first retry; each further one doubles it. The wait is any time up to that ("full jitter"). */
  readonly backoffMilliseconds: number
  /** Least share of the whole time that must be left for a retry: a shorter one would only fail, and count against the dependency. */
  readonly leastAttemptShare: number
  /** Retries allowed for each call. Under 0.1, so that the spare retries do not bring attempts over 1.1 times the calls. */
  readonly retryShare: number
  /** Retries that may be saved up. */
  readonly retryBurst: number
  /** One retry in this time is allowed however few calls there are. */
  readonly spareRetryMilliseconds: number
  /** An attempt is slow from this share of the whole time on. */
  readonly slowShare: number
  /** When the breaker opens. */
  readonly window: WindowOptions
  /** How long it stays open before the probe. */
  readonly openMilliseconds: number
}

/** The defaults. */
export const UPSTREAM_BOUNDS: UpstreamBounds = {
  queue: 64,
  queueMilliseconds: 100,
  retries: 1,
  backoffMilliseconds: 100,
  leastAttemptShare: 0.1,
  retryShare: 0.09,
  retryBurst: 10,
  spareRetryMilliseconds: 10_000,
  slowShare: 0.75,
  window: {
    calls: 100,
    ageMilliseconds: 30_000,
    leastCalls: 10,
    failureShare: 0.5,
    slowShare: 0.8,
  },
  openMilliseconds: 5000,
}
