import type { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import { createQueryBuilder, refuseAborted, type SqlDatabase } from './database.ts'
import { createGroupCommit, type GroupCommit } from './group-commit.ts'
import { openReader, prepareFile, readRows } from './sqlite-file.ts'
import { createSqliteLedger, createWriterLink, writerStatements } from './sqlite-ledger.ts'
import { valuesOf, type Write, type WriterSetup } from './sqlite-protocol.ts'
import { createSqlStore, type SqlStore } from './store.ts'

export interface SqliteStoreDeps {
  /** Decides which once-only claims have expired. */
  readonly clock: Clock
  readonly random: Random
  /** Starts the writer thread; a test keeps the thread it gets, to kill it. */
  readonly startWriter?: (setup: WriterSetup) => Worker
}

export interface SqliteStoreOptions {
  readonly path: string
  /** How long the writer waits while another process writes; default 2 s. */
  readonly busyMilliseconds?: number
  /** Writes that may wait; beyond it new ones are refused at once. Default 10 000. */
  readonly maxPending?: number
  /** A commit that takes longer counts as failed, and so does all that waits behind it; default 10 s. */
  readonly stallMilliseconds?: number
}

/** The reader sits on the event loop: better to fail one read than to stop everything for longer. */
const READER_BUSY_MILLISECONDS = 50
/** Larger commits gain nothing (measured) and would hold up the first caller of the batch. */
const MAX_BATCH = 512

function startWriterThread(setup: WriterSetup): Worker {
  // The file has the ending this one has: .ts in a clone, .js in dist.
  const ending = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
  // Without the environment and the flags of the process: the thread needs neither, and one holds secrets.
  return new Worker(new URL(`./sqlite-writer${ending}`, import.meta.url), {
    workerData: setup,
    env: {},
    execArgv: [],
    name: 'sqlite-writer',
  })
}

function createSqliteDatabase(
  reader: DatabaseSync,
  writes: GroupCommit<Write, number | string>,
): SqlDatabase {
  return {
    build: createQueryBuilder('sqlite'),
    async read(query, signal) {
      refuseAborted(signal)
      const { sql, parameters } = query.compile()
      return readRows(reader.prepare(sql), parameters)
    },
    async write(query, signal) {
      const { sql, parameters } = query.compile()
      const write = { kind: 'run', sql, parameters: valuesOf(parameters) } as const
      const outcome = await writes.submit(write, signal)
      if (typeof outcome === 'string') throw new Error(`The store refused the write: ${outcome}.`)
      return outcome
    },
    async scrub(signal) {
      await writes.submit({ kind: 'scrub' }, signal)
    },
  }
}

/**
 * State in one SQLite file. Other processes may open the same file at the same time.
 *
 * Writes are durable on resolve (WAL, synchronous=FULL) and share commits. A full or read-only disk makes writes reject and
 * heals by itself; so does a writer thread that dies, which is started again.
 * @throws {Error} when the file cannot be opened or belongs to a newer version.
 */
export async function createSqliteStore(
  { clock, random, startWriter = startWriterThread }: SqliteStoreDeps,
  {
    path,
    busyMilliseconds = 2000,
    maxPending = 10_000,
    stallMilliseconds = 10_000,
  }: SqliteStoreOptions,
): Promise<SqlStore> {
  await prepareFile(path, busyMilliseconds)
  const reader = openReader(path, READER_BUSY_MILLISECONDS)
  const setup = { path, busyMilliseconds, statements: writerStatements() }
  const writer = createWriterLink({ startWriter: () => startWriter(setup), clock })
  const writes = createGroupCommit<Write, number | string>(
    { commit: writer.commit },
    { maxBatch: MAX_BATCH, maxPending, maxRunning: 1, stallMilliseconds },
  )
  const database = createSqliteDatabase(reader, writes)
  const ledger = createSqliteLedger({ reader, writes })
  return createSqlStore({ ledger, database, random, engine: 'sqlite' }, async () => {
    await writes.close()
    reader.close() // before the writer, which as the last one leaves the file without a log
    await writer.close()
  })
}
