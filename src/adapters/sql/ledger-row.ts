import { hash } from 'node:crypto'
import type { Claim, LedgerDetails, LedgerEntry, StoredEntry } from '../../audit/ledger.ts'
import type { LedgerTable } from './schema.ts'

/** A row as it is read. */
export type LedgerRow = {
  readonly [C in keyof LedgerTable]: C extends 'position' ? number : LedgerTable[C]
}

/** A row as it is written: the position is the database's to give. */
export type NewRow = Omit<LedgerRow, 'position' | 'digest'> & { readonly digest: Buffer | null }

const textOrNull = (text: string | undefined) => (text === undefined ? null : storedText(text))

/** An entry as a row. */
export function rowOf(entry: LedgerEntry): NewRow {
  return {
    tenant: entry.tenant,
    id: entry.id,
    event: entry.event,
    at: entry.at,
    digest: entry.digest ?? null,
    kid: textOrNull(entry.kid),
    client: textOrNull(entry.client),
    sub: textOrNull(entry.sub),
    upn: textOrNull(entry.upn),
    exp: entry.exp ?? null,
    code: entry.code ?? null,
    trace_id: textOrNull(entry.traceId),
    // JSON.stringify spells U+0000 and lone surrogates in ASCII, so the text can be stored as it is.
    details: JSON.stringify(entry.details),
  }
}

/** The entry that a row holds. */
export function entryOf(row: LedgerRow): StoredEntry {
  const details: LedgerDetails = JSON.parse(row.details)
  return {
    position: row.position,
    id: row.id,
    event: row.event,
    tenant: row.tenant,
    at: row.at,
    ...(row.digest === null ? {} : { digest: Buffer.from(row.digest) }),
    ...(row.kid === null ? {} : { kid: originalText(row.kid) }),
    ...(row.client === null ? {} : { client: originalText(row.client) }),
    ...(row.sub === null ? {} : { sub: originalText(row.sub) }),
    ...(row.upn === null ? {} : { upn: originalText(row.upn) }),
    ...(row.exp === null ? {} : { exp: row.exp }),
    ...(row.code === null ? {} : { code: row.code }),
    ...(row.trace_id === null ? {} : { traceId: originalText(row.trace_id) }),
    details,
  }
}

/** A claim as a row: exactly one of `owner` and `expires_at` is set. */
export type ClaimRow =
  | {
      readonly kind: 'pin'
      readonly tenant: string
      readonly key: string
      readonly owner: string
    }
  | {
      readonly kind: 'assertion' | 'subject'
      readonly tenant: string
      readonly key: string
      readonly expiresAt: number
    }

/** A claim as a row. */
export function claimRowOf(claim: Claim): ClaimRow {
  const { tenant } = claim
  const key = storedKey(claim.key)
  return claim.kind === 'pin'
    ? { kind: 'pin', tenant, key, owner: storedText(claim.owner) }
    : { kind: claim.scope, tenant, key, expiresAt: claim.expiresAt }
}

/** Starts a text that could not be stored as it is. */
const ESCAPE = '\u0001'

/** Longest claim key stored as it is: PostgreSQL refuses index rows of more than about 2700 bytes. */
const LONGEST_KEY = 512

/**
 * A text as a column can hold it, one stored text for each text.
 *
 * A `sub` or `jti` may carry U+0000, which PostgreSQL refuses and with it every other entry of the same commit, or a lone
 * surrogate, which UTF-8 turns into U+FFFD, so that two ids would become one. JSON spells both in ASCII.
 */
export function storedText(text: string): string {
  return text.isWellFormed() && !text.includes('\0') && !text.startsWith(ESCAPE)
    ? text
    : ESCAPE + JSON.stringify(text)
}

/** The text that {@link storedText} was given. */
export function originalText(stored: string): string {
  if (!stored.startsWith(ESCAPE)) return stored
  const text: string = JSON.parse(stored.slice(1))
  return text
}

/** A claim key as the index can hold it: only compared, never read back, so a long one is stored as its SHA-256. */
export function storedKey(key: string): string {
  const stored = storedText(key)
  if (stored.length <= LONGEST_KEY) return stored
  return `${ESCAPE}sha256:${hash('sha256', stored, 'base64url')}`
}
