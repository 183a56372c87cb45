import Type from 'typebox'
import type { EntitlementCacheFacts, EntitlementLookup } from '../../entitlement/lookup.ts'
import type { Tenants } from '../../tenant/resolve.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import { EdgeError } from '../edge-error.ts'
import { TENANT } from './fields.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

/** What the routes of the caches ask and change. */
export interface CacheRouteDeps {
  readonly entitlements: Pick<EntitlementLookup, 'facts' | 'purge'>
  readonly tenants: Tenants
}

const CACHES = Type.Object({
  entries: Type.Integer({ description: 'Answers kept by this replica, of all tenants.' }),
  bytes: Type.Integer({ description: 'What they take, about.' }),
  max_bytes: Type.Integer(),
  loading: Type.Integer({ description: 'Look-ups under way.' }),
  hits: Type.Integer({ description: 'Look-ups answered from memory since the start.' }),
  loads: Type.Integer({
    description: 'Look-ups that went on to the shared answers or the source.',
  }),
  sources: Type.Array(
    Type.Object({
      tenant: Type.String(),
      source: Type.String(),
      entries: Type.Integer(),
      bytes: Type.Integer(),
    }),
    { description: 'Sources that were asked since the start, or are configured.' },
  ),
})

const SOURCE = Type.String({ minLength: 1, maxLength: 63, description: 'Only of this source.' })
const USER = Type.String({
  minLength: 1,
  maxLength: 1024,
  description: 'Only of this user, as the sources know it.',
})

const PURGED = Type.Object({
  entries: Type.Integer({ description: 'Answers that this replica forgot.' }),
  reached: Type.Enum(['all', 'this'], {
    description:
      'all: the answers that replicas share were purged too, and the replicas hear of it at once. this: this replica alone; repeat it at the others.',
  }),
})

/** Caches of roles: what they hold, and how to make sources be asked anew. */
export function cacheRoutes(deps: CacheRouteDeps): readonly AdminRoute[] {
  return [listRoute(deps), purgeRoute(deps)]
}

function listRoute({ entitlements, tenants }: CacheRouteDeps): AdminRoute {
  return adminRoute({
    method: 'GET',
    path: '/admin/v1/caches',
    least: 'viewer',
    id: 'listCaches',
    summary: 'What this replica keeps of entitlement sources',
    query: Type.Object({ tenant: Type.Optional(TENANT) }, { additionalProperties: false }),
    body: NOTHING,
    answer: CACHES,
    refusals: [404],
    handle({ query }) {
      const tenant = query.tenant === undefined ? undefined : tenantNamed(tenants, query.tenant)
      return Promise.resolve(cachesBody(entitlements.facts(), tenant))
    },
  })
}

function purgeRoute({ entitlements, tenants }: CacheRouteDeps): AdminRoute {
  return adminRoute({
    method: 'POST',
    path: '/admin/v1/caches/purge',
    least: 'operator',
    id: 'purgeCache',
    summary: 'Forget roles, so that the sources are asked anew',
    description:
      'Tokens that were issued live on. With a source that is down, its users are refused until it is back, or get what onFailure: limited lists.',
    query: NOTHING,
    body: Type.Object(
      { tenant: TENANT, user: Type.Optional(USER), source: Type.Optional(SOURCE) },
      { additionalProperties: false },
    ),
    answer: PURGED,
    refusals: [404],
    async handle({ body, signal }) {
      const tenant = tenantNamed(tenants, body.tenant)
      if (body.source !== undefined) mustHaveSource(tenant, body.source)
      const { entries, shared } = await entitlements.purge(body, signal)
      return { entries, reached: shared === true ? 'all' : 'this' }
    },
  })
}

/** A misspelt name would purge nothing, and look as if it had. @throws {EdgeError} `not_found`. */
function mustHaveSource({ sources }: Tenant, name: string): void {
  if (sources.some((source) => source.name === name)) return
  throw new EdgeError('not_found', 'The tenant has no source of this name.', { param: 'source' })
}

function cachesBody(facts: EntitlementCacheFacts, tenant: Tenant | undefined): object {
  const { entries, bytes, maxBytes, loading, hits, loads, sources } = facts
  const wanted = sources.filter((each) => tenant === undefined || each.tenant === tenant.name)
  return { entries, bytes, max_bytes: maxBytes, loading, hits, loads, sources: wanted }
}
