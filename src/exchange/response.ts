import { hash } from 'node:crypto'
import type { Keys, SigningKey } from '../keys/keys.ts'
import type { Clock } from '../lib/clock.ts'
import { newTokenId, type Random } from '../lib/id.ts'
import { Refusal, type RefusalCode } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { accessTokenClaims } from '../policy/claims.ts'
import type { Decision, Grant } from '../policy/decision.ts'
import type { VerifiedActor, VerifiedSubject } from '../subject/verified.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { expired, usableUntil } from './request.ts'

/** A token whose bytes are final and which nobody has signed yet. Without its signature it is worth nothing. */
export interface UnsignedToken {
  readonly jti: string
  readonly key: SigningKey
  readonly claims: Readonly<Record<string, unknown>>
  readonly signingInput: string
  /** SHA-256 of the signing input. */
  readonly digest: Buffer
  readonly grant: Grant
}

/** Makes tokens in two halves, so that the record fits between. */
export interface Issuing {
  /** Fixes every byte that will be signed. @throws {Refusal} `signer_unavailable` when the tenant has no active key. */
  prepare(tenant: Tenant, grant: Grant): UnsignedToken
  /** Signs exactly those bytes. @throws {Refusal} `signer_unavailable`. */
  sign(unsigned: UnsignedToken): Promise<Secret>
}

/** Issues RFC 9068 access tokens with the tenant's active key. */
export function createIssuing(deps: {
  readonly keys: Pick<Keys, 'algorithmFor' | 'signingKey' | 'sign'>
  readonly random: Random
}): Issuing {
  const headers = new WeakMap<SigningKey, string>()
  const headerOf = (key: SigningKey): string => {
    let header = headers.get(key)
    if (header === undefined) {
      header = base64url(JSON.stringify({ alg: key.alg, typ: 'at+jwt', kid: key.kid }))
      headers.set(key, header)
    }
    return header
  }
  return {
    prepare(tenant, grant) {
      const jti = newTokenId(deps.random)
      // One key signs a token for several targets: the first target's algorithm decides.
      const key = deps.keys.signingKey(tenant.name, deps.keys.algorithmFor(grant.aud[0] ?? ''))
      const claims = accessTokenClaims(grant, { issuer: tenant.issuer, tenant: tenant.name, jti })
      const signingInput = `${headerOf(key)}.${base64url(JSON.stringify(claims))}`
      return {
        jti,
        key,
        claims,
        signingInput,
        // By way of a text: asked for a buffer, Node allocates one outside of the heap each time, for twice the price.
        digest: Buffer.from(hash('sha256', signingInput, 'binary'), 'latin1'),
        grant,
      }
    },
    async sign({ key, signingInput }) {
      const signature = await deps.keys.sign(key, signingInput)
      return new Secret(`${signingInput}.${signature.toString('base64url')}`)
    },
  }
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** The grant of a decision. @throws {Refusal} when the decision is no. */
export function granted(decision: Decision): Grant {
  if (decision.outcome === 'grant') return decision.grant
  throw refusalOf(decision)
}

/** A negative decision as the refusal that the caller gets. */
export function refusalOf(denied: {
  readonly code: RefusalCode
  readonly message: string
  readonly param?: string | undefined
}): Refusal {
  return new Refusal(
    denied.code,
    denied.message,
    denied.param === undefined ? {} : { param: denied.param },
  )
}

/** What tells whether a token is still good. */
export interface Validity {
  readonly clock: Clock
  /** @throws {Refusal} while the time is in doubt, so that nothing is issued that depends on it. From memory. */
  readonly mustBeSure: () => void
  /** True when every token that this key of ours signed is cut off. From memory. @throws {Refusal} when that is not known. */
  readonly cutOff: (tenant: string, kid: string) => boolean
}

/** @throws {Refusal} when the time is in doubt; `expired`, `revoked` when a token that was good when it came has run out or was cut off since. */
export function stillUsable(
  { clock, mustBeSure, cutOff }: Validity,
  tenant: Tenant,
  subject: VerifiedSubject,
  actor: VerifiedActor | undefined,
): void {
  mustBeSure()
  if (clock.now() >= usableUntil(subject, actor) * 1000) throw expired()
  for (const ownKid of [subject.ownKid, actor?.ownKid]) {
    if (ownKid !== undefined && cutOff(tenant.name, ownKid))
      throw new Refusal(
        'revoked',
        'The token was cut off while it was being exchanged. Get a new one.',
      )
  }
}

/** What an exchange answers (RFC 8693 §2.2.1), still before it is written as JSON. */
export interface ExchangeResponse {
  readonly accessToken: Secret
  readonly issuedTokenType: string
  readonly expiresIn: number
  /** The granted scopes; absent when none were granted. */
  readonly scope: string | undefined
  /** Response headers that tell the client of its rate limits; none when it has none. */
  readonly rate: Readonly<Record<string, string>>
}

/** The successful response of RFC 8693 §2.2.1 for this grant. */
export function answer(
  token: Secret,
  grant: Grant,
  requestedTokenType: string | undefined,
  rate: Readonly<Record<string, string>>,
): ExchangeResponse {
  return {
    accessToken: token,
    issuedTokenType: requestedTokenType ?? 'urn:ietf:params:oauth:token-type:access_token',
    expiresIn: grant.exp - grant.iat,
    scope: grant.scopes.length > 0 ? grant.scopes.join(' ') : undefined,
    rate,
  }
}

/** The members of the JSON answer. `token_type` is Bearer: sender constraint comes later. */
export function responseBody(response: ExchangeResponse): Record<string, unknown> {
  return {
    access_token: response.accessToken.reveal(),
    issued_token_type: response.issuedTokenType,
    token_type: 'Bearer',
    expires_in: response.expiresIn,
    ...(response.scope === undefined ? {} : { scope: response.scope }),
  }
}
