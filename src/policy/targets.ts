import type { RequestEvidence, Trace } from './decision.ts'
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
