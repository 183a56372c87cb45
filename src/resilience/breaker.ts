import {
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
  type IBreaker,
} from 'cockatiel'
import { type Clock, monotonicClock } from '../lib/clock.ts'
import type { BreakerWindow } from './breaker-window.ts'

/** The dependency was not asked: it failed too often, and the time to try it again has not come. */
export class BreakerOpen extends Error {
  override readonly name = 'BreakerOpen'
  /** When trying again makes sense; at least 1. */
  readonly retryAfterSeconds: number

  constructor(retryAfterSeconds: number) {
    super(`not asked, because it failed before; to be tried again in ${retryAfterSeconds} s`)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** `probing`: one call finds out whether the dependency is well again. `held-open`: an operator keeps it open until it is reset. */
export type BreakerState = 'closed' | 'open' | 'probing' | 'held-open'

/** Keeps calls from a dependency that is down, so that callers hear so at once and it is not hit while it gets up. */
export interface Breaker {
  /**
   * Runs `work` unless the breaker is open. `work` must settle by a deadline of its own: while it is the probe, nobody else is let through.
   * @throws {BreakerOpen} when `work` was not run; else whatever `work` throws.
   */
  run<T>(work: () => Promise<T>): Promise<T>
  readonly state: BreakerState
  /** Seconds until a call is let through again, rounded up; 0 when one would be now. */
  retryAfterSeconds(): number
  /** Lets nothing through until {@link reset}. A probe under way ends, and decides nothing. */
  holdOpen(): void
  /** Closes it and forgets what it counted; calls under way count for nothing. */
  reset(): void
}

/** What opens a breaker, and for how long. */
export interface BreakerOptions {
  /** Failures in a row that open it, or the window that says when. */
  readonly failures: number | BreakerWindow
  /** How long it stays open before the probe. */
  readonly openMilliseconds: number
  /**
   * Whether an error tells that the dependency is down. Any other error is an answer, and counts as a success. So a caller that gave up must
   * count as a failure or, better, not reach `work` at all: run shared work under a deadline of its own, never under a caller's signal.
   */
  readonly isFailure: (error: unknown) => boolean
  /** From when on a call is slow, also one that succeeds; asked for with every call. Left out: no call is. */
  readonly slowMilliseconds?: () => number
  /** Told of every change of the state. */
  readonly changed?: (state: BreakerState) => void
}

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'probing',
  [CircuitState.Isolated]: 'held-open',
}

/** How long callers are told to wait for an operator, who says when. */
const HELD_SECONDS = 30

/** What work came to, and whether that speaks against the dependency. */
type Outcome<T> = ({ readonly result: T } | { readonly error: unknown }) & { readonly bad: boolean }

/**
 * A breaker that starts closed. It has no timers and no queue: time is looked at when a call comes.
 *
 * cockatiel keeps the state. Three things are done here instead: it queues callers behind the probe, who would wait for a dependency that is
 * most likely still down; it reads the wall clock, so that an hour set back would keep it open for an hour; and it takes an error that is
 * not a failure for nothing at all, so that such answers would not end a row of failures.
 */
export function createBreaker(
  { clock = monotonicClock }: { readonly clock?: Clock },
  { failures, openMilliseconds, isFailure, slowMilliseconds, changed }: BreakerOptions,
): Breaker {
  const window = typeof failures === 'number' ? undefined : failures
  const rule = typeof failures === 'number' ? new ConsecutiveBreaker(failures) : byWindow(failures)
  const policy = circuitBreaker(handleWhenResult(isBad), {
    breaker: rule,
    // Never too early by cockatiel's clock, wherever that was set to meanwhile; ours decides.
    halfOpenAfter: Number.NEGATIVE_INFINITY,
  })
  let openUntil = 0
  let held: { dispose(): void } | undefined
  let resets = 0
  let isResetting = false
  policy.onBreak(() => {
    openUntil = clock.now() + openMilliseconds
  })
  policy.onStateChange((state) => {
    if (!isResetting) changed?.(STATES[state])
  })

  const retryAfterSeconds = (): number => {
    if (policy.state === CircuitState.Closed) return 0
    if (policy.state === CircuitState.Isolated) return HELD_SECONDS
    // The probe may end at any moment.
    if (policy.state === CircuitState.HalfOpen) return 1
    return Math.max(0, Math.ceil((openUntil - clock.now()) / 1000))
  }

  /** The outcome as a value: thrown, cockatiel could not tell an answer from a failure. */
  async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
    const startedAt = clock.now()
    const before = resets
    const judged = <R extends object>(
      outcome: R,
      failed: boolean,
    ): R & { readonly bad: boolean } => {
      if (before !== resets) return { ...outcome, bad: false }
      const slow = slowMilliseconds !== undefined && clock.now() - startedAt >= slowMilliseconds()
      window?.record(failed, slow)
      return { ...outcome, bad: failed || slow }
    }
    try {
      return judged({ result: await work() }, false)
    } catch (error) {
      return judged({ error }, isFailure(error))
    }
  }

  return {
    async run<T>(work: () => Promise<T>): Promise<T> {
      const waitSeconds = retryAfterSeconds()
      if (waitSeconds > 0) throw new BreakerOpen(waitSeconds)
      const outcome = await policy.execute(() => outcomeOf(work))
      if ('error' in outcome) throw outcome.error
      return outcome.result
    },
    get state() {
      return STATES[policy.state]
    },
    retryAfterSeconds,
    holdOpen() {
      held ??= policy.isolate()
    },
    reset() {
      resets += 1
      window?.clear()
      // Of failures in a row: none any more.
      if (!window) rule.success(CircuitState.Closed)
      if (policy.state === CircuitState.Closed) return
      // cockatiel has no way from open to closed but this one; that it was held in between is nobody's business.
      isResetting = held === undefined
      held ??= policy.isolate()
      isResetting = false
      held.dispose()
      held = undefined
    },
  }
}

function isBad(outcome: unknown): boolean {
  return outcome !== null && typeof outcome === 'object' && 'bad' in outcome && outcome.bad === true
}

/** cockatiel's view of a window: it is written to by us, who know what was slow. */
function byWindow(window: BreakerWindow): IBreaker {
  return {
    state: undefined,
    success(state) {
      // The probe was well, so what was before is of no interest.
      if (state === CircuitState.HalfOpen) window.clear()
    },
    failure: (state) => state !== CircuitState.Closed || window.isBad(),
  }
}
