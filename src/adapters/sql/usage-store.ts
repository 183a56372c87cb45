import { sql } from 'kysely'
import type { UsageStore } from '../../keys/store.ts'
import type { SqlDatabase } from './database.ts'

/** How often each key signed. */
export function createSqlUsageStore(database: SqlDatabase): UsageStore {
  const { build } = database
  return {
    async add(tenant, { kid, signatures, lastSignedAt }, signal) {
      const query = build
        .insertInto('key_usage')
        .values({ tenant, kid, signatures, last_signed_at: lastSignedAt })
        .onConflict((conflict) =>
          conflict.columns(['tenant', 'kid']).doUpdateSet({
            signatures: sql`key_usage.signatures + excluded.signatures`,
            // Replicas report in any order: the latest stays.
            last_signed_at: sql`case when excluded.last_signed_at > key_usage.last_signed_at then excluded.last_signed_at else key_usage.last_signed_at end`,
          }),
        )
      await database.write(query, signal)
    },

    async list(tenant, signal) {
      const query = build.selectFrom('key_usage').selectAll().where('tenant', '=', tenant)
      const rows = await database.read(query, signal)
      return rows.map(({ kid, signatures, last_signed_at: lastSignedAt }) => ({
        kid,
        signatures,
        lastSignedAt,
      }))
    },
  }
}
