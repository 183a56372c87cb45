import { Refusal } from '../lib/refusal.ts'
import type { Claims } from './jws.ts'
import type { Idp } from './options.ts'

/** The moment a token is judged at. */
export interface Moment {
  /** Seconds since the epoch, with fractions. */
  readonly now: number
  /** Clock difference tolerated, in seconds. */
  readonly skewSeconds: number
}

/** The claims every subject token must have, with their types established. */
export interface CheckedClaims {
  readonly sub: string
  readonly aud: readonly string[]
  readonly exp: number
  readonly iat: number
}

/** Letters, digits, marks, punctuation, symbols, plain spaces: no control, bidi, format, private or unassigned character. */
const PRINTABLE_SUB = /^[^\p{C}\p{Zl}\p{Zp}]+$/u
const MAX_SUB_CHARACTERS = 255

/**
 * Checks `sub`, `aud`, the times and the claims this IdP must send (RFC 7519 §4.1, RFC 8725 §3.8 and §3.9).
 *
 * @throws {Refusal} `missing_claim`, `malformed_token` for a wrong type, `wrong_audience`, `expired`, `not_yet_valid`.
 */
export function checkClaims(payload: Claims, idp: Idp, moment: Moment): CheckedClaims {
  const sub = readSubject(payload)
  const aud = readAudience(payload)
  if (!aud.some((value) => idp.audiences.includes(value))) {
    throw new Refusal(
      'wrong_audience',
      'The token was made for another audience. Ask its issuer for one whose aud names this server.',
    )
  }
  const { exp, iat } = checkTimes(payload, moment)
  if (moment.now > iat + idp.maxAgeSeconds + moment.skewSeconds) {
    throw new Refusal(
      'expired',
      'The token was issued too long ago to be brought here. Get a new one.',
    )
  }
  for (const name of idp.requiredClaims) {
    if (isLeftOut(payload, name)) throw leftOut(name)
    if (payload[name] === undefined || payload[name] === null) throw missing(name)
  }
  return { sub, aud, exp, iat }
}

/** Checks `exp`, `nbf` and `iat`. A token is expired from `exp` on, that second included (RFC 7519 §4.1.4). */
export function checkTimes(
  payload: Claims,
  { now, skewSeconds }: Moment,
): { readonly exp: number; readonly iat: number } {
  const exp = readTime(payload, 'exp')
  const iat = readTime(payload, 'iat')
  const nbf = payload['nbf'] === undefined ? undefined : readTime(payload, 'nbf')
  if (now >= exp + skewSeconds)
    throw new Refusal('expired', 'The token has expired. Get a new one.')
  if (nbf !== undefined && nbf > now + skewSeconds)
    throw new Refusal(
      'not_yet_valid',
      'The token was brought before its nbf. Wait, or check the clocks.',
    )
  if (iat > now + skewSeconds)
    throw new Refusal('not_yet_valid', 'The token was issued in the future. Check the clocks.')
  return { exp, iat }
}

/** `iss`, which must be one text. */
export function readIssuer(payload: Claims): string {
  return readText(payload, 'iss')
}

/** A claim that must be a text. @throws {Refusal} `missing_claim`, or `malformed_token` where it is something else. */
export function readText(payload: Claims, name: string): string {
  const value = payload[name]
  if (value === undefined) throw missing(name)
  if (typeof value !== 'string' || value === '') throw wrongType(name, 'a text')
  return value
}

/** `aud` as a list (RFC 7519 §4.1.3). */
export function readAudience(payload: Claims): readonly string[] {
  const { aud } = payload
  if (aud === undefined) throw missing('aud')
  const values: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (values.length === 0 || !values.every(isText))
    throw wrongType('aud', 'a text or a list of texts')
  return values
}

/** The refusal for a claim that is absent. */
export function missing(name: string): Refusal {
  return new Refusal('missing_claim', `The token lacked the claim ${printable(name)}.`)
}

/** The refusal for a claim of the wrong type. */
export function wrongType(name: string, expected: string): Refusal {
  return new Refusal(
    'malformed_token',
    `The claim ${printable(name)} of the token was not ${expected}.`,
  )
}

/** Claims that are named but not carried are noted up to this number and length; more are of no interest. */
const MOST_LEFT_OUT = 8
const LONGEST_CLAIM_NAME = 64

/**
 * Claims that the issuer left out of the token because they were too large, and only said where to ask for them: distributed claims
 * (OpenID Connect Core §5.6.2), which is what Entra does to users in more than 200 groups, or its `hasgroups`.
 *
 * That a claim is left out says nothing about what is in it; above all not that it is empty. What somebody may do is read from
 * entitlement sources alone here, so it costs nobody a role; but it is noted, for the operator who wonders where the groups are.
 */
export function leftOutClaims(payload: Claims): readonly string[] {
  const named = namedElsewhere(payload)
  const names = Object.keys(named).filter(({ length }) => length <= LONGEST_CLAIM_NAME)
  if (payload['hasgroups'] === true && !names.includes('groups')) names.unshift('groups')
  return names.slice(0, MOST_LEFT_OUT)
}

/** True also where a part of the claim is carried: a part of a list is not the list. */
function isLeftOut(payload: Claims, name: string): boolean {
  if (name === 'groups' && payload['hasgroups'] === true) return true
  return Object.hasOwn(namedElsewhere(payload), name)
}

function namedElsewhere(payload: Claims): object {
  const names = payload['_claim_names']
  return typeof names === 'object' && names !== null && !Array.isArray(names) ? names : {}
}

function leftOut(name: string): Refusal {
  return new Refusal(
    'missing_claim',
    `The identity provider left the claim ${printable(name)} out of the token because it was too large (overage). Have it send fewer values.`,
  )
}

/** NumericDate (RFC 7519 §2): a finite JSON number, fractions allowed, within what can be counted exactly. */
export function isNumericDate(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < Number.MAX_SAFE_INTEGER
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function readTime(payload: Claims, name: 'exp' | 'nbf' | 'iat'): number {
  const value = payload[name]
  if (value === undefined) throw missing(name)
  // `1e999` parses to Infinity, which is a number, and would never expire.
  if (!isNumericDate(value)) throw wrongType(name, 'a time in seconds')
  return value
}

function readSubject(payload: Claims): string {
  const sub = readText(payload, 'sub')
  if (sub.length > MAX_SUB_CHARACTERS || !PRINTABLE_SUB.test(sub))
    throw wrongType('sub', 'a printable text of at most 255 characters')
  return sub
}

/** Claim names come from the configuration and may hold anything; an error_description may not (RFC 6749 §5.2). */
function printable(name: string): string {
  return name.replace(/[^\x20-\x21\x23-\x5b\x5d-\x7e]/g, '?')
}
