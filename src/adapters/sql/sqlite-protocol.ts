import type { ClaimRow, NewRow } from './ledger-row.ts'

/** What the writer thread is asked to do. */
export type Write =
  | {
      readonly kind: 'append'
      readonly entry: NewRow | undefined
      readonly claims: readonly ClaimRow[]
    }
  | { readonly kind: 'run'; readonly sql: string; readonly parameters: readonly Value[] }
  /** Empties the write-ahead log into the database file, so that deleted rows are gone from it. */
  | { readonly kind: 'scrub' }

/** What SQLite stores and a thread can be sent. */
export type Value = string | number | null | Uint8Array

/**
 * The parameters of a query.
 * @throws {TypeError} when one of them is nothing SQLite stores.
 */
export function valuesOf(parameters: readonly unknown[]): Value[] {
  return parameters.map((value) => {
    if (typeof value === 'string' || typeof value === 'number' || value === null) return value
    if (value instanceof Uint8Array) return value
    throw new TypeError(`SQLite stores no ${typeof value}.`)
  })
}

/** Statements the writer keeps prepared, with the order of their parameters. */
export interface WriterStatements {
  /** kind, tenant, key, expires_at, now → one change when the claim was made. */
  readonly claimOnce: string
  /** kind, tenant, key → owner. */
  readonly findPin: string
  /** kind, tenant, key, owner. */
  readonly insertPin: string
  /** tenant, id, event, at, digest, kid, client, sub, upn, exp, code, trace_id, details. */
  readonly insertEntry: string
}

/** What the writer thread is started with. */
export interface WriterSetup {
  readonly path: string
  readonly busyMilliseconds: number
  readonly statements: WriterStatements
}

/** Outcome of an append that recorded everything; 0 and above is the index of the first claim that conflicts. */
export const RECORDED = -1

/** For each write: `RECORDED`, a claim index or the number of changed rows; a text is an error of this write alone. */
export type Outcomes = readonly (number | string)[]

/** What the writer answers: outcomes of a durable commit, or why nothing was committed. */
export type Answer = Outcomes | string

export const APPEND = 0
export const RUN = 1
export const SCRUB = 2
