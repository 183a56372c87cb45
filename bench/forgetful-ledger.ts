import type { Ledger } from '../src/audit/ledger.ts'

const KEPT_ENTRIES = 5000

/**
 * An in-memory ledger that starts afresh every 5000 appends. One that keeps all of a saturating run fills the heap, and
 * collecting that costs more than the database it is compared with.
 */
export function createForgetfulLedger(create: () => Ledger): Ledger {
  let current = create()
  let appended = 0
  return {
    append(entry, claims, signal) {
      if (appended === KEPT_ENTRIES) {
        current = create()
        appended = 0
      }
      appended += 1
      return current.append(entry, claims, signal)
    },
    holds: (tenant, digest, signal) => current.holds(tenant, digest, signal),
    find: (tenant, id, signal) => current.find(tenant, id, signal),
    recent: (tenant, limit, before, signal) => current.recent(tenant, limit, before, signal),
    expireClaims: (now, signal) => current.expireClaims(now, signal),
  }
}
