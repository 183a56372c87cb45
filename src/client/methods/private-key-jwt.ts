import { generateKeyPairSync } from 'node:crypto'
import type { Claim } from '../../audit/ledger.ts'
import type { Clock } from '../../lib/clock.ts'
import { isRefusal } from '../../lib/refusal.ts'
import type { Secret } from '../../lib/secret.ts'
import type { ParsedJws } from '../../subject/jws.ts'
import type { PublicKeys, VerificationKey } from '../../subject/keys.ts'
import type { AlgorithmName, TokenLimits } from '../../subject/options.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import { notAuthenticated } from '../failure.ts'
import type { Client } from '../options.ts'

/** `client_assertion_type` of a JWT (RFC 7523 §2.2). */
export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** Longest life an assertion may give itself, `exp - iat`: a leaked one is of use no longer than this. */
const MAX_LIFE_SECONDS = 300
const MAX_JTI_LENGTH = 128
/** `typ` values, folded. None at all is common (RFC 7523 names none); ours by name is RFC 10070's. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'client-authentication+jwt'])

/** What checking assertions needs; parsing and signatures are the subject room's. */
export interface AssertionDeps {
  readonly clock: Clock
  readonly publicKeys: PublicKeys
  /** Reads a compact JWS strictly, within the size limit. @throws {Refusal} */
  readonly parseAssertion: (token: string) => ParsedJws
  readonly verifySignature: (
    key: VerificationKey,
    signingInput: string,
    signature: Buffer,
  ) => boolean
  /** Algorithms an assertion may be signed with; asymmetric ones only. */
  readonly algorithms: readonly AlgorithmName[]
}

/** An assertion as it was presented. */
export interface PresentedAssertion {
  readonly assertion: Secret
  readonly type: string
  /** `client_id` parameter, which need not be sent (RFC 7521 §4.2). */
  readonly clientId: string | undefined
}

/** A client and the `jti` that must become used before it may get an answer. */
export interface AssertedClient {
  readonly client: Client
  readonly claims: readonly Claim[]
}

/** Checks one assertion. @throws {Refusal} `client_auth_failed`. */
export type CheckAssertion = (
  tenant: Tenant,
  presented: PresentedAssertion,
  signal: AbortSignal,
) => Promise<AssertedClient>

/**
 * Authentication by signed assertion (RFC 7523 §3 as changed by RFC 10070).
 *
 * Claims come before the signature, although nothing is believed before it: they can only refuse, and refusing first
 * means that a stranger's garbage makes no key set be fetched.
 */
export function createAssertionCheck(
  deps: AssertionDeps,
  limits: () => Pick<TokenLimits, 'skewSeconds'>,
): CheckAssertion {
  const decoy = createDecoy(deps)
  return async (tenant, { assertion, type, clientId }, signal) => {
    if (type !== JWT_BEARER)
      throw notAuthenticated('a client_assertion_type that is not jwt-bearer')
    const jws = parse(deps, assertion)
    const { skewSeconds } = limits()
    const claimed = claimedIdentity(jws, clientId)
    checkAudience(jws.payload['aud'], tenant.issuer)
    const expiry = checkTimes(jws.payload, deps.clock.now() / 1000, skewSeconds)
    const jti = readJti(jws.payload['jti'])

    const client = tenant.clients.get(claimed)
    if (client?.auth.method !== 'private_key_jwt' || client.disabled) {
      decoy(jws)
      throw notAuthenticated(describeOther(client))
    }
    if (!(await isSigned(deps, tenant, client, client.auth.keys, jws, signal)))
      throw notAuthenticated(`the signature of the assertion is not by the client ${client.id}`)
    return { client, claims: [onceOnly(tenant, client, jti, expiry + skewSeconds)] }
  }
}

function parse({ parseAssertion }: AssertionDeps, assertion: Secret): ParsedJws {
  try {
    return parseAssertion(assertion.reveal())
  } catch (error) {
    if (isRefusal(error)) throw notAuthenticated('an unreadable assertion', error)
    throw error
  }
}

