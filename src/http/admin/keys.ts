import Type from 'typebox'
import { SIGNING_ALGORITHMS } from '../../keys/options.ts'
import { PrivateHalfError } from '../../keys/private-halves.ts'
import { type Ring, RingError, type RingKey } from '../../keys/ring.ts'
import { Refusal } from '../../lib/refusal.ts'
import { EdgeError } from '../edge-error.ts'
import type { AdminDeps } from './deps.ts'
import { REASON, TENANT } from './fields.ts'
import { fromStore } from './from-store.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

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
      published_at: Type.Optional(Type.String()),
      activated_at: Type.Optional(Type.String()),
      verify_only_at: Type.Optional(Type.String()),
      retired_at: Type.Optional(Type.String()),
      reason: Type.String(),
      by: Type.String(),
    }),
  ),
})

/** Keys: what is in the ring, and the rotation by hand. */
export function keyRoutes(deps: Pick<AdminDeps, 'keys' | 'tenants'>): readonly AdminRoute[] {
  return [
    adminRoute({
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
        const tenant = tenantNamed(deps.tenants, query.tenant)
        return ringBody(tenant.name, await fromStore(deps.keys.list(tenant, signal)))
      },
    }),
    adminRoute({
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
        const tenant = tenantNamed(deps.tenants, body.tenant)
        const order = {
          ...(body.alg === undefined ? {} : { alg: body.alg }),
          reason: body.reason,
          by: operator.by,
          traceId: requestId,
        }
        const ring = await deps.keys.rotate(tenant, order, signal).catch((error: unknown) => {
          throw ringRefusal(error)
        })
        return ringBody(tenant.name, ring)
      },
    }),
  ]
}

/** A ring that does not allow a change is no bug: the operator is told what stands in the way. */
function ringRefusal(error: unknown): unknown {
  if (error instanceof PrivateHalfError) {
    // Its message names key and store, which is for the log.
    return new Refusal('signer_unavailable', 'The private half of a key could not be loaded.', {
      cause: error,
      retryAfterSeconds: 5,
    })
  }
  if (!(error instanceof RingError)) return error
  if (error.reason === 'algorithm_not_in_ring')
    return new Refusal('malformed_request', error.message, { param: 'alg', cause: error })
  return new EdgeError('conflict', error.message, { cause: error })
}

function ringBody(tenant: string, ring: Ring): object {
  return { tenant, version: ring.version, keys: ring.keys.map(keyBody) }
}

function keyBody(key: RingKey): object {
  return {
    kid: key.kid,
    alg: key.alg,
    state: key.state,
    created_at: time(key.createdAt),
    published_at: time(key.publishedAt),
    activated_at: time(key.activatedAt),
    verify_only_at: time(key.verifyOnlyAt),
    retired_at: time(key.retiredAt),
    reason: key.reason,
    by: key.by,
  }
}

function time(milliseconds: number | undefined): string | undefined {
  return milliseconds === undefined ? undefined : new Date(milliseconds).toISOString()
}
