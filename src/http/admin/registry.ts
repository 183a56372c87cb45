import Type from 'typebox'
import type { Client } from '../../client/options.ts'
import type { Source } from '../../entitlement/options.ts'
import type { Idp } from '../../subject/options.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import type { AdminDeps } from './deps.ts'
import { TENANT } from './fields.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantsNamed } from './route.ts'

const QUERY = Type.Object({ tenant: Type.Optional(TENANT) }, { additionalProperties: false })

/** What is configured: tenants, clients, IdPs and sources, field by field, so that no secret or digest slips through. */
export function registryRoutes(deps: Pick<AdminDeps, 'tenants'>): readonly AdminRoute[] {
  const list = (
    plural: string,
    id: string,
    summary: string,
    bodies: (tenant: Tenant) => readonly object[],
  ): AdminRoute =>
    adminRoute({
      method: 'GET',
      path: `/admin/v1/${plural}`,
      least: 'viewer',
      id,
      summary,
      query: QUERY,
      body: NOTHING,
      answer: Type.Object({
        [plural]: Type.Array(Type.Object({}, { additionalProperties: true })),
      }),
      refusals: [404],
      handle: ({ query }) =>
        Promise.resolve({ [plural]: tenantsNamed(deps.tenants, query.tenant).flatMap(bodies) }),
    })
  return [
    list('tenants', 'listTenants', 'Tenants', (tenant) => [tenantBody(tenant)]),
    list('clients', 'listClients', 'Clients, without secrets', (tenant) =>
      [...tenant.clients.values()].map((client) => clientBody(tenant, client)),
    ),
    list('idps', 'listIdps', 'Trusted identity providers', (tenant) =>
      [...tenant.idps.values()].map((idp) => idpBody(tenant, idp)),
    ),
    list('sources', 'listSources', 'Entitlement sources, without credentials', (tenant) =>
      tenant.sources.map((source) => sourceBody(tenant, source)),
    ),
  ]
}

function tenantBody(tenant: Tenant): object {
  return {
    name: tenant.name,
    issuer: tenant.issuer,
    idps: [...tenant.idps.keys()],
    sources: tenant.sources.map(({ name }) => name),
    clients: [...tenant.clients.keys()],
    ttl_seconds: tenant.rules.ttlSeconds,
    cors_origins: tenant.corsOrigins,
  }
}

function clientBody(tenant: Tenant, client: Client): object {
  return {
    tenant: tenant.name,
    id: client.id,
    auth: client.auth.method,
    idps: client.idps,
    grants: [...client.grants],
    exchange_own: client.exchangeOwn,
    audiences: client.audiences,
    scopes: client.scopes,
    roles: client.roles,
    actors: client.actors,
    resource_for: client.resourceFor,
    disabled: client.disabled,
    at: tenant.at(`clients.${client.id}`),
  }
}

function idpBody(tenant: Tenant, idp: Idp): object {
  return {
    tenant: tenant.name,
    name: idp.name,
    issuer: idp.issuer,
    audiences: idp.audiences,
    algorithms: idp.algorithms,
    keys: idp.keySource.kind,
    user_claim: idp.userClaim,
    upn_domains: idp.upnDomains,
    subject_prefix: idp.subjectPrefix,
    presenters: idp.presenters,
    required_claims: idp.requiredClaims,
    once_only: idp.onceOnly,
    max_age_seconds: idp.maxAgeSeconds,
    disabled: idp.disabled,
    at: tenant.at(`idps.${idp.name}`),
  }
}

function sourceBody(tenant: Tenant, source: Source): object {
  return {
    tenant: tenant.name,
    name: source.name,
    url: withoutCredentials(source.url),
    idps: source.idps,
    auth: source.auth?.header,
    roles: source.rolesPath,
    next_page: source.nextPagePath,
    max_pages: source.maxPages,
    total_milliseconds: source.totalMilliseconds,
    fresh_milliseconds: source.freshMilliseconds,
    at: tenant.at(`sources.${source.name}`),
  }
}

/** User information and query are where API keys hide; the template itself is no valid URL, so it is cut as text. */
function withoutCredentials(template: string): string {
  return template.replace(/\?.*$/, '?…').replace(/^(https?:\/\/)[^/]*@/, '$1')
}
