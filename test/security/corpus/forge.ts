/** Makes the tokens that the corpus then spoils: one forge for each kind of token a door expects. */
import { randomUUID } from 'node:crypto'
import { type Minted, mint, newTestKey, type TestKey } from '../../fakes/jwt.ts'

/** The keys of one issuer, one for each family of algorithms. */
export interface ForgeKeys {
  readonly es: TestKey
  readonly rs: TestKey
  readonly ps: TestKey
  readonly ed: TestKey
}

/** Makes good tokens of one kind, or good tokens with one thing wrong. */
export interface Forge {
  /** `iss` of its tokens. */
  readonly issuer: string
  readonly keys: ForgeKeys
  claims(over?: Readonly<Record<string, unknown>>): Record<string, unknown>
  header(over?: Readonly<Record<string, unknown>>): Record<string, unknown>
  /** A token with other claims or another header; an undefined member is left out. */
  token(
    over?: Readonly<Record<string, unknown>>,
    header?: Readonly<Record<string, unknown>>,
    minted?: Partial<Minted>,
  ): string
}

/** What differs between forges. */
export interface ForgeParts {
  readonly issuer: string
  readonly keys: ForgeKeys
  readonly claims: () => Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
}

/** A forge of these parts; every token has a `jti` of its own unless told otherwise. */
export function createForge({ issuer, keys, claims, header = {} }: ForgeParts): Forge {
  const claimsOf: Forge['claims'] = (over = {}) => ({
    jti: randomUUID(),
    iss: issuer,
    ...claims(),
    ...over,
  })
  return {
    issuer,
    keys,
    claims: claimsOf,
    header: (over = {}) => ({ alg: keys.es.alg, kid: keys.es.kid, ...header, ...over }),
    token: (over = {}, more = {}, minted = {}) =>
      mint({ key: keys.es, header: { ...header, ...more }, payload: claimsOf(over), ...minted }),
  }
}

/** A fresh key of each family. */
export function newForgeKeys(prefix: string): ForgeKeys {
  return {
    es: newTestKey('ES256', `${prefix}-es`),
    rs: newTestKey('RS256', `${prefix}-rs`),
    ps: newTestKey('PS256', `${prefix}-ps`),
    ed: newTestKey('EdDSA', `${prefix}-ed`),
  }
}

/** The three parts of a compact token. */
export function parts(token: string): [string, string, string] {
  return token.split('.') as [string, string, string]
}
