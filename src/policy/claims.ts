import type { EntitlementEvidence, Evidence, Grant, RequestEvidence, Trace } from './decision.ts'
import { TOKEN_TTL_CAP_SECONDS } from './options.ts'
import type { PolicyRules } from './rules.ts'

/**
 * Decides which `aud` the issued token carries.
 *
 * `audience` and `resource` may both be given; the token is then for all of them, and each must be one of the client's.
 * Without any, it is for the client's first target: never for nobody, never for everybody (RFC 9068 §3).
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8693.html#section-2.1 RFC 8693 §2.1}
 */
export function chooseAudience(
  rules: PolicyRules,
  wanted: RequestEvidence,
  trace: Trace,
): readonly string[] {
  const { client, audiences, at } = rules
  if (wanted.targets.length === 0) {
    const [first] = client.audiences
    if (first === undefined) {
      trace.deny(
        'target',
        'target_not_allowed',
        'The client has no target.',
        at.audiences,
        'audience',
      )
    }
    trace.keep('target', `default ${first}`, at.audiences)
    return [first]
  }
  for (const target of wanted.targets) {
    if (!audiences.has(target)) {
      trace.deny(
        'target',
        'target_not_allowed',
        'The client may not ask for this target.',
        at.audiences,
        'audience',
      )
    }
  }
  trace.keep('target', wanted.targets.join(' '), at.audiences)
  return wanted.targets
}

/**
 * Decides which scopes are granted: those asked for, all of them or the request is refused, so that nobody works with less
 * than was asked without noticing. When exchanging a token of ours, nothing it did not carry is added.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8693.html#section-2.1 RFC 8693 §2.1}
 */
export function chooseScopes(
  rules: PolicyRules,
  wanted: RequestEvidence,
  carried: readonly string[] | undefined,
  trace: Trace,
): readonly string[] {
  const { scopes, at } = rules
  if (wanted.scopes.length === 0) return carried?.filter((scope) => scopes.has(scope)) ?? []
  for (const scope of wanted.scopes) {
    if (!scopes.has(scope)) {
      trace.deny(
        'scope',
        'scope_not_allowed',
        'The client may not ask for this scope.',
        at.scopes,
        'scope',
      )
    }
    if (carried && !carried.includes(scope)) {
      trace.deny(
        'scope',
        'scope_not_allowed',
        'The subject token does not carry this scope.',
        undefined,
        'scope',
      )
    }
  }
  trace.keep('scope', wanted.scopes.join(' '), at.scopes)
  return wanted.scopes
}

/**
 * Decides which roles the token carries: those of the sources, translated, then cut by the client's ceiling and, when a
 * token of ours is exchanged, by what it carried. Every step can only take away or rename.
 *
 * The result is sorted and free of duplicates, so equal entitlements give equal tokens.
 */
export function chooseRoles(
  rules: PolicyRules,
  entitlements: EntitlementEvidence,
  carried: readonly string[] | undefined,
  trace: Trace,
): readonly string[] {
  const { tenant, at } = rules
  if (entitlements.unknownUser) {
    if (tenant.rules.unknownUser === 'deny') {
      trace.deny(
        'user',
        'unknown_user',
        'The user is not known to the entitlement system.',
        at.unknownUser,
      )
    }
    trace.change('user', 'no source knows the user: taken as no roles', at.unknownUser)
  }
  let roles = translate(rules, entitlements.roles, trace)
  roles = cut(roles, rules.ceiling, 'ceiling', at.ceiling, trace)
  if (carried) roles = cut(roles, new Set(carried), 'carried', undefined, trace)
  if (roles.size === 0) {
    if (tenant.rules.empty === 'deny') {
      trace.deny('empty', 'no_roles', 'The user has no role that this client may carry.', at.empty)
    }
    trace.keep('empty', 'a token without roles is allowed', at.empty)
  }
  return [...roles].toSorted()
}

function translate(rules: PolicyRules, sourceRoles: readonly string[], trace: Trace): Set<string> {
  const { translations, tenant, at } = rules
  const roles = new Set<string>()
  const unmapped: string[] = []
  for (const role of sourceRoles) {
    const known = translations.get(role)
    if (!known) {
      unmapped.push(role)
      continue
    }
    for (const { to, at: written } of known) {
      roles.add(to)
      trace.change('map', `${role} -> ${to}`, written)
    }
  }
  if (unmapped.length > 0) {
    if (tenant.rules.unmapped === 'deny') {
      trace.deny('unmapped', 'no_roles', 'The user has a role without a translation.', at.unmapped)
    }
    if (tenant.rules.unmapped === 'keep') for (const role of unmapped) roles.add(role)
    trace.change('unmapped', `${tenant.rules.unmapped}: ${unmapped.join(' ')}`, at.unmapped)
  }
  return roles
}

function cut(
  roles: Set<string>,
  allowed: ReadonlySet<string>,
  rule: string,
  at: string | undefined,
  trace: Trace,
): Set<string> {
  const removed = [...roles].filter((role) => !allowed.has(role))
  if (removed.length === 0) return roles
  trace.change(rule, `removed: ${removed.join(' ')}`, at)
  return new Set([...roles].filter((role) => allowed.has(role)))
}

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
 * could be kept alive for ever by exchanging it again and again. A caller can ask for less, never for more. Roles that stand in for
 * what no source could say live as short as the failure policy says; the session they begin is as long as any.
 */
export function chooseLifetime(rules: PolicyRules, evidence: Evidence, trace: Trace): Lifetime {
  const { now, request, subject, entitlements } = evidence
  const ttl = Math.min(rules.tenant.rules.ttlSeconds, TOKEN_TTL_CAP_SECONDS)
  const sessionExp = Math.min(
    subject.own?.sessionExp ?? Number.POSITIVE_INFINITY,
    now + TOKEN_TTL_CAP_SECONDS,
  )
  const session = subject.own ? sessionExp : now + ttl
  const { maxLifeSeconds = ttl } = entitlements
  if (maxLifeSeconds < ttl)
    trace.change('degraded', `${entitlements.status} entitlements: at most ${maxLifeSeconds} s`)
  const exp = Math.min(now + Math.min(ttl, request.expiresIn ?? ttl, maxLifeSeconds), session)
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
