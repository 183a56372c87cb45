import Type from 'typebox'
import type { ConsumerReport } from '../../keys/census.ts'
import { SIGNING_ALGORITHMS } from '../../keys/options.ts'
import { PrivateHalfError } from '../../keys/private-halves.ts'
import type { RingReport } from '../../keys/recorded.ts'
import { activatableFrom, dueFrom, type RingKey, retirableFrom } from '../../keys/ring.ts'
import { RingError } from '../../keys/ring-error.ts'
import { Refusal } from '../../lib/refusal.ts'
import { EdgeError } from '../edge-error.ts'
import type { AdminDeps } from './deps.ts'
import { REASON, TENANT } from './fields.ts'
import { fromStore } from './from-store.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

const time = (description: string) => Type.Optional(Type.String({ description }))

const RING = Type.Object({
  tenant: Type.String(),
  version: Type.Integer({ description: 'Grows by one with every change.' }),
  keys: Type.Array(
    Type.Object({
      kid: Type.String(),
      alg: Type.String(),
      state: Type.String({
        description: 'staged, published, active, verify-only, retired, compromised',
      }),
      created_at: Type.String(),
      published_at: time('In JWKS since then.'),
      activated_at: time('Signs, or signed, from then on.'),
      verify_only_at: time('Its successor took over then.'),
      retired_at: time('Out of JWKS since then.'),
      compromised_at: time('Killed then.'),
      activatable_from: time('A published key may sign from then on.'),
      due_at: time('When the successor of the active key takes over by itself.'),
      sign_until: time('When a replica that hears of no rotation stops signing with it.'),
      retirable_from: time('When its last token has expired everywhere.'),
      signatures: Type.Optional(
        Type.Integer({ description: 'Tokens signed, as far as replicas reported (every 30 s).' }),
      ),
      last_signed_at: time('To the minute.'),
      seen_by_all: Type.Optional(
        Type.Boolean({
          description: 'Every configured consumer has fetched it: evidence, not proof.',
        }),
      ),
      reason: Type.String(),
      by: Type.String(),
    }),
  ),
})

const CONSUMERS = Type.Object({
  tenant: Type.String(),
  consumers: Type.Array(
    Type.Object({
      consumer: Type.String(),
      last_fetch_at: time('Left out when it never named itself.'),
      fetches: Type.Integer({ description: 'Of the newest key set.' }),
      kids: Type.Array(Type.String(), { description: 'Of the newest key set.' }),
      keeps_seconds: Type.Integer({ description: 'How long it may go on with a copy.' }),
      lacks: Type.Array(Type.String(), { description: 'Keys in JWKS that it has not fetched.' }),
      exposed: Type.Array(Type.Object({ kid: Type.String(), until: Type.String() }), {
        description: 'Killed keys that it may still accept, and until when.',
      }),
    }),
  ),
})

type KeyRouteDeps = Pick<AdminDeps, 'keys' | 'tenants'>

/** Keys: what is in the ring, what verifiers have of it, and the changes by hand. */
export function keyRoutes(deps: KeyRouteDeps): readonly AdminRoute[] {
  return [
    listRoute(deps),
    consumersRoute(deps),
    rotateRoute(deps),
    changeRoute(deps, 'promote', 'operator', 'Make a published key sign'),
    changeRoute(deps, 'retire', 'operator', 'Take a key that is no longer needed out of JWKS'),
    changeRoute(deps, 'kill', 'security', 'Mark a key as compromised; there is no way back'),
  ]
}

function listRoute({ keys, tenants }: KeyRouteDeps): AdminRoute {
  return adminRoute({
    method: 'GET',
    path: '/admin/v1/keys',
    least: 'viewer',
    id: 'listKeys',
    summary: 'The key ring of a tenant',
    query: Type.Object({ tenant: TENANT }, { additionalProperties: false }),
    body: NOTHING,
    answer: RING,
    refusals: [404, 503],
    async handle({ query, signal }) {
      const tenant = tenantNamed(tenants, query.tenant)
      const report = await fromStore(keys.report(tenant, signal))
      const seenByAll = await fromStore(keys.seenByAll(tenant, signal))
      return ringBody(tenant.name, report, seenByAll)
    },
  })
}

function consumersRoute({ keys, tenants }: KeyRouteDeps): AdminRoute {
  return adminRoute({
    method: 'GET',
    path: '/admin/v1/keys/consumers',
    least: 'viewer',
    id: 'listKeyConsumers',
    summary: 'Which verifier fetched which key set',
    description: 'Configured names only, as given by ?consumer= at /jwks: evidence, not proof.',
    query: Type.Object({ tenant: TENANT }, { additionalProperties: false }),
    body: NOTHING,
    answer: CONSUMERS,
    refusals: [404, 503],
    async handle({ query, signal }) {
      const tenant = tenantNamed(tenants, query.tenant)
      const census = await fromStore(keys.consumers(tenant, signal))
      return { tenant: tenant.name, consumers: census.map(consumerBody) }
    },
  })
}

