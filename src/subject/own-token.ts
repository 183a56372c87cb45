import { hash } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Secret } from '../lib/secret.ts'
import { isJsonObject } from '../lib/strict-json.ts'
import type { Tenant } from '../tenant/tenant.ts'
import {
  checkTimes,
  isNumericDate,
  readAudience,
  readIssuer,
  readText,
  wrongType,
} from './claims.ts'
import { readAct } from './delegation.ts'
import { type Claims, foldMediaType } from './jws.ts'
import type { VerificationKey } from './keys.ts'
import type { AlgorithmName, TokenLimits } from './options.ts'
import { isSameAlgorithm } from './signature.ts'
import type { OwnClaims } from './verified.ts'
import type { OpenedToken, VerifiedCache } from './verified-cache.ts'

/** What this room must be told about tokens of our own. */
export interface OwnTokens {
  /**
   * Our key of this id if tokens it signed may still be accepted (active or verify-only); the same object while nothing about it
   * changed, since the verified-token cache is bound to it. From memory; a kid
   * not known to sign may make the ring be read again, as another replica may have rotated just now.
   * @throws {Refusal} `signer_unavailable` when that read fails and the answer is not known.
   */
  keyFor(
    tenant: string,
    kid: string,
    alg: AlgorithmName,
  ): VerificationKey | undefined | Promise<VerificationKey | undefined>
  /**
   * True when a token whose `header.payload` has this SHA-256 was recorded by the tenant's ledger.
   * @throws {Error} when that cannot be found out before `signal` fires.
   */
  recorded(tenant: string, digest: Buffer, signal: AbortSignal): Promise<boolean>
  /**
   * True when every token that this key signed is cut off. From memory.
   * @throws {Refusal} `ledger_unavailable` when the rules in memory are too old to know.
   */
  cutOff(tenant: string, kid: string): boolean
}

/** What {@link verifyOwnToken} needs. */
export interface OwnTokenDeps {
  readonly own: OwnTokens
  readonly cache: VerifiedCache
  readonly clock: Clock
}

/** A token of ours that is genuine, recorded and within its times. */
export interface OwnToken {
  readonly claims: OwnClaims
  /** The claims as they are in the token, for an introspection answer. */
  readonly payload: Claims
  readonly kid: string
  readonly alg: AlgorithmName
}

/**
 * Verifies a token that says it is ours: signature by a key of this tenant, type, claims, times, and that the ledger knows it. A token
 * nobody recorded was not issued by us even if its signature holds: that is what a stolen signing key makes.
 *
 * `exp` is met to the second, without skew: we wrote it. `iat` and `nbf` are, since another replica's clock wrote them.
 * @throws {Refusal} `untrusted_issuer` when it is not this tenant's; `revoked` when its key was cut off; `ledger_unavailable`; and as
 * the checks say.
 */
export async function verifyOwnToken(
  deps: OwnTokenDeps,
  tenant: Tenant,
  token: Secret,
  limits: TokenLimits,
  signal: AbortSignal,
): Promise<OwnToken> {
  const text = token.reveal()
  return verifyOpenedOwnToken(
    deps,
    tenant,
    text,
    deps.cache.open(tenant.name, text, limits),
    limits,
    signal,
  )
}

