import { CircuitState, ConsecutiveBreaker, circuitBreaker, handleAll } from 'cockatiel'
import { type Clock, monotonicClock } from '../lib/clock.ts'

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

/** `probing`: one call finds out whether the dependency is well again. */
type BreakerState = 'closed' | 'open' | 'probing'

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
}

interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number
  /** How long it stays open before the probe. */
  readonly openMilliseconds: number
  /**
   * Whether an error tells that the dependency is down. Any other error is an answer, and counts as a success. So a caller that gave up must
   * count as a failure or, better, not reach `work` at all: run shared work under a deadline of its own, never under a caller's signal.
   */
  readonly isFailure: (error: unknown) => boolean
  /** Told of every change of the state. */
  readonly changed?: (state: BreakerState) => void
}

const STATES: Readonly<Record<CircuitState, BreakerState>> = {
  [CircuitState.Closed]: 'closed',
  [CircuitState.Open]: 'open',
  [CircuitState.HalfOpen]: 'probing',
  [CircuitState.Isolated]: 'open',
}

/** What work came to, as long as it says nothing against the dependency. */
type Answer<T> = { readonly result: T } | { readonly refused: unknown }

/**
 * A breaker that starts closed. It has no timers and no queue: time is looked at when a call comes.
 *
 * cockatiel counts and keeps the state. Two things are done here instead: it queues callers behind the probe, who would wait for a
 * dependency that is most likely still down; and it reads the wall clock, so that an hour set back would keep it open for an hour.
 */
export function createBreaker(
  { clock = monotonicClock }: { readonly clock?: Clock },
  { failures, openMilliseconds, isFailure, changed }: BreakerOptions,
): Breaker {
  const policy = circuitBreaker(handleAll, {
    breaker: new ConsecutiveBreaker(failures),
    // Never too early by cockatiel's clock, wherever that was set to meanwhile; ours decides.
    halfOpenAfter: Number.NEGATIVE_INFINITY,
  })
  let openUntil = 0
  policy.onBreak(() => {
    openUntil = clock.now() + openMilliseconds
  })
  if (changed) policy.onStateChange((state) => changed(STATES[state]))

  const retryAfterSeconds = (): number => {
    if (policy.state === CircuitState.Closed) return 0
    // The probe may end at any moment.
    if (policy.state === CircuitState.HalfOpen) return 1
    return Math.max(0, Math.ceil((openUntil - clock.now()) / 1000))
  }

  return {
    async run<T>(work: () => Promise<T>): Promise<T> {
      const waitSeconds = retryAfterSeconds()
      if (waitSeconds > 0) throw new BreakerOpen(waitSeconds)
      // An error that is an answer goes through as a value: thrown, cockatiel would not let it end a row of failures.
      const answer = await policy.execute(async (): Promise<Answer<T>> => {
        try {
          return { result: await work() }
        } catch (error) {
          if (isFailure(error)) throw error
          return { refused: error }
        }
      })
      if ('refused' in answer) throw answer.refused
      return answer.result
    },
    get state() {
      return STATES[policy.state]
    },
    retryAfterSeconds,
  }
}
