import type { Claim } from '../audit/ledger.ts'
import type { Client } from '../client/options.ts'
import type { Clock } from '../lib/clock.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { Secret } from '../lib/secret.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type CheckedClaims, checkClaims, readIssuer } from './claims.ts'
import {
  idpActor,
  idpSub,
  idpSubject,
  onceClaim,
  ownActor,
  ownSubject,
  pinClaim,
  proofRequired,
} from './evidence.ts'
import { parseCompactJws } from './jws.ts'
import type { PublicKeys } from './keys.ts'
import type { Idp, TokenLimits } from './options.ts'
import { type OwnToken, type OwnTokens, verifyOpenedOwnToken } from './own-token.ts'
import { checkPresenter, readPresenter, wrongPresenter } from './presenter.ts'
import { checkTokenType } from './token-type.ts'
import type { PresentedToken, VerifiedActor, VerifiedSubject } from './verified.ts'
import type { OpenedToken, VerifiedCache } from './verified-cache.ts'

/** What {@link createSubjectVerifier} needs. */
export interface SubjectVerifierDeps {
  readonly publicKeys: PublicKeys
  readonly own: OwnTokens
  readonly cache: VerifiedCache
  readonly clock: Clock
}

/** Says whether tokens that callers bring are genuine. */
export interface SubjectVerifier {
  /**
   * For whom the exchange is asked.
   * @throws {Refusal} with the code of the first check that failed; `idp_keys_unavailable` or `ledger_unavailable` when a check
   *   could not be made.
   */
  subject(
    tenant: Tenant,
    client: Client,
    presented: PresentedToken,
    signal: AbortSignal,
  ): Promise<VerifiedSubject>
  /**
   * Who wants to act (RFC 8693 §1.1). The same checks, but no user name: an actor may be a workload.
   * @throws {Refusal} as {@link SubjectVerifier.subject}
   */
  actor(
    tenant: Tenant,
    client: Client,
    presented: PresentedToken,
    signal: AbortSignal,
  ): Promise<VerifiedActor>
  /** The client a token says it was issued to. Unverified: it only chooses the client whose rules the token must then satisfy. */
  peekPresenter(token: Secret): string | undefined
}

interface Genuine {
  readonly idp: Idp
  readonly opened: OpenedToken
  readonly usableUntil: number
}

/** A token of an IdP of the tenant. */
interface GenuineIdpToken extends Genuine {
  readonly kind: 'idp'
  readonly claims: CheckedClaims
  readonly once: readonly Claim[]
  readonly limits: TokenLimits
}

/** A token of an IdP whose subject was read before, for the same client. */
interface KnownIdpToken extends Genuine {
  readonly kind: 'known'
  readonly claims: CheckedClaims
  readonly once: readonly Claim[]
  readonly subject: Pick<VerifiedSubject, 'evidence' | 'claims'>
}

/** A token of our own. */
interface GenuineOwnToken extends Genuine {
  readonly kind: 'own'
  readonly token: OwnToken
}

