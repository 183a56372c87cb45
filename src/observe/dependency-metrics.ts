import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** Which dependency; every member is a name of the configuration or of the product. */
export interface DependencyLabels {
  readonly kind: string
  readonly tenant: string
  readonly upstream: string
}

/** What is watched of the load. */
export interface LoadGauges {
  readonly limit: number
  readonly inFlight: number
  readonly queued: number
  /** Requests refused since the start, by priority. */
  readonly shed: Readonly<Record<string, number>>
}

/** What is watched of a cache. */
export interface CacheGauges {
  readonly cache: string
  readonly entries: number
  readonly bytes: number
}

/** What is watched of the clock. */
export interface ClockGauges {
  readonly isSure: boolean
  readonly wallAheadSeconds: number
  readonly steps: number
}

/** What is counted of dependencies and of the load. Label values are configuration names and stable words only. */
export interface DependencyMetrics {
  /** One call, with all its attempts. */
  upstreamCall(of: DependencyLabels, outcome: string, seconds: number): void
  upstreamRetry(of: DependencyLabels): void
  /** 0 closed, 1 probing, 2 open, 3 held open. */
  upstreamState(of: DependencyLabels, state: number): void
  /** It is not called any more: its series go. */
  upstreamForgotten(of: DependencyLabels): void
  /** Where the gauges of the load are read when somebody scrapes. */
  watchLoad(read: () => LoadGauges): void
  /** Where the sizes of caches are read when somebody scrapes. */
  watchCaches(read: () => readonly CacheGauges[]): void
  /** Where the clock is looked at when somebody scrapes. */
  watchClock(read: () => ClockGauges): void
  rateLimited(limit: string): void
  /** A rate was counted by this process alone, as the shared store did not answer. */
  rateFallback(): void
}

/** Names for the documentation; a test compares this list with `docs/metrics.md`. */
export const DEPENDENCY_METRIC_NAMES = {
  upstream: 'rolemint_upstream_call_duration_seconds',
  upstreamRetries: 'rolemint_upstream_retries_total',
  upstreamState: 'rolemint_upstream_state',
  loadLimit: 'rolemint_load_limit',
  loadInFlight: 'rolemint_load_in_flight',
  loadQueued: 'rolemint_load_queued',
  shed: 'rolemint_shed_total',
  rateLimited: 'rolemint_rate_limited_total',
  rateFallbacks: 'rolemint_rate_fallbacks_total',
  cacheEntries: 'rolemint_cache_entries',
  cacheBytes: 'rolemint_cache_bytes',
  clockSure: 'rolemint_clock_sure',
  clockAhead: 'rolemint_clock_wall_ahead_seconds',
  clockSteps: 'rolemint_clock_steps',
} as const

const UPSTREAM_LABELS = ['kind', 'tenant', 'upstream'] as const
/** How a call may end; what may be the label `outcome`. */
const OUTCOMES = ['ok', 'answer', 'failure', 'timeout', 'refused'] as const
const CALL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Creates them in the registry of the process. */
export function createDependencyMetrics(registry: Registry): DependencyMetrics {
  const registers = [registry]
  const names = DEPENDENCY_METRIC_NAMES
  const calls = new Histogram({
    name: names.upstream,
    help: 'Calls of a dependency with all their attempts, by outcome.',
    labelNames: [...UPSTREAM_LABELS, 'outcome'] as const,
    buckets: CALL_BUCKETS,
    registers,
  })
  const retries = new Counter({
    name: names.upstreamRetries,
    help: 'Second attempts.',
    labelNames: UPSTREAM_LABELS,
    registers,
  })
  const state = new Gauge({
    name: names.upstreamState,
    help: 'Breaker of a dependency: 0 closed, 1 probing, 2 open, 3 held open.',
    labelNames: UPSTREAM_LABELS,
    registers,
  })
  const counter = (name: string, help: string, label: string) =>
    new Counter({ name, help, labelNames: [label], registers })
  const limited = counter(names.rateLimited, 'Requests refused by a rate limit.', 'limit')
  const fallbacks = new Counter({
    name: names.rateFallbacks,
    help: 'Rates counted by this process alone, as the shared store did not answer.',
    registers,
  })
  return {
    upstreamCall: (of, outcome, seconds) => calls.labels({ ...of, outcome }).observe(seconds),
    upstreamRetry: (of) => retries.labels({ ...of }).inc(),
    upstreamState: (of, value) => state.labels({ ...of }).set(value),
    upstreamForgotten(of) {
      retries.remove({ ...of })
      state.remove({ ...of })
      for (const outcome of OUTCOMES) calls.remove({ ...of, outcome })
    },
    ...watches(registry),
    rateLimited: (limit) => limited.labels({ limit }).inc(),
    rateFallback: () => fallbacks.inc(),
  }
}

/** Gauges that are read when somebody scrapes, so that nothing has to be set on the way of a request. */
function watches(
  registry: Registry,
): Pick<DependencyMetrics, 'watchLoad' | 'watchCaches' | 'watchClock'> {
  const registers = [registry]
  const names = DEPENDENCY_METRIC_NAMES
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  const gaugeOfCaches = (name: string, help: string, values: () => readonly [string, number][]) =>
    new Gauge({
      name,
      help,
      labelNames: ['cache'] as const,
      registers,
      collect() {
        for (const [cache, value] of values()) this.labels({ cache }).set(value)
      },
    })
  return {
    watchLoad(read) {
      gauge(names.loadLimit, 'Requests that may begin in one turn.', () => read().limit)
      gauge(names.loadInFlight, 'Requests being worked on.', () => read().inFlight)
      gauge(names.loadQueued, 'Requests that wait for their turn.', () => read().queued)
      registry.registerMetric(shedCounter(read))
    },
    watchClock(read) {
      gauge(names.clockSure, '0 while the time is in doubt.', () => (read().isSure ? 1 : 0))
      const ahead = 'How far the wall clock is ahead of the time in use.'
      gauge(names.clockAhead, ahead, () => read().wallAheadSeconds)
      gauge(names.clockSteps, 'Steps of the wall clock since the start.', () => read().steps)
    },
    watchCaches(read) {
      const each = (figure: 'entries' | 'bytes') => () =>
        read().map((facts): [string, number] => [facts.cache, facts[figure]])
      gaugeOfCaches(names.cacheEntries, 'Entries of a cache.', each('entries'))
      gaugeOfCaches(names.cacheBytes, 'Rough size of a cache.', each('bytes'))
    },
  }
}

/** Counted elsewhere, and only told here. */
function shedCounter(read: () => LoadGauges): Counter<'priority'> {
  return new Counter({
    name: DEPENDENCY_METRIC_NAMES.shed,
    help: 'Requests refused for want of capacity.',
    labelNames: ['priority'],
    registers: [],
    collect() {
      this.reset()
      for (const [priority, count] of Object.entries(read().shed))
        this.labels({ priority }).inc(count)
    },
  })
}