function rotateRoute({ keys, tenants }: KeyRouteDeps): AdminRoute {
  return adminRoute({
    method: 'POST',
    path: '/admin/v1/keys/rotate',
    least: 'operator',
    id: 'rotateKeys',
    summary: 'Make the published successor sign, and publish the next one',
    description: 'Recorded in the ledger with the reason. 409 while the successor is too new.',
    query: NOTHING,
    body: Type.Object(
      {
        tenant: TENANT,
        alg: Type.Optional(
          Type.Enum([...SIGNING_ALGORITHMS], { description: 'Left out: all of the ring.' }),
        ),
        reason: REASON,
      },
      { additionalProperties: false },
    ),
    answer: RING,
    refusals: [404, 409, 503],
    async handle({ body, operator, requestId, signal }) {
      const tenant = tenantNamed(tenants, body.tenant)
      const order = { reason: body.reason, by: operator.by, traceId: requestId }
      return ringBody(tenant.name, await done(keys.rotate(tenant, body.alg, order, signal)))
    },
  })
}

function changeRoute(
  { keys, tenants }: KeyRouteDeps,
  action: 'promote' | 'retire' | 'kill',
  least: 'operator' | 'security',
  summary: string,
): AdminRoute {
  return adminRoute({
    method: 'POST',
    path: `/admin/v1/keys/:kid/${action}`,
    least,
    id: `${action}Key`,
    summary,
    description: 'Recorded in the ledger with the reason. 409 when the ring does not allow it now.',
    params: { kid: 'Id of the key.' },
    query: NOTHING,
    body: Type.Object({ tenant: TENANT, reason: REASON }, { additionalProperties: false }),
    answer: RING,
    refusals: [404, 409, 503],
    async handle({ params, body, operator, requestId, signal }) {
      const tenant = tenantNamed(tenants, body.tenant)
      const order = { reason: body.reason, by: operator.by, traceId: requestId }
      const kid = params['kid'] ?? ''
      return ringBody(tenant.name, await done(keys.change(tenant, action, kid, order, signal)))
    },
  })
}

/**
 * A ring that does not allow a change is no bug: the operator is told what stands in the way. Nor is a store that does not answer.
 */
function done(change: Promise<RingReport>): Promise<RingReport> {
  return change.catch((error: unknown) => {
    const told = ringRefusal(error)
    return told === undefined ? fromStore(Promise.reject(error)) : Promise.reject(told)
  })
}

function ringRefusal(error: unknown): Error | undefined {
  if (error instanceof PrivateHalfError) {
    // Its message names key and store, which is for the log.
    return new Refusal('signer_unavailable', 'The private half of a key could not be loaded.', {
      cause: error,
      retryAfterSeconds: 5,
    })
  }
  if (!(error instanceof RingError)) return undefined
  if (error.reason === 'algorithm_not_in_ring')
    return new Refusal('malformed_request', error.message, { param: 'alg', cause: error })
  const code = error.reason === 'kid_unknown' ? 'not_found' : 'conflict'
  return new EdgeError(code, error.message, { cause: error })
}

function ringBody(
  tenant: string,
  report: RingReport,
  seenByAll: (kid: RingKey) => boolean | undefined = () => undefined,
): object {
  const { ring } = report
  const keys = ring.keys.map((key) => ({ ...keyBody(key, report), seen_by_all: seenByAll(key) }))
  return { tenant, version: ring.version, keys }
}

function keyBody(key: RingKey, { policy, usage }: RingReport): object {
  const { kid, state } = key
  const used = usage.get(kid)
  return {
    kid,
    alg: key.alg,
    state,
    created_at: iso(key.createdAt),
    published_at: iso(key.publishedAt),
    activated_at: iso(key.activatedAt),
    verify_only_at: iso(key.verifyOnlyAt),
    retired_at: iso(key.retiredAt),
    compromised_at: iso(key.compromisedAt),
    activatable_from: state === 'published' ? iso(activatableFrom(key, policy)) : undefined,
    due_at: state === 'active' ? iso(dueFrom(key, policy)) : undefined,
    sign_until: iso(key.signUntil),
    retirable_from: state === 'verify-only' ? iso(retirableFrom(key, policy)) : undefined,
    signatures: used?.signatures,
    last_signed_at: iso(used?.lastSignedAt),
    reason: key.reason,
    by: key.by,
  }
}

function consumerBody({ consumer, latest, keepsMilliseconds, lacks, exposed }: ConsumerReport) {
  return {
    consumer,
    last_fetch_at: iso(latest?.lastAt),
    fetches: latest?.fetches ?? 0,
    kids: latest?.kids ?? [],
    keeps_seconds: Math.ceil(keepsMilliseconds / 1000),
    lacks,
    exposed: exposed.map(({ kid, until }) => ({ kid, until: iso(until) })),
  }
}

function iso(milliseconds: number | undefined): string | undefined {
  return milliseconds === undefined ? undefined : new Date(milliseconds).toISOString()
}
