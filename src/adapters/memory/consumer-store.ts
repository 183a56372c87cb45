import type { ConsumerFetch, ConsumerStore } from '../../keys/store.ts'

const MOST_SETS = 20

/** Which verifier fetched which key set, in memory, for tests and simulations. */
export function createMemoryConsumerStore(): ConsumerStore {
  const tenants = new Map<string, readonly ConsumerFetch[]>()
  return {
    async add(tenant, fetched, signal) {
      signal.throwIfAborted()
      const before = tenants.get(tenant) ?? []
      const isSame = (one: ConsumerFetch) =>
        one.consumer === fetched.consumer && one.etag === fetched.etag
      const known = before.find(isSame)
      const now = known
        ? {
            ...known,
            firstAt: Math.min(known.firstAt, fetched.firstAt),
            lastAt: Math.max(known.lastAt, fetched.lastAt),
            fetches: known.fetches + fetched.fetches,
          }
        : { ...fetched, kids: [...fetched.kids] }
      const all = [now, ...before.filter((one) => !isSame(one))].toSorted(
        (a, b) => b.lastAt - a.lastAt,
      )
      const own = all.filter(({ consumer }) => consumer === fetched.consumer).slice(0, MOST_SETS)
      tenants.set(
        tenant,
        all.filter((one) => one.consumer !== fetched.consumer || own.includes(one)),
      )
    },

    async list(tenant, signal) {
      signal.throwIfAborted()
      return tenants.get(tenant) ?? []
    },
  }
}