/** The client an assertion says it is from: `iss` and `sub` alike (RFC 7523 §3, items 1 and 2.B). */
function claimedIdentity({ typ, payload }: ParsedJws, clientId: string | undefined): string {
  // Any other type is a JWT made for another purpose, e.g. an access token or an event (RFC 8725 §3.11).
  if (typ !== undefined && !TYPES.has(typ.toLowerCase().replace(/^application\//, '')))
    throw notAuthenticated('the typ of the assertion is not one of a client assertion')
  const { iss, sub } = payload
  if (typeof iss !== 'string' || iss !== sub)
    throw notAuthenticated('iss and sub of the assertion are not one client id')
  if (clientId !== undefined && clientId !== iss)
    throw notAuthenticated('client_id is not the client of the assertion')
  return iss
}

/**
 * RFC 10070: the issuer, as the only value and not in an array. An assertion for several servers, or for an endpoint
 * URL that another server may claim as its own, can be played on by one of them (CVE-2025-27370, CVE-2025-27371).
 */
function checkAudience(aud: unknown, issuer: string): void {
  if (aud !== issuer)
    throw notAuthenticated('aud of the assertion is not our issuer as a single string')
}

/** The `exp`, after all times were checked. `iat` is required, since without it nobody knows how long it was to live. */
function checkTimes(payload: ParsedJws['payload'], now: number, skewSeconds: number): number {
  const { exp, iat, nbf } = payload
  if (!isNumericDate(exp)) throw notAuthenticated('the assertion has no exp')
  if (!isNumericDate(iat)) throw notAuthenticated('the assertion has no iat')
  if (exp <= now - skewSeconds) throw notAuthenticated('the assertion has expired')
  if (iat > now + skewSeconds) throw notAuthenticated('iat of the assertion is in the future')
  if (exp <= iat || exp - iat > MAX_LIFE_SECONDS)
    throw notAuthenticated(
      `the assertion lives ${exp - iat} s, which is not 1 to ${MAX_LIFE_SECONDS}`,
    )
  if (nbf !== undefined && !(isNumericDate(nbf) && nbf <= now + skewSeconds))
    throw notAuthenticated('nbf of the assertion is in the future or no date')
  return exp
}

// Infinity passes here and fails at every comparison that follows.
function isNumericDate(value: unknown): value is number {
  return typeof value === 'number'
}

function readJti(jti: unknown): string {
  // No control characters: a NUL cannot be stored by every database, and what cannot be stored cannot be used up.
  if (typeof jti !== 'string' || jti.length < 1 || jti.length > MAX_JTI_LENGTH || !isPlain(jti))
    throw notAuthenticated(`the assertion has no jti of 1 to ${MAX_JTI_LENGTH} plain characters`)
  return jti
}

function isPlain(text: string): boolean {
  return !/\p{Cc}/u.test(text)
}

/** Whether a key of the client signed it: the one that its kid names, or the one that took over that kid a moment ago. */
async function isSigned(
  { publicKeys, algorithms, verifySignature }: AssertionDeps,
  tenant: Tenant,
  client: Client,
  source: Extract<Client['auth'], { method: 'private_key_jwt' }>['keys'],
  { alg, kid, signingInput, signature }: ParsedJws,
  signal: AbortSignal,
): Promise<boolean> {
  const owner = { kind: 'client', tenant: tenant.name, name: client.id } as const
  try {
    const key = await publicKeys.keyFor(source, algorithms, { alg, kid }, signal, owner)
    if (verifySignature(key, signingInput, signature)) return true
    const other = await publicKeys.replacementFor(source, algorithms, key, signal, owner)
    return other !== undefined && verifySignature(other, signingInput, signature)
  } catch (error) {
    // An outage is none of the client's doing: told that its credential is wrong, it would stop, or be shut out for trying again.
    if (isRefusal(error, 'invalid_signature') || isRefusal(error, 'algorithm_not_allowed'))
      throw notAuthenticated(`no key for the assertion of the client ${client.id}`, error)
    throw error
  }
}

function onceOnly(tenant: Tenant, client: Client, jti: string, until: number): Claim {
  return {
    kind: 'once',
    scope: 'assertion',
    tenant: tenant.name,
    // A client id has no `|`, so no two pairs have one key.
    key: `${client.id}|${jti}`,
    expiresAt: Math.ceil(until * 1000),
  }
}

function describeOther(client: Client | undefined): string {
  if (!client) return 'an assertion for an unknown client'
  if (client.disabled) return `the client ${client.id} is disabled`
  return `an assertion for the client ${client.id}, which uses ${client.auth.method}`
}

/**
 * A verification like a real one, for clients that have no keys. Its result is not looked at, and nothing is fetched:
 * the time of an answer then says little about whether the client exists.
 */
function createDecoy({ verifySignature }: AssertionDeps): (jws: ParsedJws) => void {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key: VerificationKey = { kid: undefined, alg: 'ES256', key: publicKey }
  // Scalars in range, or the check would end before any arithmetic.
  const signature = Buffer.alloc(64, 1)
  return ({ signingInput }) => {
    verifySignature(key, signingInput, signature)
  }
}
