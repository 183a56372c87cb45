import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client'

/** What is counted. Label values are configuration names and stable codes only: a caller cannot make new series. */
export interface Metrics {
  /** All metrics in the Prometheus text format. */
  text(): Promise<string>
  readonly contentType: string
  httpRequest(listener: 'public' | 'admin', route: string, status: number, seconds: number): void
  exchange(tenant: string, outcome: string): void
  introspection(tenant: string, active: boolean): void
  ledgerAppend(seconds: number): void
}

/** One metric for the documentation; a test compares this list with `docs/metrics.md`. */
export const METRIC_NAMES = {
  http: 'rolemint_http_request_duration_seconds',
  exchanges: 'rolemint_exchanges_total',
  introspections: 'rolemint_introspections_total',
  ledger: 'rolemint_ledger_append_duration_seconds',
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
  const ledger = new Histogram({
    name: METRIC_NAMES.ledger,
    help: 'Time until a ledger entry was durable.',
    buckets: LATENCY_BUCKETS,
    registers: [registry],
  })
  // labels() looks its child up by building a key each time; on the hot path the child is kept instead.
  const bound = {
    http: memo((key: string) => {
      const [listener = '', route = '', status = ''] = key.split(' ')
      return http.labels({ listener, route, status })
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
    ledgerAppend: (seconds) => ledger.observe(seconds),
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
