import Type from 'typebox'
import type { Ledger } from '../../audit/ledger.ts'
import type { Clock } from '../../lib/clock.ts'
import { newTokenId, type Random } from '../../lib/id.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { Upstream, UpstreamFacts, Upstreams } from '../../resilience/upstream.ts'
import type { Tenants } from '../../tenant/resolve.ts'
import { EdgeError } from '../edge-error.ts'
import { REASON, TENANT } from './fields.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

/** What the routes of the breakers ask and change. */
export interface BreakerRouteDeps {
  readonly upstreams: Pick<Upstreams, 'list' | 'named'>
  readonly tenants: Tenants
  readonly ledger: Pick<Ledger, 'append'>
  readonly clock: Clock
  readonly random: Random
}

/** A dependency and its breaker, as operators see it. */
export const BREAKER = Type.Object({
  name: Type.String(),
  tenant: Type.Optional(Type.String({ description: 'Left out: every tenant depends on it.' })),
  kind: Type.String({ description: 'idp, source, client-keys, vault, cache' }),
  state: Type.String({ description: 'closed, open, probing, held-open' }),
  retry_after_seconds: Type.Integer({ description: '0 when a call is let through.' }),
  in_flight: Type.Integer(),
  calls: Type.Integer({ description: 'Attempts in the window, at most the last 30 s.' }),
  failures: Type.Integer({ description: 'Of these.' }),
  slow: Type.Integer({ description: 'Of these.' }),
  last_failure: Type.Optional(Type.String()),
})

const BREAKERS = Type.Object({ breakers: Type.Array(BREAKER) })

const CHANGE = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200, description: 'As listed.' }),
    action: Type.Enum(['hold-open', 'reset'], {
      description: 'hold-open lets nothing through until a reset, which closes it.',
    }),
    reason: REASON,
  },
  { additionalProperties: false },
)

/** Breakers before dependencies: how they are, and the changes by hand. All of it is about this replica. */
export function breakerRoutes(deps: BreakerRouteDeps): readonly AdminRoute[] {
  return [listRoute(deps), changeRoute(deps)]
}

function listRoute({ upstreams, tenants }: BreakerRouteDeps): AdminRoute {
  return adminRoute({
    method: 'GET',
    path: '/admin/v1/breakers',
    least: 'viewer',
    id: 'listBreakers',
    summary: 'Dependencies of this replica, with the state of their breakers',
    description: 'One that was not called yet is not listed.',
    query: Type.Object({ tenant: Type.Optional(TENANT) }, { additionalProperties: false }),
    body: NOTHING,
    answer: BREAKERS,
    refusals: [404],
    handle({ query }) {
      const tenant = query.tenant === undefined ? undefined : tenantNamed(tenants, query.tenant)
      const wanted = upstreams
        .list()
        .filter((facts) => tenant === undefined || (facts.tenant ?? tenant.name) === tenant.name)
      return Promise.resolve({ breakers: wanted.map(breakerBody) })
    },
  })
}

function changeRoute(deps: BreakerRouteDeps): AdminRoute {
  return adminRoute({
    method: 'POST',
    path: '/admin/v1/breakers',
    least: 'operator',
    id: 'changeBreaker',
    summary: 'Hold a breaker open, or close it',
    description:
      'At this replica, until it restarts. Recorded in the ledger with the reason before it is done.',
    query: NOTHING,
    body: CHANGE,
    answer: BREAKER,
    refusals: [404, 503],
    async handle({ body, operator, requestId, signal }) {
      const upstream = upstreamNamed(deps, body.name)
      const { tenant } = upstream.facts()
      const entry = {
        event: 'admin' as const,
        at: deps.clock.now(),
        traceId: requestId,
        details: {
          action: `asked to ${body.action === 'reset' ? 'reset' : 'hold open'} the breaker ${body.name}`,
          by: operator.by,
          reason: body.reason,
        },
      }
      // What all depend on is for the ledgers of all.
      const concerned = tenant === undefined ? deps.tenants.all().map(({ name }) => name) : [tenant]
      for (const name of concerned)
        await recorded(
          deps.ledger.append({ ...entry, id: newTokenId(deps.random), tenant: name }, [], signal),
        )
      if (body.action === 'reset') upstream.reset()
      else upstream.holdOpen()
      return breakerBody(upstream.facts())
    },
  })
}

/** @throws {EdgeError} `not_found`. */
function upstreamNamed({ upstreams }: BreakerRouteDeps, name: string): Upstream {
  const upstream = upstreams.named(name)
  if (upstream) return upstream
  throw new EdgeError('not_found', 'There is no breaker of this name at this replica.')
}

/** @throws {Refusal} `ledger_unavailable`: nothing changes that is not recorded. */
function recorded(append: Promise<unknown>): Promise<unknown> {
  return append.catch((cause: unknown) => {
    const message = 'The change could not be recorded; nothing was done.'
    throw new Refusal('ledger_unavailable', message, { cause, retryAfterSeconds: 5 })
  })
}

/** Facts of a dependency in the words of the API. */
export function breakerBody(facts: UpstreamFacts): object {
  return {
    name: facts.name,
    tenant: facts.tenant,
    kind: facts.kind,
    state: facts.state,
    retry_after_seconds: facts.retryAfterSeconds,
    in_flight: facts.inFlight,
    calls: facts.calls,
    failures: facts.failures,
    slow: facts.slow,
    last_failure: facts.lastFailure,
  }
}
