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

/**
 * A batch as one flat array: structured cloning of it costs half of what nested objects cost. Digests travel as
 * Latin-1 text, since cloning a small Buffer copies the whole 8 KiB slab it was cut from.
 */
export function encodeBatch(writes: readonly Write[], now: number): Value[] {
  const flat: Value[] = [now, writes.length]
  for (const write of writes) {
    if (write.kind === 'append') encodeAppend(flat, write.entry, write.claims)
    else if (write.kind === 'run') {
      flat.push(RUN, write.sql, write.parameters.length)
      for (const value of write.parameters) {
        flat.push(value instanceof Uint8Array ? new Uint8Array(value) : value)
      }
    } else flat.push(SCRUB)
  }
  return flat
}

function encodeAppend(flat: Value[], entry: NewRow | undefined, claims: readonly ClaimRow[]): void {
  flat.push(APPEND, claims.length)
  for (const claim of claims) {
    flat.push(
      claim.kind,
      claim.tenant,
      claim.key,
      claim.kind === 'pin' ? claim.owner : claim.expiresAt,
    )
  }
  if (entry === undefined) {
    flat.push(0)
    return
  }
  flat.push(
    1,
    entry.tenant,
    entry.id,
    entry.event,
    entry.at,
    entry.digest === null ? null : entry.digest.toString('latin1'),
    entry.kid,
    entry.client,
    entry.sub,
    entry.upn,
    entry.exp,
    entry.code,
    entry.trace_id,
    entry.details,
  )
}
