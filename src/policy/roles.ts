import type { EntitlementEvidence, Trace } from './decision.ts'
import type { PolicyRules } from './rules.ts'

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
