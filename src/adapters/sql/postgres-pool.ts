import pg from 'pg'
import type { Secret } from '../../lib/secret.ts'

/** How long the database may take. */
export interface PostgresLimits {
  /** To get a connection, new or from the pool. */
  readonly connectMilliseconds: number
  /** For one statement; the client gives up a little later than the server. */
  readonly statementMilliseconds: number
  /** Connections of this process. */
  readonly connections: number
}

/** Beyond the server's own timeout: the client drops the connection when even the refusal does not come. */
const CLIENT_GRACE_MILLISECONDS = 500

const INT8 = 20

/** SQLSTATE classes whose message names no data: connection, authorisation, database, resources, operator, schema. */
const TELLING = new Set(['08', '28', '3D', '42', '53', '57'])

/** A commit that PostgreSQL answered, but not with durability; its message is ours. */
class NotDurable extends Error {
  override readonly name = 'NotDurable'
}

/**
 * An error that may be logged. Those of pg hold rows (`detail`), the address, sometimes the connection string, so neither the
 * error nor its cause is passed on: only a code, and the server's sentence where it cannot name data.
 */
export function safeError(error: unknown): Error {
  if (error instanceof NotDurable) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  if (error instanceof pg.DatabaseError && code !== undefined) {
    const sentence = TELLING.has(code.slice(0, 2)) ? `: ${error.message}` : ''
    return Object.assign(new Error(`PostgreSQL refused (SQLSTATE ${code})${sentence}.`), { code })
  }
  return new Error(`PostgreSQL did not answer (${code ?? 'connection lost or timed out'}).`)
}

/** bigint as number: positions and milliseconds stay below 2^53. */
function typeParsers(): pg.TypeOverrides {
  const types = new pg.TypeOverrides()
  types.setTypeParser(INT8, Number)
  return types
}

function openPool(url: Secret, config: pg.PoolConfig): pg.Pool {
  const connectionString = url.reveal()
  try {
    if (URL.canParse(connectionString)) return new pg.Pool({ ...config, connectionString })
  } catch {
    // What pg says about a URL repeats it.
  }
  throw new Error(
    'The PostgreSQL URL could not be read; write postgres://user:password@host:port/database.',
  )
}

/**
 * Connections to one database.
 * @throws {Error} when the URL cannot be read; the error does not repeat it.
 */
export function createPool(url: Secret, limits: Partial<PostgresLimits>): pg.Pool {
  const { connectMilliseconds, statementMilliseconds, connections } = limits
  const config: pg.PoolConfig = {
    types: typeParsers(),
    application_name: 'rolemint',
    keepAlive: true,
    ...(connections === undefined ? {} : { max: connections }),
    ...(connectMilliseconds === undefined ? {} : { connectionTimeoutMillis: connectMilliseconds }),
  }
  if (statementMilliseconds !== undefined) {
    const patience = statementMilliseconds + CLIENT_GRACE_MILLISECONDS
    config.statement_timeout = statementMilliseconds
    config.query_timeout = patience
    config.idle_in_transaction_session_timeout = patience
  }
  const pool = openPool(url, config)
  // An idle connection that breaks is taken out of the pool by pg; without a listener it would end the process.
  pool.on('error', () => {})
  return pool
}

/** Settles with `work`, or rejects when `signal` fires; `work` goes on and its end is ignored. */
export function bounded<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(new Error('The call was given up before it began.'))
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(new Error('PostgreSQL did not answer in time.'))
    signal.addEventListener('abort', giveUp, { once: true })
    work()
      .then(resolve, (error: unknown) => reject(safeError(error)))
      .finally(() => signal.removeEventListener('abort', giveUp))
  })
}

/** Begins a transaction whose commit is durable whatever the database or the role is set to. */
const BEGIN = 'begin; set local synchronous_commit = on'

/**
 * A statement timeout (or an operator) that ends the wait for a synchronous standby does not fail the COMMIT: it succeeds with a
 * warning, and the data is on one disk only. So no timeout of the server runs here; the client's own drops the connection.
 */
const COMMIT = 'set local statement_timeout = 0; commit'

/**
 * Runs `work` in a transaction and commits it durably.
 * @throws {Error} when it is not known to be durable.
 */
export async function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  let warned = false
  const onError = (error: Error) => {
    broken = error
  }
  const onNotice = () => {
    warned = true
  }
  client.on('error', onError)
  try {
    await client.query(BEGIN)
    const result = await work(client)
    client.on('notice', onNotice)
    const answers: unknown = await client.query(COMMIT) // two statements, two results
    const last: pg.QueryResult | undefined = Array.isArray(answers) ? answers.at(-1) : undefined
    if (last?.command !== 'COMMIT') throw new NotDurable('The transaction was rolled back.')
    if (warned) throw new NotDurable('The commit was not confirmed by the standby.')
    return result
  } catch (error) {
    // The connection goes too: whatever state it is in, the next transaction does not meet it.
    broken ??= error instanceof Error ? error : new Error('unknown', { cause: error })
    throw error
  } finally {
    client.off('error', onError)
    client.off('notice', onNotice)
    client.release(broken)
  }
}
