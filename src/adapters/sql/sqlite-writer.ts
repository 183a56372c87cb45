/**
 * The thread that writes: all changes to a SQLite database of this process go through its one connection. It knows
 * neither Kysely nor rolemint; it gets SQL at start and one flat batch a message.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import {
  type Answer,
  APPEND,
  RECORDED,
  RUN,
  SCRUB,
  type Value,
  type WriterSetup,
} from './sqlite-protocol.ts'

/**
 * Writes after which the write-ahead log is copied into the database. The next batch waits meanwhile, longer the more pages
 * have gathered, and that wait is what the slowest of a hundred appends shows: at 1000 appends a second, in the rounds that
 * nothing else disturbed, their p99 was 4 to 5 ms with 128 writes and 1 to 2.5 ms with 32. That costs 0 to 7 us of CPU an
 * entry, as ids and digests are random and 128 entries share hardly more pages than 32 do. 1000 save some 10 us an entry and
 * stop everything for 20 ms or more. A thread of its own for copying (512 at a time) was no better than 128.
 */
const CHECKPOINT_WRITES = 32

/** SQLite result codes of a statement that failed alone: TOOBIG, CONSTRAINT, MISMATCH, RANGE. */
const OWN_FAULTS: ReadonlySet<number> = new Set([18, 19, 20, 25])

interface Connection {
  readonly db: DatabaseSync
  readonly begin: StatementSync
  readonly commit: StatementSync
  readonly claimOnce: StatementSync
  readonly findPin: StatementSync
  readonly insertPin: StatementSync
  readonly insertEntry: StatementSync
  readonly others: Map<string, StatementSync>
}

/**
 * Opens the one connection that writes.
 * @throws {Error} when the file cannot be opened or lacks a table.
 */
export function connect({ path, busyMilliseconds, statements }: WriterSetup): Connection {
  const db = new DatabaseSync(path, { timeout: busyMilliseconds })
  try {
    // FULL: in WAL mode the log is synced on every commit; NORMAL would lose the last commits in a power cut.
    // fullfsync: on macOS a plain fsync leaves data in the drive's cache. secure_delete: a destroyed key is overwritten.
    // Checkpoints are taken after the answer, not inside COMMIT where every caller of the batch would wait for them.
    db.exec(`pragma synchronous = full; pragma fullfsync = 1; pragma checkpoint_fullfsync = 1;
      pragma secure_delete = on; pragma wal_autocheckpoint = 0;`)
    return {
      db,
      begin: db.prepare('begin immediate'),
      commit: db.prepare('commit'),
      claimOnce: db.prepare(statements.claimOnce),
      findPin: db.prepare(statements.findPin),
      insertPin: db.prepare(statements.insertPin),
      insertEntry: db.prepare(statements.insertEntry),
      others: new Map(),
    }
  } catch (error) {
    db.close()
    throw error
  }
}

/** Reads one batch from left to right. */
class Batch {
  readonly #flat: readonly Value[]
  #at = 0

  constructor(flat: readonly Value[]) {
    this.#flat = flat
  }

  next(): Value {
    const value = this.#flat[this.#at]
    if (value === undefined) throw new Error('The batch ends too early.')
    this.#at += 1
    return value
  }

  number(): number {
    const value = this.next()
    if (typeof value !== 'number') throw new Error('The batch holds no number where one is due.')
    return value
  }

  text(): string {
    const value = this.next()
    if (typeof value !== 'string') throw new Error('The batch holds no text where one is due.')
    return value
  }
}

const asBlob = (latin1: Value | undefined): Value =>
  typeof latin1 === 'string' ? Buffer.from(latin1, 'latin1') : null

/** Makes one claim; false when somebody else has it. */
function claim(connection: Connection, batch: Batch, now: number): boolean {
  const kind = batch.next()
  const tenant = batch.next()
  const key = batch.next()
  const value = batch.next()
  if (kind !== 'pin') return connection.claimOnce.run(kind, tenant, key, value, now).changes === 1
  // Read first: a pin is made once and met again with every exchange, and reading costs no write.
  const pin = connection.findPin.get(kind, tenant, key)
  if (pin !== undefined) return pin['owner'] === value
  connection.insertPin.run(kind, tenant, key, value)
  return true
}

