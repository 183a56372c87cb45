import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/id.ts'
import type { Verdict } from './upstream.ts'
import type { UpstreamBounds } from './upstream-bounds.ts'

/** How many retries a dependency may be burdened with. */
export interface RetryBudget {
  /** A call has come, which earns a part of a retry. */
  earn(): void
  /** Takes one retry; `false` when there is none. */
  spend(): boolean
}

type BudgetBounds = Pick<UpstreamBounds, 'retryShare' | 'retryBurst' | 'spareRetryMilliseconds'>

/**
 * A token bucket over the calls of one dependency. A limit for each call alone would let all callers of a dependency in trouble double its
 * load just then; and with few calls a share alone would allow no retry for a long time, so that time earns one too.
 */
export function createRetryBudget(
  { clock }: { readonly clock: Clock },
  { retryShare, retryBurst, spareRetryMilliseconds }: BudgetBounds,
): RetryBudget {
  let saved = Math.min(1, retryBurst)
  let lastSpare = clock.now()
  return {
    earn() {
      saved = Math.min(retryBurst, saved + retryShare)
    },
    spend() {
      if (saved >= 1) {
        saved -= 1
        return true
      }
      const now = clock.now()
      if (now - lastSpare < spareRetryMilliseconds) return false
      lastSpare = now
      return true
    },
  }
}

/** What a retry must fit into. */
export interface RetryRoom {
  /** Attempts so far, at least 1. */
  readonly attempts: number
  /** Until the deadline of the call. */
  readonly leftMilliseconds: number
  readonly totalMilliseconds: number
}

type WaitBounds = Pick<UpstreamBounds, 'retries' | 'backoffMilliseconds' | 'leastAttemptShare'>

/**
 * How long to wait before the next attempt; undefined when there should be none.
 *
 * What the dependency asked for by `Retry-After` is kept; when it does not fit, waiting would help nobody.
 */
export function waitBeforeRetry(
  { retryable, retryAfterMilliseconds: asked = 0 }: Verdict,
  { attempts, leftMilliseconds, totalMilliseconds }: RetryRoom,
  { retries, backoffMilliseconds, leastAttemptShare }: WaitBounds,
  random: Random,
): number | undefined {
  if (!retryable || attempts > retries) return undefined
  const room = leftMilliseconds - totalMilliseconds * leastAttemptShare - asked
  if (!(room > 0)) return undefined
  return asked + fraction(random) * Math.min(room, backoffMilliseconds * 2 ** (attempts - 1))
}

/** In [0, 1). */
function fraction(random: Random): number {
  return random.bytes(4).readUInt32BE() / 2 ** 32
}
