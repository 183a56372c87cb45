import type { KeyUsage, UsageStore } from '../../keys/store.ts'

/** How often each key signed, in memory, for tests and simulations. */
export function createMemoryUsageStore(): UsageStore {
  const tenants = new Map<string, Map<string, KeyUsage>>()
  return {
    async add(tenant, { kid, signatures, lastSignedAt }, signal) {
      signal.throwIfAborted()
      const keys = tenants.get(tenant) ?? new Map<string, KeyUsage>()
      tenants.set(tenant, keys)
      const known = keys.get(kid)
      keys.set(kid, {
        kid,
        signatures: (known?.signatures ?? 0) + signatures,
        lastSignedAt: Math.max(known?.lastSignedAt ?? 0, lastSignedAt),
      })
    },

    async list(tenant, signal) {
      signal.throwIfAborted()
      return [...(tenants.get(tenant)?.values() ?? [])]
    },
  }
}
