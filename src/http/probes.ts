import Type from 'typebox'
import type { Random } from '../lib/id.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { SocketBounds } from './fastify-server.ts'
import type { HttpServer } from './listen.ts'
import { createListener, type ServedRoute } from './listener.ts'
import type { Operation } from './operation.ts'
import { createRequestBudget } from './request-scope.ts'
import { type Answer, NO_STORE, type RouteFacts } from './route.ts'

/** Whether requests should be sent here. */
export interface Readiness {
  readonly ready: boolean
  /** Why not, in words without personal data, token or address; empty when ready. */
  readonly reasons: readonly string[]
}

/** What the probes ask. */
export interface ProbeDeps {
  /** Ready when the store answers and every tenant has a key that signs; a rejection counts as not ready. */
  readonly ready: (signal: AbortSignal) => Promise<Readiness>
  readonly random: Random
  readonly log: Log
  readonly metrics: Pick<Metrics, 'httpRequest' | 'text' | 'contentType'>
}

/** A probe: no credential, no personal data. */
export interface ProbeRoute extends RouteFacts {
  readonly handle: (signal: AbortSignal) => Promise<Answer>
}

/** Orchestrators give up after a few seconds, and an answer that comes later than that is none. */
const READY_MILLISECONDS = 2_000

/** GET /livez, /readyz, /metrics. */
export function probeRoutes(deps: ProbeDeps): readonly ProbeRoute[] {
  return [
    probe('/livez', 'livez', 'The process runs', [], () =>
      Promise.resolve(json(200, { live: true })),
    ),
    probe('/readyz', 'readyz', 'Requests can be served', [503], async () => {
      const { ready, reasons } = await readiness(deps)
      return json(ready ? 200 : 503, ready ? { ready } : { ready, reasons })
    }),
    probe('/metrics', 'metrics', 'Metrics in the Prometheus text format', [], async () => ({
      status: 200,
      headers: { 'content-type': deps.metrics.contentType, ...NO_STORE },
      body: await deps.metrics.text(),
    })),
  ]
}

/** Listener of the probes alone, for `listen.probes`. */
export function createProbeServer(
  deps: ProbeDeps,
  options: { readonly bounds?: Partial<SocketBounds> } = {},
): HttpServer {
  return createListener({
    name: 'admin',
    log: deps.log,
    metrics: deps.metrics,
    random: deps.random,
    routes: probeRoutes(deps).map(forAnyCall),
    tls: undefined,
    trustedProxies: [],
    bounds: options.bounds,
    locate: ({ path }) => ({ tenant: undefined, path }),
    issuer: () => '',
    before: () => undefined,
    budget: createRequestBudget({ budgetMilliseconds: READY_MILLISECONDS, slotMilliseconds: 100 }),
  })
}

function forAnyCall(route: ProbeRoute): ServedRoute {
  return { ...route, handle: (_call, signal) => route.handle(signal) }
}

async function readiness(deps: ProbeDeps): Promise<Readiness> {
  try {
    return await deps.ready(AbortSignal.timeout(READY_MILLISECONDS))
  } catch (error) {
    deps.log.warn({ err: error }, 'readiness is not known')
    return { ready: false, reasons: ['readiness could not be established'] }
  }
}

function probe(
  path: string,
  id: string,
  summary: string,
  refusals: readonly number[],
  handle: ProbeRoute['handle'],
): ProbeRoute {
  const type = id === 'metrics' ? 'text/plain' : 'application/json'
  const schema = id === 'metrics' ? Type.String() : Type.Object({})
  const operation: Operation = {
    id,
    summary,
    security: [],
    answers: {
      200: { type, schema },
      ...Object.fromEntries(refusals.map((status) => [status, { type, schema }])),
    },
    refusals: [405],
  }
  return { method: 'GET', path, errors: 'api', operation, handle, quiet: true }
}

function json(status: number, body: object): Answer {
  return {
    status,
    headers: { 'content-type': 'application/json', ...NO_STORE },
    body: JSON.stringify(body),
  }
}
