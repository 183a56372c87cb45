import {
  type Compilable,
  type CompiledQuery,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely'
import type { Engine, Schema } from './schema.ts'

/** What the stores with little traffic need of an engine. Every call settles when its signal fires, or rejects. */
export interface SqlDatabase {
  /** Writes queries in the engine's dialect; executes nothing. */
  readonly build: Kysely<Schema>
  /** Rows as of the last commit. */
  read<Row>(query: Compilable<Row>, signal: AbortSignal): Promise<readonly Row[]>
  /** Number of changed rows, durable on resolve. */
  write(query: Compilable, signal: AbortSignal): Promise<number>
  /** Removes what deleted private keys left behind in the engine's files, as far as it can. */
  scrub(signal: AbortSignal): Promise<void>
}

/**
 * A Kysely that only compiles. Queries are executed elsewhere: on SQLite by two connections in two threads, on PostgreSQL in
 * transactions that insist on `synchronous_commit`.
 */
export function createQueryBuilder(engine: Engine): Kysely<Schema> {
  return new Kysely<Schema>({
    dialect:
      engine === 'sqlite'
        ? {
            createAdapter: () => new SqliteAdapter(),
            createDriver: () => new DummyDriver(),
            createIntrospector: (db) => new SqliteIntrospector(db),
            createQueryCompiler: () => new SqliteQueryCompiler(),
          }
        : {
            createAdapter: () => new PostgresAdapter(),
            createDriver: () => new DummyDriver(),
            createIntrospector: (db) => new PostgresIntrospector(db),
            createQueryCompiler: () => new PostgresQueryCompiler(),
          },
  })
}

/** A query compiled once, of which only the text is kept: the parameters it was compiled with stand for their places. */
export function textOf(query: { compile(): CompiledQuery }): string {
  return query.compile().sql
}

/** Rejects instead of starting what nobody waits for any more. */
export function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('The call was given up before it began.')
}
