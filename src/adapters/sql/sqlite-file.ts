import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { Kysely, type SqliteDatabase, SqliteDialect } from 'kysely'
import { migrate } from './migrations.ts'
import type { Schema } from './schema.ts'
import { valuesOf } from './sqlite-protocol.ts'

/** node:sqlite in the shape Kysely expects of a driver. */
function driverOf(db: DatabaseSync): SqliteDatabase {
  return {
    close: () => db.close(),
    prepare(text) {
      const statement = db.prepare(text)
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...valuesOf(parameters)),
        run: (parameters) => statement.run(...valuesOf(parameters)),
        iterate: (parameters) => statement.iterate(...valuesOf(parameters)),
      }
    },
  }
}

const SQLITE_BUSY = 5
const RETRY_MILLISECONDS = 10

const isBusy = (error: unknown) =>
  error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY

/**
 * Puts the file into WAL mode and takes the write lock. It tries again by itself: SQLite's own waiting would stop the event
 * loop, and with it the very migration it waits for when this process opens the file twice.
 */
async function lock(db: DatabaseSync, busyMilliseconds: number): Promise<void> {
  for (let waited = 0; ; waited += RETRY_MILLISECONDS) {
    try {
      const mode = db.prepare('pragma journal_mode = wal').get()
      if (mode?.['journal_mode'] !== 'wal')
        throw new Error('The SQLite file could not be put into WAL mode; keep it on a local disk.')
      db.exec('pragma synchronous = full; begin immediate')
      return
    } catch (error) {
      if (!isBusy(error) || waited >= busyMilliseconds) throw error
      await setTimeout(RETRY_MILLISECONDS)
    }
  }
}

/**
 * Makes the file what the store needs: present, readable by its owner only, in WAL mode, with the newest schema. Several
 * processes may do so at once.
 */
export async function prepareFile(path: string, busyMilliseconds: number): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // SQLite gives the log the mode of the database, so 0600 here covers both; a file that exists keeps its mode.
  closeSync(openSync(path, 'a', 0o600))
  const db = new DatabaseSync(path, { timeout: 0 })
  try {
    await lock(db, busyMilliseconds)
    const dialect = new SqliteDialect({ database: driverOf(db) })
    await migrate(new Kysely<Schema>({ dialect }), 'sqlite')
    db.exec('commit')
  } finally {
    db.close() // rolls back what was not committed
  }
}

/** A connection that only reads. Readers and the writer do not wait for each other in WAL mode. */
export function openReader(path: string, busyMilliseconds: number): DatabaseSync {
  return new DatabaseSync(path, { readOnly: true, timeout: busyMilliseconds })
}

/** The rows a statement finds; `never` lets the caller name the shape that its query gives them. */
export function readRows(
  statement: StatementSync,
  parameters: readonly unknown[],
): readonly never[] {
  const rows: unknown = statement.all(...valuesOf(parameters))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the tables are STRICT and nobody else writes them
  return rows as readonly never[]
}
