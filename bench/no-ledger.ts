import type { Ledger } from '../src/audit/ledger.ts'

/**
 * The control: a ledger that says it has recorded and keeps nothing. One that keeps entries in memory is no control, as collecting
 * them costs more than the database they are compared with.
 */
export function createNoLedger(): Ledger {
  const recorded = { recorded: true } as const
  return {
    append: () => Promise.resolve(recorded),
    holds: () => Promise.resolve(true),
    find: () => Promise.resolve(undefined),
    recent: () => Promise.resolve([]),
    expireClaims: () => Promise.resolve(0),
  }
}
