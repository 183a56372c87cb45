import type pg from 'pg'
import type { Ledger } from '../../audit/ledger.ts'
import type { Clock } from '../../lib/clock.ts'
import { createGroupCommit, type GroupCommit } from './group-commit.ts'
import { claimRowOf, entryOf, type LedgerRow, rowOf } from './ledger-row.ts'
import { type Append, type AppendOutcome, appendBatch, RECORDED } from './postgres-append.ts'
import { bounded, inTransaction, safeError } from './postgres-pool.ts'

/** Claims forgotten in one transaction. */
const EXPIRE_AT_ONCE = 1000
const MAX_BATCH = 512

const HOLDS = 'select 1 from ledger where tenant = $1 and digest = $2'
const FIND = 'select * from ledger where tenant = $1 and id = $2'
const RECENT = `
  select * from ledger where tenant = $1 and position < $2 order by position desc limit $3`
// The rows are locked as they are found: none can be claimed anew between the look and the deletion. One that an append
// holds at this moment is passed over, since waiting for it could end in a deadlock.
const EXPIRE = `
  delete from claims where (kind, tenant, key) in (
    select kind, tenant, key from claims where expires_at < $1 limit $2 for update skip locked)`

/** deadlock_detected and serialization_failure: the transaction is undone and may simply be tried again. */
const TRANSIENT = new Set(['40P01', '40001'])
/** Data exception, constraint, program limit: something in one of the rows; alone, the others would pass. */
const OF_ONE_ROW = new Set(['22', '23', '54'])

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''

/** Commits a batch; where the database refuses it for one row, each append again alone. */
export async function commitAppends(
  pool: pg.Pool,
  appends: readonly Append[],
  clock: Clock,
): Promise<readonly (AppendOutcome | Error)[]> {
  const commit = (some: readonly Append[]) =>
    inTransaction(pool, (client) => appendBatch(client, some, clock.now()))
  try {
    return await commit(appends)
  } catch (error) {
    const code = codeOf(error)
    try {
      if (TRANSIENT.has(code)) return await commit(appends)
      if (appends.length > 1 && OF_ONE_ROW.has(code.slice(0, 2))) {
        const outcomes: (AppendOutcome | Error)[] = []
        for (const append of appends) {
          outcomes.push(...(await commit([append]).catch((reason: unknown) => [safeError(reason)])))
        }
        return outcomes
      }
    } catch (again) {
      throw safeError(again)
    }
    throw safeError(error)
  }
}

/** Gathers appends into transactions, two at a time: while one waits for the disk the next is being sent. */
export function createAppends(
  pool: pg.Pool,
  clock: Clock,
  limits: { readonly maxPending: number; readonly stallMilliseconds: number },
): GroupCommit<Append, AppendOutcome> {
  return createGroupCommit<Append, AppendOutcome>(
    { commit: (appends) => commitAppends(pool, appends, clock) },
    { ...limits, maxBatch: MAX_BATCH, maxRunning: 2 },
  )
}

/** The ledger on PostgreSQL, shared by all replicas. Everything is read from the primary. */
export function createPostgresLedger({
  pool,
  appends,
}: {
  readonly pool: pg.Pool
  readonly appends: GroupCommit<Append, AppendOutcome>
}): Ledger {
  const read = <Row extends pg.QueryResultRow>(
    name: string,
    text: string,
    values: unknown[],
    signal: AbortSignal,
  ) => bounded(async () => (await pool.query<Row>({ name, text, values })).rows, signal)

  return {
    async append(entry, claims, signal) {
      if (entry === undefined && claims.length === 0) return { recorded: true }
      const append = {
        entry: entry === undefined ? undefined : rowOf(entry),
        claims: claims.map(claimRowOf),
      }
      const outcome = await appends.submit(append, signal)
      const conflict = outcome === RECORDED ? undefined : claims[outcome]
      return conflict === undefined ? { recorded: true } : { recorded: false, conflict }
    },

    async holds(tenant, digest, signal) {
      return (await read('ledger_holds', HOLDS, [tenant, digest], signal)).length > 0
    },

    async find(tenant, id, signal) {
      const [row] = await read<LedgerRow>('ledger_find', FIND, [tenant, id], signal)
      return row === undefined ? undefined : entryOf(row)
    },

    async recent(tenant, limit, before, signal) {
      const values = [tenant, before ?? Number.MAX_SAFE_INTEGER, limit]
      return (await read<LedgerRow>('ledger_recent', RECENT, values, signal)).map(entryOf)
    },

    async expireClaims(now, signal) {
      let forgotten = 0
      for (;;) {
        const changed = await bounded(
          () =>
            inTransaction(pool, async (client) => {
              return (await client.query(EXPIRE, [now, EXPIRE_AT_ONCE])).rowCount ?? 0
            }),
          signal,
        )
        forgotten += changed
        if (changed < EXPIRE_AT_ONCE) return forgotten
      }
    },
  }
}
