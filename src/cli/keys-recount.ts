import type { AdminClient } from './admin-client.ts'
import type { RingFacts } from './keys-facts.ts'

const PAGE = 500

interface EntryFacts {
  readonly event?: unknown
  readonly kid?: unknown
  readonly at?: unknown
}

/**
 * The ring with signatures counted in the ledger, page by page, in the place of what replicas have reported: a replica that crashed took up to
 * 30 s of its count with it, the ledger has every token. Needs the role auditor; takes as long as the ledger is.
 *
 * @throws {CommandFailure} as the admin API answers.
 */
export async function recounted(admin: AdminClient, ring: RingFacts): Promise<RingFacts> {
  const counts = new Map<string, { signatures: number; last: string }>()
  for (let before: unknown; ; ) {
    const query = new URLSearchParams({ tenant: ring.tenant, limit: String(PAGE) })
    if (before !== undefined) query.set('before', String(before))
    const page = (await admin.call('GET', `/audit/entries?${query.toString()}`)) as {
      readonly entries?: readonly EntryFacts[]
      readonly next_before?: unknown
    }
    for (const { event, kid, at } of page.entries ?? []) {
      if (event !== 'issued' || typeof kid !== 'string') continue
      const { signatures = 0, last = String(at) } = counts.get(kid) ?? {}
      counts.set(kid, { signatures: signatures + 1, last }) // newest first: the first one met is the last signed
    }
    before = page.next_before
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
