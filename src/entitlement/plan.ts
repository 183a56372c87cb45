import { createHash } from 'node:crypto'
import type { Tenant } from '../tenant/tenant.ts'
import type { Source } from './options.ts'

/** A source to ask for a user of some IdP, and under which keys its answers are kept. */
export interface PlannedSource {
  readonly source: Source
  /** Everything of the cache key but the user. */
  readonly keyPrefix: string
}

/** Which sources serve which IdP of a tenant. */
export type SourcePlan = ReadonlyMap<string, readonly PlannedSource[]>

/**
 * Works out, once for each loaded configuration of a tenant, whom to ask for the users of each IdP.
 *
 * The key prefix names the tenant, so that two tenants never share an answer, and carries a digest of every setting
 * an answer depends on. So a source that was pointed elsewhere is asked anew, while a reload that changed something
 * else does not empty the cache in the middle of the day.
 */
export function planSources(tenant: Tenant): SourcePlan {
  const planned = tenant.sources.map((source) => ({
    source,
    keyPrefix: `${tenant.name}\0${source.name}\0${identityOf(source, tenant.rules.maxSourceRoles)}\0`,
  }))
  return new Map(
    [...tenant.idps.keys()].map((idp) => [
      idp,
      planned.filter(({ source }) => source.idps === undefined || source.idps.includes(idp)),
    ]),
  )
}

function identityOf(source: Source, maxRoles: number): string {
  // The credential counts, as an API may show more to one caller than to another. Only its digest is kept.
  const settings = [
    source.url,
    source.rolesPath,
    source.nextPagePath ?? null,
    source.echoPath ?? null,
    source.maxPages,
    maxRoles,
    source.auth?.header ?? null,
    source.auth?.value.reveal() ?? null,
  ]
  return createHash('sha256').update(JSON.stringify(settings)).digest('base64url')
}
