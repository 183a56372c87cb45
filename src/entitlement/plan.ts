import { createHash } from 'node:crypto'
import type { Shelf } from '../resilience/swr.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { Answer } from './answer.ts'
import type { Source } from './options.ts'

/** A source to ask for the users of some IdP, and where its answers are kept. */
export interface PlannedSource {
  readonly source: Source
  readonly answers: Shelf<Answer>
}

/** Which sources serve which IdP of a tenant. */
export type SourcePlan = ReadonlyMap<string, readonly PlannedSource[]>

/** Opens the shelf of a source; `identity` is a digest of every setting that an answer depends on. */
export type OpenShelf = (tenant: Tenant, source: Source, identity: string) => Shelf<Answer>

/**
 * Works out, once for each loaded configuration of a tenant, whom to ask for the users of each IdP.
 *
 * A shelf belongs to one tenant, so that two never share an answer, and to one identity: a source that was pointed elsewhere is asked
 * anew, while a reload that changed something else does not empty the cache in the middle of the day.
 */
export function planSources(tenant: Tenant, open: OpenShelf): SourcePlan {
  const planned = tenant.sources.map((source) => ({
    source,
    answers: open(tenant, source, identityOf(source, tenant.rules.maxSourceRoles)),
  }))
  return new Map(
    [...tenant.idps.keys()].map((idp) => [
      idp,
      planned.filter(({ source }) => source.idps === undefined || source.idps.includes(idp)),
    ]),
  )
}

function identityOf(source: Source, maxRoles: number): string {
  const { batch } = source
  // The credential counts, as an API may show more to one caller than to another. Only its digest is kept.
  const settings = [
    source.url,
    source.rolesPath,
    source.nextPagePath ?? null,
    source.echoPath ?? null,
    source.maxPages,
    maxRoles,
    source.consistency,
    batch && { ...batch, windowMilliseconds: 0, max: 0 },
    source.auth?.header ?? null,
    source.auth?.value.reveal() ?? null,
  ]
  return createHash('sha256').update(JSON.stringify(settings)).digest('base64url')
}
