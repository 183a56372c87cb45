import { setTimeout } from 'node:timers/promises'
import { Kysely, PostgresDialect } from 'kysely'
import type pg from 'pg'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import { createQueryBuilder, type SqlDatabase } from './database.ts'
import { migrate } from './migrations.ts'
import { createAppends, createPostgresLedger } from './postgres-ledger.ts'
import { bounded, createPool, inTransaction, safeError } from './postgres-pool.ts'
import type { Schema } from './schema.ts'
import { createSqlStore, type SqlStore } from './store.ts'

const GOODBYE_MILLISECONDS = 2000
/** Not now(), which is the time at which the transaction began. */
const NOW = 'select (extract(epoch from clock_timestamp()) * 1000)::float8 as now'

export interface PostgresStoreDeps {
  /** Decides which once-only claims have expired. */
  readonly clock: Clock
  readonly random: Random
}

export interface PostgresStoreOptions {
  /** `postgres://user:password@host:port/database`, with `?sslmode=verify-full` where the network is not trusted. */
  readonly url: Secret
  /** Connections of this process; default 10. Two of them at most append to the ledger. */
  readonly connections?: number
  /** To get a connection; default 2 s. */
  readonly connectMilliseconds?: number
  /** For one statement; default 5 s. */
  readonly statementMilliseconds?: number
  /** Appends that may wait; beyond it new ones are refused at once. Default 10 000. */
  readonly maxPending?: number
  /** A commit that takes longer counts as failed; default 10 s. */
  readonly stallMilliseconds?: number
}

/**
 * Brings the schema up to date. It has a pool of its own: waiting for another replica's migration may take longer than any
 * statement is allowed otherwise.
 */
async function prepareDatabase(url: Secret, connectMilliseconds: number): Promise<void> {
  const pool = createPool(url, { connectMilliseconds, connections: 2 })
  const kysely = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  try {
    await migrate(kysely, 'postgres')
  } catch (error) {
    throw error instanceof Error && 'code' in error ? safeError(error) : error
  } finally {
    await kysely.destroy()
    if (!pool.ended) await pool.end()
  }
}

function createPostgresDatabase(pool: pg.Pool): SqlDatabase {
  return {
    build: createQueryBuilder('postgres'),
    read(query, signal) {
      const { sql, parameters } = query.compile()
      return bounded(async () => (await pool.query(sql, [...parameters])).rows, signal)
    },
    write(query, signal) {
      const { sql, parameters } = query.compile()
      return bounded(
        () =>
          inTransaction(pool, async (client) => {
            return (await client.query(sql, [...parameters])).rowCount ?? 0
          }),
        signal,
      )
    },
    async scrub(signal) {
      // The deleted row stays in the table's file until it is rewritten. The lock this takes lasts for a table of a few
      // rows; where it cannot be had (a dump is running), autovacuum does it later. Write-ahead log and backups keep the
      // row as long as the operator keeps them: without the KEK it opens nothing.
      await bounded(() => pool.query('vacuum (full) private_keys'), signal).catch(() => {})
    },
  }
}

/**
 * State in PostgreSQL, shared by all replicas. Writes are durable on resolve (`synchronous_commit` is switched on in each
 * transaction). A lost connection makes calls reject in time and heals by itself. No error names the URL or stored data.
 * @throws {Error} when the database cannot be reached or belongs to a newer version.
 */
export async function createPostgresStore(
  { clock, random }: PostgresStoreDeps,
  {
    url,
    connections = 10,
    connectMilliseconds = 2000,
    statementMilliseconds = 5000,
    maxPending = 10_000,
    stallMilliseconds = 10_000,
  }: PostgresStoreOptions,
): Promise<SqlStore> {
  await prepareDatabase(url, connectMilliseconds)
  const pool = createPool(url, { connectMilliseconds, statementMilliseconds, connections })
  const appends = createAppends(pool, clock, { maxPending, stallMilliseconds })
  const ledger = createPostgresLedger({ pool, appends })
  const database = createPostgresDatabase(pool)
  const time = async (signal: AbortSignal) => {
    const { rows } = await bounded(() => pool.query<{ now: number }>(NOW), signal)
    return rows[0]?.now ?? Number.NaN
  }
  return createSqlStore({ ledger, database, random, engine: 'postgres', time }, async () => {
    await appends.close()
    // A server that no longer answers would keep a polite goodbye waiting for ever.
    await Promise.race([pool.end(), setTimeout(GOODBYE_MILLISECONDS, undefined, { ref: false })])
  })
}
