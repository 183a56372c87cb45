import { LRUCache } from 'lru-cache'
import type { RateAnswer, RateAsk, RateStore } from '../../admission/rate-store.ts'
import { type Clock, monotonicClock } from '../../lib/clock.ts'
import type { Rate } from '../../lib/duration.ts'
import { backlogAt, emptyAfter, owed, remainingAt, waitBefore } from '../../lib/gcra.ts'

/** Buckets remembered of each kind; the least recently asked are forgotten first and start with a full burst again. */
const MOST_OF_A_KIND = 100_000

/** Changed in place: a step of a bucket that is known allocates its answer and nothing else. */
interface KeptBucket {
  at: number
  backlog: number
  rate: Rate
}

/** A rate store that counts for this process alone, and always answers synchronously. */
export interface MemoryRateStore extends RateStore {
  take(asks: readonly RateAsk[]): readonly RateAnswer[]
}

/** Counts in this process. The clock is monotonic unless given, so that nobody's wait depends on the time being set. */
export function createMemoryRateStore(
  { clock = monotonicClock }: { readonly clock?: Clock } = {},
  { mostOfAKind = MOST_OF_A_KIND }: { readonly mostOfAKind?: number } = {},
): MemoryRateStore {
  // One memory for each kind: a client that brings many subjects must not push clients, itself included, out of theirs.
  // Each is made on first use: it reserves about 3 MB, which a deployment without that limit need not have.
  const kinds = new Map<string, LRUCache<string, KeptBucket>>()

  function bucketsOf(key: string): LRUCache<string, KeptBucket> {
    const kind = key.slice(0, key.indexOf('\0'))
    let buckets = kinds.get(kind)
    if (!buckets) kinds.set(kind, (buckets = new LRUCache({ max: mostOfAKind })))
    return buckets
  }

  return {
    take(asks) {
      const now = Math.floor(clock.now())
      const kept = asks.map(({ key }) => bucketsOf(key))
      let refused = false
      const before = asks.map(({ key, rate, happened }, i) => {
        const backlog = backlogAt(kept[i]?.get(key), now, rate)
        refused ||= !happened && waitBefore(backlog, rate) > 0
        return backlog
      })
      return asks.map(({ key, rate, happened }, i) => {
        const was = before[i] ?? 0
        if (refused) return answer(waitBefore(was, rate), was, rate)
        const backlog = happened ? owed(was, rate) : was + rate.perMilliseconds
        const bucket = kept[i]?.peek(key)
        if (bucket) {
          bucket.at = now
          bucket.backlog = backlog
          bucket.rate = rate
        } else kept[i]?.set(key, { at: now, backlog, rate })
        return answer(happened ? waitBefore(backlog, rate) : 0, backlog, rate)
      })
    },
  }
}

function answer(waitMilliseconds: number, backlog: number, rate: Rate): RateAnswer {
  return {
    waitMilliseconds,
    remaining: remainingAt(backlog, rate),
    resetMilliseconds: emptyAfter(backlog, rate),
  }
}
