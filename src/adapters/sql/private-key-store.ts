import type { PrivateKeyStore } from '../../keys/store.ts'
import type { SqlDatabase } from './database.ts'
import type { Seal } from './seal.ts'

/** Private halves, sealed: whoever reads the database without the KEK reads no key. */
export function createSqlPrivateKeyStore(database: SqlDatabase, seal: Seal): PrivateKeyStore {
  const { build } = database
  return {
    async put(tenant, kid, pkcs8, signal) {
      const { sealed, wrappedKey } = seal.close({ tenant, kid }, pkcs8)
      const query = build
        .insertInto('private_keys')
        .values({ tenant, kid, sealed, wrapped_key: wrappedKey })
        .onConflict((conflict) => conflict.doNothing())
      if ((await database.write(query, signal)) !== 1)
        throw new Error(
          `A private key with kid ${kid} is kept already; a kid is never overwritten.`,
        )
    },

    async get(tenant, kid, signal) {
      const [row] = await database.read(
        build
          .selectFrom('private_keys')
          .select(['sealed', 'wrapped_key'])
          .where('tenant', '=', tenant)
          .where('kid', '=', kid),
        signal,
      )
      if (row === undefined) return undefined
      return seal.open({ tenant, kid }, { sealed: row.sealed, wrappedKey: row.wrapped_key })
    },

    async destroy(tenant, kid, signal) {
      const gone = await database.write(
        build.deleteFrom('private_keys').where('tenant', '=', tenant).where('kid', '=', kid),
        signal,
      )
      // The row is gone; what is left of it in free pages and in the log goes with this.
      if (gone > 0) await database.scrub(signal)
    },

    async check(signal) {
      await database.read(build.selectFrom('private_keys').select('kid').limit(1), signal)
    },
  }
}
