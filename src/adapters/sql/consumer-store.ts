import { sql } from 'kysely'
import type { ConsumerStore } from '../../keys/store.ts'
import type { SqlDatabase } from './database.ts'

/** Key sets kept of one consumer. */
const MOST_SETS = 20

/** Which verifier fetched which key set. */
export function createSqlConsumerStore(database: SqlDatabase): ConsumerStore {
  const { build } = database
  return {
    async add(tenant, { consumer, kids, etag, firstAt, lastAt, fetches }, signal) {
      const written = build
        .insertInto('consumers')
        .values({
          tenant,
          consumer,
          etag,
          kids: JSON.stringify(kids),
          first_at: firstAt,
          last_at: lastAt,
          fetches,
        })
        .onConflict((conflict) =>
          conflict.columns(['tenant', 'consumer', 'etag']).doUpdateSet({
            first_at: sql`case when excluded.first_at < consumers.first_at then excluded.first_at else consumers.first_at end`,
            last_at: sql`case when excluded.last_at > consumers.last_at then excluded.last_at else consumers.last_at end`,
            fetches: sql`consumers.fetches + excluded.fetches`,
          }),
        )
      await database.write(written, signal)
      const newest = build
        .selectFrom('consumers')
        .select('etag')
        .where('tenant', '=', tenant)
        .where('consumer', '=', consumer)
        .orderBy('last_at', 'desc')
        .orderBy('etag')
        .limit(MOST_SETS)
      const pruned = build
        .deleteFrom('consumers')
        .where('tenant', '=', tenant)
        .where('consumer', '=', consumer)
        .where('etag', 'not in', newest)
      await database.write(pruned, signal)
    },

    async list(tenant, signal) {
      const query = build
        .selectFrom('consumers')
        .selectAll()
        .where('tenant', '=', tenant)
        .orderBy('last_at', 'desc')
      const rows = await database.read(query, signal)
      return rows.map((row) => {
        const kids: readonly string[] = JSON.parse(row.kids)
        const { consumer, etag, fetches, first_at: firstAt, last_at: lastAt } = row
        return { consumer, kids, etag, firstAt, lastAt, fetches }
      })
    },
  }
}
