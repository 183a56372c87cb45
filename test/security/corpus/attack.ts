/** What a row of the corpus says, as data. */
import type { RefusalCode } from '../../../src/lib/refusal.ts'
import type { Forge } from './forge.ts'
import type { CorpusWorld } from './world.ts'

/**
 * Where a token comes in: as `subject_token` in the form at /token, in the JSON body and as Bearer at /v1/token/exchange; as
 * `actor_token`; as `client_assertion`; as `token` at /introspect.
 *
 * The bearer token of the admin listener is no door of this order: it is an opaque break-glass token, compared by its hash, and
 * nothing there reads a JWT. The door comes with the login of operators by OIDC.
 */
export const DOORS = ['form', 'json', 'bearer', 'actor', 'assertion', 'introspect'] as const
export type Door = (typeof DOORS)[number]

export const SUBJECT_DOORS = ['form', 'json', 'bearer'] as const satisfies readonly Door[]
/** Where tokens of an IdP come in. */
export const IDP_DOORS = [...SUBJECT_DOORS, 'actor'] as const satisfies readonly Door[]

/** A spoilt token and what has to come of it, at every door unless `doors` names fewer. */
export interface Attack {
  readonly row: number
  readonly name: string
  /** The token of this forge's kind, spoilt. */
  readonly spoil: (forge: Forge, world: CorpusWorld) => string
  /** The refusal of a subject or actor token; an assertion is `client_auth_failed` unless its keys cannot be fetched, an introspected token inactive. */
  readonly code: RefusalCode
  readonly doors?: readonly Door[]
  /** Doors at which something else is due. */
  readonly at?: Partial<Record<Door, RefusalCode>>
  /** Declared `subject_token_type` or `actor_token_type`; a JWT when left out. */
  readonly type?: 'jwt' | 'id_token' | 'access_token'
  /** The token is put into the ledger before it is brought, as at /introspect every token is. */
  readonly issued?: true
  /** Refused before there is anything to record. */
  readonly unrecorded?: true
  /** Requests that may leave, at most; none when left out. */
  readonly outbound?: number
}

/** Attacks of one row that share everything but their token. */
export function attacks(
  row: number,
  code: RefusalCode,
  cases: Readonly<Record<string, Attack['spoil']>>,
  more: Partial<Attack> = {},
): readonly Attack[] {
  return Object.entries(cases).map(([name, spoil]) => ({ row, code, name, spoil, ...more }))
}

/** One case for each value, named by it. */
export function each<T>(
  values: readonly T[],
  spoil: (value: T) => Attack['spoil'],
): Readonly<Record<string, Attack['spoil']>> {
  return Object.fromEntries(values.map((value) => [printable(value), spoil(value)]))
}

/** A token with this header; an undefined member is left out. */
export const withHeader =
  (header: Readonly<Record<string, unknown>>): Attack['spoil'] =>
  (forge) =>
    forge.token({}, header)

/** A token with these claims. */
export const withClaims =
  (claims: Readonly<Record<string, unknown>>): Attack['spoil'] =>
  (forge) =>
    forge.token(claims)

/** A short name for a value. */
export function printable(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined'
  const plain = text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`)
  return plain.length > 90 ? `${plain.slice(0, 60)}… (${plain.length})` : plain
}
