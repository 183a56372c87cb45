import type { AdminTokenStore } from '../../http/admin-tokens.ts'
import type { SqlDatabase } from './database.ts'

/** Break-glass tokens by their hash. */
export function createSqlAdminTokenStore(database: SqlDatabase): AdminTokenStore {
  const { build } = database
  return {
    async add({ hash, role, by, expiresAt }, signal) {
      const query = build
        .insertInto('admin_tokens')
        .values({ hash, role, by, expires_at: expiresAt })
        .onConflict((conflict) => conflict.doNothing())
      // A 256-bit token does not come up twice; a caller that adds a hash again must not change its role unseen.
      if ((await database.write(query, signal)) !== 1)
        throw new Error('An admin token with this hash exists already.')
    },

    async find(hash, signal) {
      const [row] = await database.read(
        build.selectFrom('admin_tokens').selectAll().where('hash', '=', hash),
        signal,
      )
      if (row === undefined) return undefined
      return {
        hash: Buffer.from(row.hash),
        role: row.role,
        by: row.by,
        expiresAt: row.expires_at,
      }
    },

    async expire(now, signal) {
      await database.write(build.deleteFrom('admin_tokens').where('expires_at', '<', now), signal)
    },
  }
}
