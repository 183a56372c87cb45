import type { Client } from '../client/options.ts'
import type { RefusalCode } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { chooseActor } from './actor.ts'
import { chooseAudience, chooseLifetime, chooseRoles, chooseScopes } from './claims.ts'
import type {
  Decision,
  Evidence,
  Grant,
  OwnTokenEvidence,
  RequestEvidence,
  Trace,
  TraceStep,
} from './decision.ts'
import { type PolicyRules, policyRules } from './rules.ts'

/** A decision that says no. */
export type Refused = Extract<Decision, { outcome: 'refuse' }>

/** Most ancestors a token names; a longer chain could not be cut off at its root (architecture §6). */
export const MAX_LINEAGE = 8

/**
 * Decides whether a token is granted and what it says. The only place where that is decided: issuing, previewing,
 * explaining and replaying all call it.
 *
 * Pure: the same evidence under the same rules gives the same decision. Nothing here reads a clock, a file or a network.
 */
export function decide(rules: PolicyRules, evidence: Evidence): Decision {
  const trace = new Steps()
  try {
    return { outcome: 'grant', grant: grant(rules, evidence, trace), trace: trace.steps }
  } catch (error) {
    return refused(error, trace)
  }
}

/**
 * What can be refused before any upstream is asked: a client's right to exchange, its targets and scopes. `decide` checks
 * the same again with the same functions; this spares a caller's mistake the price of a look-up.
 */
export function decideAsk(rules: PolicyRules, wanted: RequestEvidence): Refused | undefined {
  const trace = new Steps()
  try {
    mayExchange(rules, trace)
    chooseAudience(rules, wanted, trace)
    chooseScopes(rules, wanted, undefined, trace)
    return undefined
  } catch (error) {
    return refused(error, trace)
  }
}

/** A denial as the decision it is. Rethrows what is none. */
function refused(error: unknown, trace: Steps): Refused {
  if (!(error instanceof Denied)) throw error
  const { code, message, param } = error
  return {
    outcome: 'refuse',
    code,
    message,
    ...(param === undefined ? {} : { param }),
    trace: trace.steps,
  }
}

function grant(rules: PolicyRules, evidence: Evidence, trace: Trace): Grant {
  const { subject, request, entitlements } = evidence
  mayExchange(rules, trace)
  // In this order, which is that of decideAsk: a request that is wrong twice is refused for the same reason by both.
  const aud = chooseAudience(rules, request, trace)
  const scopes = chooseScopes(rules, request, subject.own?.scopes, trace)
  mayBring(rules, evidence, trace)
  const {
    actor,
    subject: { act: acted, mayAct },
  } = evidence
  const act = actor || acted || mayAct ? chooseActor(rules, evidence, trace) : undefined
  const roles = chooseRoles(rules, entitlements, subject.own?.roles, trace)
  const lifetime = chooseLifetime(rules, evidence, trace)
  return {
    sub: subject.sub,
    aud,
    clientId: rules.client.id,
    roles,
    scopes,
    ...lifetime,
    idp: subject.idp,
    ...(subject.upn === undefined ? {} : { upn: subject.upn }),
    ...(act === undefined ? {} : { act }),
    ...(subject.authTime === undefined ? {} : { authTime: subject.authTime }),
    ...(subject.acr === undefined ? {} : { acr: subject.acr }),
    ...(subject.amr === undefined ? {} : { amr: subject.amr }),
    ...(subject.own === undefined ? {} : derived(subject.own, trace)),
    entitlements: { status: entitlements.status, at: entitlements.at },
  }
}

function mayExchange({ client, at }: PolicyRules, trace: Trace): void {
  if (client.disabled || !client.grants.has('exchange')) {
    trace.deny('grant', 'grant_not_allowed', 'The client may not exchange tokens.', at.grants)
  }
  trace.keep('grant', 'exchange', at.grants)
}

/** Deny by default: an explicit rule must tie this client to this IdP, or to our own tokens. */
function mayBring({ client, tenant, at }: PolicyRules, { subject }: Evidence, trace: Trace): void {
  if (!client.idps.includes(subject.idp) || tenant.idps.get(subject.idp)?.disabled !== false) {
    trace.deny(
      'idp',
      'untrusted_issuer',
      'The client may not bring tokens of this issuer.',
      at.idps,
      'subject_token',
    )
  }
  trace.keep('idp', subject.idp, at.idps)
  if (!subject.own) return
  if (!client.exchangeOwn) {
    trace.deny(
      'own',
      'untrusted_issuer',
      'The client may not exchange tokens issued here.',
      at.exchangeOwn,
      'subject_token',
    )
  }
  trace.keep('own', `derived from ${subject.own.jti}`, at.exchangeOwn)
}

/** What a token made from one of ours inherits: its root, its ancestors and its confirmation. */
function derived(
  own: OwnTokenEvidence,
  trace: Trace,
): Pick<Grant, 'originJti' | 'lineage' | 'cnf'> {
  const lineage = [...own.lineage, own.jti]
  if (lineage.length > MAX_LINEAGE) {
    trace.deny(
      'lineage',
      'malformed_request',
      `The subject token already has ${MAX_LINEAGE} ancestors.`,
      undefined,
      'subject_token',
    )
  }
  return { originJti: own.originJti, lineage, ...(own.cnf === undefined ? {} : { cnf: own.cnf }) }
}

/** Ends a decision with a refusal. Thrown inside the policy room only; `decide` turns it into a value. */
class Denied extends Error {
  override readonly name = 'Denied'
  readonly code: RefusalCode
  readonly param: string | undefined

  constructor(code: RefusalCode, message: string, param?: string) {
    super(message)
    this.code = code
    this.param = param
  }
}

/** Collects the steps of one decision. */
class Steps implements Trace {
  readonly steps: TraceStep[] = []

  keep(rule: string, detail: string, at?: string): void {
    this.#add(rule, 'keep', detail, at)
  }

  change(rule: string, detail: string, at?: string): void {
    this.#add(rule, 'change', detail, at)
  }

  deny(rule: string, code: RefusalCode, message: string, at?: string, param?: string): never {
    this.#add(rule, 'deny', message, at)
    throw new Denied(code, message, param)
  }

  #add(rule: string, effect: TraceStep['effect'], detail: string, at: string | undefined): void {
    this.steps.push(at === undefined ? { rule, effect, detail } : { rule, effect, detail, at })
  }
}

/**
 * {@link policyRules}, remembered per client object. A reloaded configuration brings new objects, so nothing outlives the
 * configuration it was made from.
 */
export function createPolicyRules(): (tenant: Tenant, client: Client) => PolicyRules {
  const prepared = new WeakMap<Client, PolicyRules>()
  return (tenant, client) => {
    const known = prepared.get(client)
    if (known && known.tenant === tenant) return known
    const rules = policyRules(tenant, client)
    prepared.set(client, rules)
    return rules
  }
}
