import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import {
  createDependencyMetrics,
  DEPENDENCY_METRIC_NAMES,
  type DependencyMetrics,
} from './dependency-metrics.ts'

/** What is counted. Label values are configuration names and stable codes only: a caller cannot make new series. */
export interface Metrics extends DependencyMetrics {
  /** All metrics in the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
  httpRequest(listener: 'public' | 'admin', route: string, status: number, seconds: number): void
  exchange(tenant: string, outcome: string): void
  introspection(tenant: string, active: boolean): void
  /** What one source's part of an exchange came to. */
  readonly entitlements: (tenant: string, source: string, outcome: string) => void
  ledgerAppend(seconds: number): void
  keyTransition(tenant: string, alg: string, to: string): void
  keyStoreUp(up: boolean): void
  keyRing(tenant: string, alg: string, facts: KeyRingFacts): void
  cutoffAge(seconds: number): void
}

/** What is watched of the keys of one algorithm. Seconds; negative values do not occur. */
export interface KeyRingFacts {
  /** Published keys that may follow. */
  readonly successors: number
  /** How long the active key may still sign. */
  readonly signsForSeconds: number
  /** How long its rotation has been due. */
  readonly overdueSeconds: number
}

/** One metric for the documentation; a test compares this list with `docs/metrics.md`. */
export const METRIC_NAMES = {
  http: 'rolemint_http_request_duration_seconds',
  exchanges: 'rolemint_exchanges_total',
  introspections: 'rolemint_introspections_total',
  ledger: 'rolemint_ledger_append_duration_seconds',
  keyTransitions: 'rolemint_key_transitions_total',
  keyStoreUp: 'rolemint_key_store_up',
  keySuccessors: 'rolemint_key_successors',
  keySignsFor: 'rolemint_key_signs_for_seconds',
  keyOverdue: 'rolemint_key_rotation_overdue_seconds',
  cutoffAge: 'rolemint_cutoff_age_seconds',
  entitlements: 'rolemint_entitlements_total',
  ...DEPENDENCY_METRIC_NAMES,
} as const

const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** Creates the metrics of one process in a registry of their own. */
export function createMetrics(
  options: { readonly defaults: boolean } = { defaults: true },
): Metrics {
  const registry = new Registry()
  if (options.defaults) collectDefaultMetrics({ register: registry })
  const http = new Histogram({
    name: METRIC_NAMES.http,
    help: 'Time from the first byte of a request to the last of its answer.',
    labelNames: ['listener', 'route', 'status'] as const,
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  })
  const exchanges = new Counter({
    name: METRIC_NAMES.exchanges,
    help: 'Exchanges by outcome: issued, or the code of the refusal.',
    labelNames: ['tenant', 'outcome'] as const,
    registers: [registry],
  })
  const introspections = new Counter({
    name: METRIC_NAMES.introspections,
    help: 'Introspections by answer.',
    labelNames: ['tenant', 'active'] as const,
    registers: [registry],
  })
  const entitlements = new Counter({
    name: METRIC_NAMES.entitlements,
    help: 'Answers of entitlement sources that exchanges used, by how they came.',
    labelNames: ['tenant', 'source', 'outcome'] as const,
    registers: [registry],
  })
  const ledger = new Histogram({
    name: METRIC_NAMES.ledger,
    help: 'Time until a ledger entry was durable.',
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  })
  const keys = keyMetrics(registry)
  // labels() looks its child up by building a key each time; on the hot path the child is kept instead.
  const bound = {
    http: memo((key: string) => {
      const [listener = '', route = '', status = ''] = key.split(' ')
      return http.labels({ listener, route, status })
    }),
    entitlements: memo((key: string) => {
      const [tenant = '', source = '', outcome = ''] = key.split(' ')
      return entitlements.labels({ tenant, source, outcome })
    }),
    exchanges: memo((key: string) => {
      const [tenant = '', outcome = ''] = key.split(' ')
      return exchanges.labels({ tenant, outcome })
    }),
  }
  return {
    text: () => registry.metrics(),
    contentType: registry.contentType,
    httpRequest: (listener, route, status, seconds) =>
      bound.http(`${listener} ${route} ${status}`).observe(seconds),
    exchange: (tenant, outcome) => bound.exchanges(`${tenant} ${outcome}`).inc(),
    introspection: (tenant, active) =>
      introspections.labels({ tenant, active: String(active) }).inc(),
    entitlements: (tenant, source, outcome) =>
      bound.entitlements(`${tenant} ${source} ${outcome}`).inc(),
    ledgerAppend: (seconds) => ledger.observe(seconds),
    ...keys,
    ...createDependencyMetrics(registry),
  }
}

function keyMetrics(
  registry: Registry,
): Pick<Metrics, 'keyTransition' | 'keyStoreUp' | 'keyRing' | 'cutoffAge'> {
  const registers = [registry]
  const labelNames = ['tenant', 'alg'] as const
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames, registers })
  const transitions = new Counter({
    name: METRIC_NAMES.keyTransitions,
    help: 'Changes of signing keys that this replica made, by the state they led to.',
    labelNames: ['tenant', 'alg', 'to'] as const,
    registers,
  })
  const up = new Gauge({
    name: METRIC_NAMES.keyStoreUp,
    help: '1 while private halves could be read and written, 0 while they could not.',
    registers,
  })
  const cutoffAge = new Gauge({
    name: METRIC_NAMES.cutoffAge,
    help: 'How old the cut-off rules in memory are.',
    registers,
  })
  const successors = gauge(METRIC_NAMES.keySuccessors, 'Published keys that may sign next.')
  const signsFor = gauge(METRIC_NAMES.keySignsFor, 'How long the active key may still sign.')
  const overdue = gauge(METRIC_NAMES.keyOverdue, 'How long the rotation has been due.')
  return {
    keyTransition: (tenant, alg, to) => transitions.labels({ tenant, alg, to }).inc(),
    keyStoreUp: (isUp) => up.set(isUp ? 1 : 0),
    keyRing(tenant, alg, facts) {
      successors.labels({ tenant, alg }).set(facts.successors)
      signsFor.labels({ tenant, alg }).set(facts.signsForSeconds)
      overdue.labels({ tenant, alg }).set(facts.overdueSeconds)
    },
    cutoffAge: (seconds) => cutoffAge.set(seconds),
  }
}

function memo<T>(make: (key: string) => T): (key: string) => T {
  const known = new Map<string, T>()
  return (key) => {
    let value = known.get(key)
    if (value === undefined) {
      value = make(key)
      known.set(key, value)
    }
    return value
  }
}
