import type { Rate } from '../lib/duration.ts'
import { DependencyUnavailable } from '../lib/unavailable.ts'
import type { RateAnswer, RateAsk, RateStore } from './rate-store.ts'

/** What counting with others, and alone when they cannot be heard, needs. */
export interface SharedOrLocalDeps {
  readonly shared: RateStore
  /** Answers synchronously and never fails. */
  readonly local: RateStore
  /** Told of each answer that came from `local` because `shared` did not give one. For metrics. */
  readonly countedAlone?: (error: DependencyUnavailable) => void
}

/**
 * Counts in a store that all replicas share; while that does not answer, each replica counts for itself against its share of the limit.
 *
 * That fails bounded: failing open would let an attacker who can trouble the store out of every limit, and failing closed would make a cache
 * a dependency. Both stores keep the GCRA envelope by themselves, so however often it flips, no more than the two together are admitted:
 * twice the limit. A store that lost its memory (restart, FLUSHALL) gives each bucket one burst more, each time.
 */
export function createSharedOrLocal(
  { shared, local, countedAlone }: SharedOrLocalDeps,
  replicas: () => number,
): RateStore {
  return {
    async take(asks, signal) {
      try {
        return await shared.take(asks, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof DependencyUnavailable)) throw error
        countedAlone?.(error)
        return takeShare(local, asks, replicas(), signal)
      }
    },
  }
}

function takeShare(
  local: RateStore,
  asks: readonly RateAsk[],
  replicas: number,
  signal: AbortSignal,
): readonly RateAnswer[] | Promise<readonly RateAnswer[]> {
  if (replicas <= 1) return local.take(asks, signal)
  return local.take(
    asks.map((ask) => ({ ...ask, rate: shareOf(ask.rate, replicas) })),
    signal,
  )
}

/**
 * One of `replicas` equal parts of a rate. The burst is rounded up, so that no share is nothing; the time it takes to work off is stretched to
 * match, so that the shares together never pass more in the long run than the rate itself.
 */
export function shareOf(rate: Rate, replicas: number): Rate {
  const count = Math.ceil(rate.count / replicas)
  return {
    count,
    perMilliseconds: Math.ceil((rate.perMilliseconds * count * replicas) / rate.count),
  }
}
