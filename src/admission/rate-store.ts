import type { Rate } from '../lib/duration.ts'

/** One bucket to take from. */
export interface RateAsk {
  /** Names the bucket: kind, tenant and whom it is about, joined by NUL. The kind is lower case; each kind is bounded by itself. */
  readonly key: string
  readonly rate: Rate
  /**
   * Something has happened that nobody asked leave for, such as a failed authentication: it is counted also where there is no room, so that
   * the wait grows. Asks of one call are all of this sort or none is.
   */
  readonly happened?: true
}

/** What a bucket said. */
export interface RateAnswer {
  /** 0 when there was room. After something that `happened`: until there is room for the next. */
  readonly waitMilliseconds: number
  /** Requests that would still be admitted at once. */
  readonly remaining: number
  /** Milliseconds until the whole burst is there again. */
  readonly resetMilliseconds: number
}

/**
 * Counts requests by GCRA (see `lib/gcra.ts`). Losing what it holds costs accuracy, never safety. Every adapter passes `test/contracts/rate-store.ts`.
 */
export interface RateStore {
  /**
   * Takes one request from every bucket, or from none if one of them has no room: in one step, and in one round trip where there is a server.
   * Answers in the order of `asks`, whose keys differ. Answers synchronously where no I/O is needed.
   * @throws {DependencyUnavailable} when the store does not answer in time. What it counted then is not known.
   * @throws the reason of `signal` when that fires first.
   */
  take(
    asks: readonly RateAsk[],
    signal: AbortSignal,
  ): readonly RateAnswer[] | Promise<readonly RateAnswer[]>
}
