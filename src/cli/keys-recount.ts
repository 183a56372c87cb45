import { isJsonObject } from '../lib/strict-json.ts'
import type { AdminClient } from './admin-client.ts'
import type { RingFacts } from './keys-facts.ts'

const PAGE = 500

/**
 * The ring with signatures counted in the ledger, page by page, in the place of what replicas have reported: a replica that crashed took up to
 * 30 s of its count with it, the ledger has every token. Needs the role auditor; takes as long as the ledger is.
 *
 * @throws {CommandFailure} as the admin API answers.
 */
export async function recounted(admin: AdminClient, ring: RingFacts): Promise<RingFacts> {
  const counts = new Map<string, { signatures: number; last: string }>()
  for (let before: number | undefined; ; ) {
    const query = new URLSearchParams({ tenant: ring.tenant, limit: String(PAGE) })
    if (before !== undefined) query.set('before', String(before))
    const page = await admin.call('GET', `/audit/entries?${query.toString()}`)
    for (const { kid, at } of issuedIn(page)) {
      const { signatures = 0, last = at } = counts.get(kid) ?? {}
      counts.set(kid, { signatures: signatures + 1, last }) // newest first: the first one met is the last signed
    }
    before = nextOf(page)
    if (before === undefined) break
  }
  return {
    ...ring,
    keys: ring.keys.map((key) => {
      const { signatures = 0, last } = counts.get(key.kid) ?? {}
      return { ...key, signatures, ...(last === undefined ? {} : { last_signed_at: last }) }
    }),
  }
}

function issuedIn(page: unknown): readonly { readonly kid: string; readonly at: string }[] {
  const entries: unknown = isJsonObject(page) ? page['entries'] : undefined
  if (!Array.isArray(entries)) return []
  return entries.flatMap((entry: unknown) => {
    if (!isJsonObject(entry) || entry['event'] !== 'issued') return []
    const { kid, at } = entry
    return typeof kid === 'string' && typeof at === 'string' ? [{ kid, at }] : []
  })
}

function nextOf(page: unknown): number | undefined {
  const next = isJsonObject(page) ? page['next_before'] : undefined
  return typeof next === 'number' ? next : undefined
}
