import Type from 'typebox'
import type { StoredEntry } from '../../audit/ledger.ts'
import type { AdminDeps } from './deps.ts'
import { TENANT } from './fields.ts'
import { fromStore } from './from-store.ts'
import { type AdminRoute, adminRoute, NOTHING, tenantNamed } from './route.ts'

const DEFAULT_LIMIT = 50

/** A ledger entry as it is shown. */
export const ENTRY = Type.Object({
  id: Type.String(),
  position: Type.Integer(),
  event: Type.String({ description: 'issued, refused, key or admin' }),
  tenant: Type.String(),
  at: Type.String(),
  digest: Type.Optional(Type.String({ description: 'SHA-256 of the signing input, base64url.' })),
  kid: Type.Optional(Type.String()),
  client: Type.Optional(Type.String()),
  sub: Type.Optional(Type.String()),
  upn: Type.Optional(Type.String()),
  exp: Type.Optional(Type.Integer()),
  error_code: Type.Optional(Type.String()),
  request_id: Type.Optional(Type.String()),
  claims: Type.Optional(Type.Object({}, { additionalProperties: true })),
  evidence: Type.Optional(Type.Object({}, { additionalProperties: true })),
  trace: Type.Optional(Type.Array(Type.Object({}, { additionalProperties: true }))),
  action: Type.Optional(Type.String()),
  by: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
})

/** GET /admin/v1/audit/entries: the ledger of a tenant, newest first. */
export function entriesRoute(deps: Pick<AdminDeps, 'ledger' | 'tenants'>): AdminRoute {
  return adminRoute({
    method: 'GET',
    path: '/admin/v1/audit/entries',
    least: 'auditor',
    id: 'listEntries',
    summary: 'Ledger entries, newest first',
    query: Type.Object(
      {
        tenant: TENANT,
        limit: Type.Optional(
          Type.String({
            pattern: '^([1-9][0-9]?|[1-4][0-9]{2}|500)$',
            description: 'At most 500; 50 when left out.',
          }),
        ),
        before: Type.Optional(
          Type.String({
            pattern: '^[0-9]{1,15}$',
            description: 'Only entries below this position.',
          }),
        ),
      },
      { additionalProperties: false },
    ),
    body: NOTHING,
    answer: Type.Object({
      entries: Type.Array(ENTRY),
      next_before: Type.Optional(Type.Integer({ description: 'Where the next page begins.' })),
    }),
    refusals: [404, 503],
    async handle({ query, signal }) {
      const tenant = tenantNamed(deps.tenants, query.tenant)
      const limit = Number(query.limit ?? DEFAULT_LIMIT)
      const before = query.before === undefined ? undefined : Number(query.before)
      const entries = await fromStore(deps.ledger.recent(tenant.name, limit, before, signal))
      return {
        entries: entries.map(entryBody),
        next_before: entries.length === limit ? entries.at(-1)?.position : undefined,
      }
    },
  })
}

/** An entry in the words of the API. */
export function entryBody(entry: StoredEntry): object {
  return {
    id: entry.id,
    position: entry.position,
    event: entry.event,
    tenant: entry.tenant,
    at: new Date(entry.at).toISOString(),
    digest: entry.digest?.toString('base64url'),
    kid: entry.kid,
    client: entry.client,
    sub: entry.sub,
    upn: entry.upn,
    exp: entry.exp,
    error_code: entry.code,
    request_id: entry.traceId,
    claims: entry.details.claims,
    evidence: entry.details.evidence,
    trace: entry.details.trace,
    action: entry.details.action,
    by: entry.details.by,
    reason: entry.details.reason,
  }
}
