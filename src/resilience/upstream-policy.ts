import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/id.ts'
import { createBreaker } from './breaker.ts'
import { createBreakerWindow } from './breaker-window.ts'
import { DeadlineExceeded, waitUnder, withDeadline } from './deadline.ts'
import {
  type Upstream,
  type UpstreamObserver,
  type UpstreamOptions,
  type UpstreamOutcome,
  UpstreamRefused,
  type Verdict,
} from './upstream.ts'
import { UPSTREAM_BOUNDS, type UpstreamBounds } from './upstream-bounds.ts'
import { createRetryBudget, waitBeforeRetry } from './upstream-retries.ts'
import { createSlots } from './upstream-slots.ts'

/** What the policy takes from outside. */
export interface UpstreamDeps {
  /** Must be monotonic: a wall clock that is set back would hold a breaker open and stretch deadlines. */
  readonly clock: Clock
  readonly random: Random
  readonly observe: UpstreamObserver
}

/** An upstream whose options can change: the configuration may, under calls in hand. */
export interface AdaptableUpstream extends Upstream {
  /** From the next call on. The window and the retry budget stay what they are. */
  adopt(options: UpstreamOptions): void
  readonly options: UpstreamOptions
}

/** When a place may be free again: the queue is short. */
const FULL_RETRY_SECONDS = 1

/** The policy before one dependency; see {@link Upstream.call}. */
export function createUpstream(
  { clock, random, observe }: UpstreamDeps,
  first: UpstreamOptions,
): AdaptableUpstream {
  const bounds: UpstreamBounds = { ...UPSTREAM_BOUNDS, ...first.bounds }
  let options = first
  let lastFailure: string | undefined
  const window = createBreakerWindow({ clock }, bounds.window)
  const budget = createRetryBudget({ clock }, bounds)
  const slots = createSlots(() => ({ concurrency: options.concurrency, queue: bounds.queue }))
  const breaker = createBreaker(
    { clock },
    {
      failures: window,
      openMilliseconds: bounds.openMilliseconds,
      isFailure: (error) => judged(error).kind === 'failure',
      slowMilliseconds: () => options.totalMilliseconds * bounds.slowShare,
      changed: (state) => observe.stateChanged?.(options, state),
    },
  )

  /** Our own deadline is never the dependency's answer, whatever an adapter makes of it. */
  function judged(error: unknown): Verdict {
    return error instanceof DeadlineExceeded
      ? { kind: 'failure', retryable: false, summary: error.message }
      : options.judge(error)
  }

  function refuse(reason: UpstreamRefused['reason'], retryAfterSeconds: number): never {
    observe.finished?.(options, { outcome: 'refused', seconds: 0, attempt: 0 })
    throw new UpstreamRefused(options.name, reason, retryAfterSeconds)
  }

  function mustBeLetThrough(): void {
    const seconds = breaker.retryAfterSeconds()
    if (seconds > 0) refuse(breaker.state === 'held-open' ? 'held-open' : 'open', seconds)
  }

  /** One attempt through the breaker, and what it says about the dependency when it fails. */
  async function attempt<T>(
    work: (signal: AbortSignal, attempt: number) => Promise<T>,
    signal: AbortSignal,
    number: number,
  ): Promise<T> {
    const startedAt = clock.now()
    const finished = (outcome: UpstreamOutcome): void =>
      observe.finished?.(options, {
        outcome,
        seconds: (clock.now() - startedAt) / 1000,
        attempt: number,
      })
    try {
      const result = await breaker.run(() => waitUnder(work(signal, number), signal))
      finished('ok')
      return result
    } catch (error) {
      const { kind, summary } = judged(error)
      if (kind === 'failure') lastFailure = summary ?? nameOf(error)
      finished(error instanceof DeadlineExceeded ? 'timeout' : kind)
      throw error
    }
  }

  async function attempts<T>(
    work: (signal: AbortSignal, attempt: number) => Promise<T>,
    signal: AbortSignal,
    deadlineAt: number,
  ): Promise<T> {
    for (let number = 1; ; number += 1) {
      try {
        return await attempt(work, signal, number)
      } catch (error) {
        const { totalMilliseconds } = options
        const room = {
          attempts: number,
          leftMilliseconds: deadlineAt - clock.now(),
          totalMilliseconds,
        }
        const wait = waitBeforeRetry(judged(error), room, bounds, random)
        // The breaker first: a retry that it would refuse must not cost one of the budget.
        if (wait === undefined || breaker.retryAfterSeconds() > 0 || !budget.spend()) throw error
        observe.retried?.(options, wait)
        await pause(wait, signal)
        // Others may have opened it meanwhile. What the dependency said tells more than that it was not asked again.
        if (breaker.retryAfterSeconds() > 0) throw error
      }
    }
  }

  return {
    async call(work) {
      const deadlineAt = clock.now() + options.totalMilliseconds
      mustBeLetThrough()
      const wait = Math.min(bounds.queueMilliseconds, options.totalMilliseconds)
      const place = slots.take(wait)
      if (place !== true && !(await place)) refuse('full', FULL_RETRY_SECONDS)
      try {
        // It may have opened while this call waited for its place.
        if (place !== true) mustBeLetThrough()
        const left = deadlineAt - clock.now()
        // Not asked at all is not the same as too slow, and says nothing about the dependency.
        if (left <= 0) refuse('full', FULL_RETRY_SECONDS)
        budget.earn()
        return await withDeadline(left, (signal) => attempts(work, signal, deadlineAt))
      } finally {
        slots.giveBack()
      }
    },
    facts() {
      const { name, tenant, kind } = options
      return {
        name,
        tenant,
        kind,
        state: breaker.state,
        retryAfterSeconds: breaker.retryAfterSeconds(),
        inFlight: slots.taken(),
        ...window.counts(),
        lastFailure,
      }
    },
    holdOpen: () => breaker.holdOpen(),
    reset() {
      lastFailure = undefined
      breaker.reset()
    },
    adopt(changed) {
      options = changed
    },
    get options() {
      return options
    },
  }
}

async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds)
  })
  try {
    await waitUnder(over, signal)
  } finally {
    clearTimeout(timer)
  }
}

/** Not the message: what the network says about a connection names the address. */
function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return 'no error object'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