/** {@link verifyOwnToken} for a token that was parsed already. */
export async function verifyOpenedOwnToken(
  { own, cache, clock }: OwnTokenDeps,
  tenant: Tenant,
  text: string,
  opened: OpenedToken,
  limits: TokenLimits,
  signal: AbortSignal,
): Promise<OwnToken> {
  const { payload, alg, kid } = opened
  if (readIssuer(payload) !== tenant.issuer) {
    throw new Refusal(
      'untrusted_issuer',
      'The token was not issued by this server for this tenant.',
    )
  }
  if (kid === undefined) throw notOurs()
  const key = await own.keyFor(tenant.name, kid, alg)
  // Asked for every time, also of a token that was verified a moment ago: its key may have been killed since. Before the key is missed,
  // as a killed key is no longer given out, and its tokens were ours all the same.
  refuseCutOff(own, tenant, kid)
  if (key === undefined || !isSameAlgorithm(key.alg, alg)) throw notOurs()
  cache.confirm(text, opened, key)
  // Exactly the type we issue: other things that we sign must never pass for a token (RFC 8725 §3.12).
  if (opened.typ === undefined || foldMediaType(opened.typ) !== 'at+jwt')
    throw new Refusal('wrong_type', 'The token was signed here but is no access token.')
  const known = opened.memory.recorded
  const claims = known ?? readOwnClaims(payload)
  if (payload['tenant'] !== tenant.name) throw wrongType('tenant', 'the name of this tenant')
  const now = clock.now() / 1000
  if (now >= claims.exp) throw new Refusal('expired', 'The token has expired. Get a new one.')
  checkTimes(payload, { now, skewSeconds: limits.skewSeconds })
  if (known) return { claims, payload, kid, alg }
  if (!(await isRecorded(own, tenant, text, signal))) throw notOurs()
  // Once more, as the ledger may have taken seconds to answer.
  refuseCutOff(own, tenant, kid)
  opened.memory.recorded = claims
  return { claims, payload, kid, alg }
}

async function isRecorded(
  own: OwnTokens,
  tenant: Tenant,
  text: string,
  signal: AbortSignal,
): Promise<boolean> {
  // Of `header.payload`, as the ledger keeps it: an ECDSA signature has a second valid form (r, n-s), its input has not.
  const digest = hash('sha256', text.slice(0, text.lastIndexOf('.')), 'buffer')
  try {
    return await own.recorded(tenant.name, digest, signal)
  } catch (error) {
    throw new Refusal(
      'ledger_unavailable',
      'The record of issued tokens could not be read. Try again in a few seconds.',
      {
        cause: error,
        retryAfterSeconds: 5,
      },
    )
  }
}

function readOwnClaims(payload: Claims): OwnClaims {
  const jti = readText(payload, 'jti')
  const { exp, iat, session_exp: sessionExp, cnf, scope } = payload
  if (!isNumericDate(exp)) throw wrongType('exp', 'a time in seconds')
  if (!isNumericDate(iat)) throw wrongType('iat', 'a time in seconds')
  if (!isNumericDate(sessionExp)) throw wrongType('session_exp', 'a time in seconds')
  if (cnf !== undefined && !isJsonObject(cnf)) throw wrongType('cnf', 'an object')
  if (scope !== undefined && typeof scope !== 'string') throw wrongType('scope', 'a text')
  return {
    iss: readText(payload, 'iss'),
    sub: readText(payload, 'sub'),
    aud: readAudience(payload),
    exp,
    iat,
    jti,
    clientId: readText(payload, 'client_id'),
    idp: readText(payload, 'idp'),
    roles: readTexts(payload, 'roles') ?? [],
    scopes: scope === undefined ? [] : scope.split(' ').filter((value) => value !== ''),
    upn: payload['upn'] === undefined ? undefined : readText(payload, 'upn'),
    originJti: payload['origin_jti'] === undefined ? jti : readText(payload, 'origin_jti'),
    lineage: readTexts(payload, 'lineage') ?? [],
    sessionExp,
    act: readAct(payload),
    cnf,
  }
}

function readTexts(payload: Claims, name: string): readonly string[] | undefined {
  const value = payload[name]
  if (value === undefined) return undefined
  if (!Array.isArray(value) || !value.every((element) => typeof element === 'string'))
    throw wrongType(name, 'a list of texts')
  return value
}

function refuseCutOff(own: OwnTokens, tenant: Tenant, kid: string): void {
  if (own.cutOff(tenant.name, kid))
    throw new Refusal('revoked', 'The key of the token was cut off. Get a new token.')
}

function notOurs(): Refusal {
  return new Refusal('invalid_signature', 'The token was not one that this server issued.')
}