/** The verifier of subject and actor tokens. `limits` is asked for every token, so that a change takes effect at once. */
export function createSubjectVerifier(
  deps: SubjectVerifierDeps,
  limits: () => TokenLimits,
): SubjectVerifier {
  async function verify(
    tenant: Tenant,
    client: Client,
    presented: PresentedToken,
    signal: AbortSignal,
  ): Promise<GenuineIdpToken | KnownIdpToken | GenuineOwnToken> {
    const bounds = limits()
    const text = presented.token.reveal()
    const opened = deps.cache.open(tenant.name, text, bounds)
    const issuer = readIssuer(opened.payload)
    if (issuer === tenant.issuer) {
      if (!client.exchangeOwn) throw untrustedIssuer()
      const token = await verifyOpenedOwnToken(deps, tenant, text, opened, bounds, signal)
      checkTokenType(opened.typ, opened.payload, presented.type)
      return { kind: 'own', token, opened, ...permitOwn(tenant, client, token) }
    }
    const idp = trustedIdp(tenant, client, issuer)
    // The key comes from this issuer and no other: a key of one IdP never verifies a token of another (RFC 8725 §3.8).
    const owner = { kind: 'idp', tenant: tenant.name, name: idp.name } as const
    const { keySource, algorithms } = idp
    const key = await deps.publicKeys.keyFor(keySource, algorithms, opened, signal, owner)
    // Before any claim is judged: what a forgery is refused for must not depend on what the forger wrote.
    try {
      deps.cache.confirm(text, opened, key)
    } catch (error) {
      // An issuer that gave this kid to another key is rare, and a forgery is not: only the first of many asks, the rest are refused.
      const other = await deps.publicKeys.replacementFor(keySource, algorithms, key, signal, owner)
      if (other === undefined) throw error
      deps.cache.confirm(text, opened, other)
    }
    const before = opened.memory.judged
    const known =
      before?.idp === idp &&
      before.client === client &&
      before.type === presented.type &&
      before.limits === bounds
        ? before
        : undefined
    if (!known) checkTokenType(opened.typ, opened.payload, presented.type)
    const { skewSeconds } = bounds
    const claims = checkClaims(opened.payload, idp, { now: deps.clock.now() / 1000, skewSeconds })
    const usableUntil = claims.exp + skewSeconds
    if (known)
      return {
        kind: 'known',
        idp,
        opened,
        usableUntil,
        claims,
        once: known.once,
        subject: known.subject,
      }
    checkPresenter(opened.payload, claims.aud, idp, client)
    if (opened.payload['cnf'] !== undefined) throw proofRequired()
    if (isOfAnother(tenant, idp, claims.sub)) throw untrustedIssuer()
    const once = idp.onceOnly ? [onceClaim(tenant, idp, text, opened.payload, usableUntil)] : []
    return { kind: 'idp', idp, opened, usableUntil, claims, once, limits: bounds }
  }

  return {
    async subject(tenant, client, presented, signal) {
      const genuine = await verify(tenant, client, presented, signal)
      const { idp, opened, usableUntil } = genuine
      const { kid, alg } = opened
      if (genuine.kind === 'known') return { ...genuine.subject, usableUntil, kid, alg }
      const own = genuine.kind === 'own'
      const evidence = own
        ? ownSubject(idp, genuine.token)
        : idpSubject(idp, genuine.claims, opened.payload)
      const claims = own ? [] : [...genuine.once]
      if (evidence.upn !== undefined) {
        // Also for a token of ours: its UPN may have been released and given to somebody else since it was issued.
        const sub = own ? idpSub(idp, genuine.token.claims) : genuine.claims.sub
        claims.push(pinClaim(tenant, idp, sub, evidence.upn))
      }
      if (!own)
        opened.memory.judged = {
          idp,
          client,
          type: presented.type,
          limits: genuine.limits,
          once: genuine.once,
          subject: { evidence, claims },
        }
      return { evidence, claims, usableUntil, kid, alg, ...(own ? { ownKid: kid } : {}) }
    },

    async actor(tenant, client, presented, signal) {
      const genuine = await verify(tenant, client, presented, signal)
      const { idp, opened, usableUntil } = genuine
      return genuine.kind === 'own'
        ? { evidence: ownActor(genuine.token), usableUntil, claims: [], ownKid: opened.kid }
        : {
            evidence: idpActor(idp, genuine.claims, opened.payload),
            usableUntil,
            claims: genuine.once,
          }
    },

    peekPresenter(token) {
      try {
        return readPresenter(parseCompactJws(token.reveal(), limits()).payload)
      } catch (error) {
        if (isRefusal(error)) return undefined
        throw error
      }
    },
  }
}

/**
 * The IdP with exactly this `iss`, if this client may bring its tokens. Compared byte for byte: no case folding, no slash added or
 * taken away, no URL parsing (CVE-2025-30144).
 */
function trustedIdp(tenant: Tenant, client: Client, issuer: string): Idp {
  for (const name of client.idps) {
    const idp = tenant.idps.get(name)
    if (idp !== undefined && idp.issuer === issuer && !idp.disabled) return idp
  }
  throw untrustedIssuer()
}

/** Whether this client may exchange this token of ours: one issued to it, or one brought to it as a resource server. */
function permitOwn(
  tenant: Tenant,
  client: Client,
  { claims }: OwnToken,
): { readonly idp: Idp; readonly usableUntil: number } {
  const isNamed =
    claims.clientId === client.id ||
    claims.aud.some((target) => client.resourceFor.includes(target))
  if (!isNamed) throw wrongPresenter()
  if (client.auth.method === 'public' && claims.clientId !== client.id) throw wrongPresenter()
  if (claims.cnf !== undefined) throw proofRequired()
  // An IdP that is disabled, or no longer this client's, is so for what was once made from its tokens too (CVE-2026-1486).
  const idp = client.idps.includes(claims.idp) ? tenant.idps.get(claims.idp) : undefined
  if (idp === undefined || idp.disabled) throw untrustedIssuer()
  return { idp, usableUntil: claims.exp }
}

/**
 * Whether a subject of this IdP would pass for one of another: an IdP without a prefix of its own could name somebody
 * `partner:alice` and be taken for the IdP whose prefix is `partner:`.
 */
function isOfAnother(tenant: Tenant, idp: Idp, sub: string): boolean {
  const ours = idp.subjectPrefix + sub
  for (const other of tenant.idps.values()) {
    if (
      other !== idp &&
      other.subjectPrefix.length > idp.subjectPrefix.length &&
      ours.startsWith(other.subjectPrefix)
    )
      return true
  }
  return false
}

function untrustedIssuer(): Refusal {
  return new Refusal(
    'untrusted_issuer',
    'The token was issued by an issuer whose tokens this client may not bring. Bring one of a configured identity provider.',
  )
}
