import type { Evidence, Grant, Trace } from './decision.ts'
import { TOKEN_TTL_CAP_SECONDS } from './options.ts'
import type { PolicyRules } from './rules.ts'

/** The times of a token, as NumericDates. */
export interface Lifetime {
  readonly iat: number
  readonly exp: number
  readonly sessionExp: number
}

/**
 * Decides how long the token lives.
 *
 * A session begins with the first exchange and ends at its `session_exp`, which no later exchange moves: otherwise a token
 * could be kept alive for ever by exchanging it again and again. A caller can ask for less, never for more.
 */
export function chooseLifetime(rules: PolicyRules, evidence: Evidence, trace: Trace): Lifetime {
  const { now, request, subject } = evidence
  const ttl = Math.min(rules.tenant.rules.ttlSeconds, TOKEN_TTL_CAP_SECONDS)
  const sessionExp = Math.min(
    subject.own?.sessionExp ?? Number.POSITIVE_INFINITY,
    now + TOKEN_TTL_CAP_SECONDS,
  )
  const session = subject.own ? sessionExp : now + ttl
  const exp = Math.min(now + ttl, now + (request.expiresIn ?? ttl), session)
  if (exp <= now)
    trace.deny(
      'session',
      'expired',
      'The session has ended; get a new token from the identity provider.',
    )
  trace.keep('lifetime', `${exp - now} s, session ends in ${session - now} s`, rules.at.ttl)
  return { iat: now, exp, sessionExp: session }
}

/**
 * The payload of the token for a grant (RFC 9068 §2.2), in the order in which it is written.
 *
 * `aud` is a string when there is one target: several verifiers compare it as text. `roles` follows RFC 9068 §2.2.3.1.
 * Nothing from outside can add or replace a member: every one of them is named here.
 */
export function accessTokenClaims(
  grant: Grant,
  issued: { readonly issuer: string; readonly tenant: string; readonly jti: string },
): Record<string, unknown> {
  return {
    iss: issued.issuer,
    sub: grant.sub,
    aud: grant.aud.length === 1 ? grant.aud[0] : grant.aud,
    exp: grant.exp,
    iat: grant.iat,
    nbf: grant.iat,
    jti: issued.jti,
    client_id: grant.clientId,
    // `undefined` members are left out by JSON.stringify.
    scope: grant.scopes.length > 0 ? grant.scopes.join(' ') : undefined,
    roles: grant.roles,
    tenant: issued.tenant,
    idp: grant.idp,
    upn: grant.upn,
    origin_jti: grant.originJti ?? issued.jti,
    lineage: grant.lineage,
    session_exp: grant.sessionExp,
    entitlements: grant.entitlements,
    act: grant.act,
    cnf: grant.cnf,
    auth_time: grant.authTime,
    acr: grant.acr,
    amr: grant.amr,
  }
}
