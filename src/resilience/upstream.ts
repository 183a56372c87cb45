import { DependencyUnavailable } from '../lib/unavailable.ts'
import type { BreakerState } from './breaker.ts'
import type { UpstreamBounds } from './upstream-bounds.ts'

/** `held-open`: an operator keeps it open until it is reset. */
export type UpstreamState = BreakerState

/** What an error of an attempt says about the dependency. */
export interface Verdict {
  /** `answer`: the dependency is well, the error is what it said. Anything else counts against it. */
  readonly kind: 'answer' | 'failure'
  /** Whether asking again may help and does no harm. */
  readonly retryable: boolean
  /** What the dependency asked for (`Retry-After`, RFC 9110 §10.2.3); milliseconds. */
  readonly retryAfterMilliseconds?: number
  /** The failure in words for operators, without address, body or user. Left out: its code or its class. */
  readonly summary?: string
}

/** Numbers of one dependency. Every one has a documented default. */
export interface UpstreamOptions {
  /** For metrics, the admin API and `breaker`: e.g. `source acme/hr`, `idp acme/login`. Holds no address. */
  readonly name: string
  readonly tenant: string | undefined
  readonly kind: 'idp' | 'source' | 'client-keys' | 'vault' | 'cache'
  /** Longest time for one call with all its attempts, the wait for a place included. */
  readonly totalMilliseconds: number
  /** Calls at the same time; more wait in a short queue or are refused. */
  readonly concurrency: number
  readonly judge: (error: unknown) => Verdict
  /** Where it differs from the defaults; those of the first {@link Upstreams.for} of a name stay. */
  readonly bounds?: Partial<UpstreamBounds>
}

/** What an operator sees of a dependency. */
export interface UpstreamFacts {
  readonly name: string
  readonly tenant: string | undefined
  readonly kind: UpstreamOptions['kind']
  readonly state: UpstreamState
  readonly retryAfterSeconds: number
  readonly inFlight: number
  /** Of the sliding window; attempts count one by one. */
  readonly calls: number
  readonly failures: number
  readonly slow: number
  /** The last error's message, without address or body; undefined when there was none. */
  readonly lastFailure: string | undefined
}

/** One dependency, and the only way to call it. */
export interface Upstream {
  /**
   * Runs `work` under the whole policy: bulkhead, one deadline over all attempts, retries with full jitter under a retry budget, breaker.
   * `signal` of an attempt fires at the deadline; `attempt` counts from 1. Callers' signals have no business here: shared work runs under
   * its own deadline.
   *
   * @throws {UpstreamRefused} when `work` was not run; {@link DeadlineExceeded} when the time was over; else what `work` threw last.
   */
  call<T>(work: (signal: AbortSignal, attempt: number) => Promise<T>): Promise<T>
  facts(): UpstreamFacts
  /** Lets nothing through until {@link reset}: a dependency under repair, or one that does harm. */
  holdOpen(): void
  /** Closes the breaker and forgets what it counted. */
  reset(): void
}

/** All dependencies of a deployment, by name. Made on first use; bounded. */
export interface Upstreams {
  /** The dependency of this name, under these options from now on. Ask for it with each call: one that was forgotten meanwhile is made anew. */
  for(options: UpstreamOptions): Upstream
  list(): readonly UpstreamFacts[]
  named(name: string): Upstream | undefined
}

/** How one attempt ended. `refused`: there was none, because the breaker is open or there was no place. */
export type UpstreamOutcome = 'ok' | 'answer' | 'failure' | 'timeout' | 'refused'

/** Told what happens, for metrics and the log. Must not throw. */
export interface UpstreamObserver {
  /** One attempt is over; `attempt` counts from 1, and is 0 where there was none. */
  finished?(
    of: UpstreamOptions,
    end: { readonly outcome: UpstreamOutcome; readonly seconds: number; readonly attempt: number },
  ): void
  /** Another attempt follows after a wait. */
  retried?(of: UpstreamOptions, waitMilliseconds: number): void
  stateChanged?(of: UpstreamOptions, state: UpstreamState): void
  /** It was not used for longest and gave way to another: what is kept under its name may go. */
  forgotten?(of: UpstreamOptions): void
}

const WHY = {
  open: 'its breaker is open',
  'held-open': 'an operator holds its breaker open',
  full: 'too many calls to it are under way',
} as const

/** The dependency was not asked. */
export class UpstreamRefused extends DependencyUnavailable {
  readonly reason: keyof typeof WHY
  /** When trying again makes sense; at least 1. */
  readonly retryAfterSeconds: number

  constructor(name: string, reason: keyof typeof WHY, retryAfterSeconds: number) {
    super(`${name} was not asked: ${WHY[reason]}`)
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}