/** Runs a statement; a fault of its own becomes a text, and the rest of the batch goes on. */
function attempt(connection: Connection, run: () => number): number | string {
  try {
    return run()
  } catch (error) {
    if (connection.db.isTransaction && OWN_FAULTS.has(resultCode(error))) return messageOf(error)
    throw error
  }
}

function append(connection: Connection, batch: Batch, now: number): number | string {
  let outcome: number | string = RECORDED
  const claims = batch.number()
  for (let index = 0; index < claims; index += 1) {
    const made = attempt(connection, () => (claim(connection, batch, now) ? 1 : 0))
    // Later claims are made all the same: "claims that were free stay taken".
    if (outcome === RECORDED) outcome = made === 1 ? RECORDED : made === 0 ? index : made
  }
  if (batch.number() === 0) return outcome
  const row: Value[] = []
  for (let column = 0; column < 13; column += 1) row.push(batch.next())
  row[4] = asBlob(row[4])
  if (outcome !== RECORDED) return outcome
  return attempt(connection, () => {
    connection.insertEntry.run(...row)
    return RECORDED
  })
}

function runStatement(connection: Connection, batch: Batch): number | string {
  const sql = batch.text()
  const parameters = Array.from({ length: batch.number() }, () => batch.next())
  let statement = connection.others.get(sql)
  if (statement === undefined) {
    statement = connection.db.prepare(sql)
    connection.others.set(sql, statement)
  }
  const prepared = statement
  return attempt(connection, () => Number(prepared.run(...parameters).changes))
}

/** Everything of the batch in one commit: durable when this returns. */
function commitBatch(connection: Connection, flat: readonly Value[]): (number | string)[] {
  const batch = new Batch(flat)
  const now = batch.number()
  const outcomes: (number | string)[] = []
  let scrub = false
  connection.begin.run()
  for (let left = batch.number(); left > 0; left -= 1) {
    const what = batch.number()
    if (what === APPEND) outcomes.push(append(connection, batch, now))
    else if (what === RUN) outcomes.push(runStatement(connection, batch))
    else if (what === SCRUB) {
      scrub = true
      outcomes.push(0)
    } else throw new Error('The batch holds an unknown write.')
  }
  connection.commit.run()
  if (scrub) connection.db.exec('pragma wal_checkpoint(truncate)')
  return outcomes
}

function resultCode(error: unknown): number {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : 0
  return code & 0xff // the primary code; the rest says more precisely why
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error'
}

/** The connection over its life: opened with the first batch, replaced after a failure. */
class Writer {
  readonly #setup: WriterSetup
  #connection: Connection | undefined
  #sinceCheckpoint = 0

  constructor(setup: WriterSetup) {
    this.#setup = setup
  }

  /**
   * After a failed commit the connection is closed and a new one opened with the next batch: after an fsync error the
   * kernel may report success for pages it has dropped, and a full or read-only disk is met afresh, so that writing
   * recovers by itself when space returns.
   */
  answer(flat: readonly Value[]): Answer {
    try {
      this.#connection ??= connect(this.#setup)
      return commitBatch(this.#connection, flat)
    } catch (error) {
      this.close()
      return messageOf(error)
    }
  }

  /** Copies the log into the database once enough has gathered. */
  checkpoint(writes: number): void {
    this.#sinceCheckpoint += writes
    if (this.#sinceCheckpoint < CHECKPOINT_WRITES) return
    this.#sinceCheckpoint = 0
    try {
      this.#connection?.db.exec('pragma wal_checkpoint(passive)')
    } catch {
      // The log holds everything; the next checkpoint copies it. Should the disk be full, a commit will say so.
    }
  }

  close(): void {
    const connection = this.#connection
    this.#connection = undefined
    try {
      connection?.db.close() // rolls back what was not committed
    } catch {
      // Nothing more can be done with it, and the next batch has a connection of its own.
    }
  }
}

function serve(port: MessagePort, setup: WriterSetup): void {
  const writer = new Writer(setup)
  port.on('message', (message: readonly Value[] | 'close') => {
    if (message === 'close') {
      writer.close()
      port.close()
      return
    }
    port.postMessage(writer.answer(message))
    writer.checkpoint(Number(message[1]))
  })
}

if (parentPort !== null) serve(parentPort, workerData)
