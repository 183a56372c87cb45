import type { Ring } from '../../keys/ring.ts'
import type { RingStore } from '../../keys/store.ts'
import type { SqlDatabase } from './database.ts'

/** Key rings as one JSON document a tenant. */
export function createSqlRingStore(database: SqlDatabase): RingStore {
  const { build } = database
  /**
   * Highest version each tenant's ring was seen at. A failover to a standby that lags, or a backup restored under a running
   * process, would otherwise bring back a ring in which a compromised key still signs.
   */
  const seen = new Map<string, number>()

  function notOlder(tenant: string, version: number): void {
    const known = seen.get(tenant) ?? 0
    if (version < known)
      throw new Error(
        `The key ring of tenant ${tenant} went back from version ${known} to ${version}.`,
      )
    seen.set(tenant, version)
  }

  return {
    async load(tenant, signal) {
      const [row] = await database.read(
        build.selectFrom('key_rings').select('document').where('tenant', '=', tenant),
        signal,
      )
      const ring: Ring | undefined = row === undefined ? undefined : JSON.parse(row.document)
      notOlder(tenant, ring?.version ?? 0)
      return ring
    },

    async compareAndSet(tenant, expectedVersion, next, signal) {
      if (next.version !== expectedVersion + 1)
        throw new RangeError(
          `A ring of version ${next.version} cannot follow version ${expectedVersion}.`,
        )
      const document = JSON.stringify(next)
      const query =
        expectedVersion === 0
          ? build
              .insertInto('key_rings')
              .values({ tenant, version: next.version, document })
              .onConflict((conflict) => conflict.doNothing())
          : build
              .updateTable('key_rings')
              .set({ version: next.version, document })
              .where('tenant', '=', tenant)
              .where('version', '=', expectedVersion)
      const won = (await database.write(query, signal)) === 1
      if (won) seen.set(tenant, Math.max(next.version, seen.get(tenant) ?? 0))
      return won
    },
  }
}
