import type { Act, ActorEvidence, Evidence, MayAct, Trace } from './decision.ts'
import type { PolicyRules } from './rules.ts'

/** Longest chain of actors in a token (RFC 8693 §4.1 sets none). */
export const MAX_ACTORS = 4

/**
 * Decides the `act` of the token.
 *
 * With an actor token, the actor must be named by the subject token's `may_act`, or, where the subject token says nothing,
 * by the client's `actors`; it goes outermost and earlier actors stay inside. Without one, an earlier `act` is kept, and a
 * `may_act` must name the client: otherwise somebody else would be acting, unnamed.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8693.html#section-4.1 RFC 8693 §4.1}, §4.4
 */
export function chooseActor(rules: PolicyRules, evidence: Evidence, trace: Trace): Act | undefined {
  const { subject, actor } = evidence
  const act = actor ? delegate(rules, evidence, actor, trace) : subject.act
  if (!actor && subject.mayAct && !namesClient(subject.mayAct, evidence.clientId)) {
    trace.deny(
      'may_act',
      'actor_not_allowed',
      'The subject token names another party that may act for it.',
    )
  }
  if (chainLength(act) > MAX_ACTORS) {
    trace.deny(
      'act',
      'actor_not_allowed',
      `More than ${MAX_ACTORS} actors would stand in the token.`,
    )
  }
  return act
}

function delegate(rules: PolicyRules, evidence: Evidence, actor: ActorEvidence, trace: Trace): Act {
  const { subject } = evidence
  if (actor.delegated) {
    trace.deny(
      'act',
      'actor_not_allowed',
      'The actor token was itself delegated.',
      undefined,
      'actor_token',
    )
  }
  if (actor.sub === subject.sub) {
    trace.deny(
      'act',
      'actor_not_allowed',
      'Actor and subject are the same.',
      undefined,
      'actor_token',
    )
  }
  if (subject.mayAct) {
    if (!namesActor(rules, evidence, actor, subject.mayAct)) {
      trace.deny(
        'may_act',
        'actor_not_allowed',
        'The subject token does not name this actor.',
        undefined,
        'actor_token',
      )
    }
    trace.keep('may_act', `${actor.sub} is named by the subject token`)
  } else if (rules.client.actors.includes(actor.sub)) {
    trace.keep('actors', `${actor.sub} may act through this client`, rules.at.actors)
  } else {
    trace.deny(
      'actors',
      'actor_not_allowed',
      'This actor may not act for others.',
      rules.at.actors,
      'actor_token',
    )
  }
  return { sub: actor.sub, ...(subject.act ? { act: subject.act } : {}) }
}

/**
 * `may_act` speaks the language of whoever issued the subject token: its `sub` is that issuer's unless `iss` says
 * otherwise, so a like-named person of another IdP is somebody else.
 */
function namesActor(
  rules: PolicyRules,
  { subject }: Evidence,
  actor: ActorEvidence,
  mayAct: MayAct,
): boolean {
  if (mayAct.sub === undefined && mayAct.client_id === undefined) return false
  if (actor.issuer !== (mayAct.iss ?? subject.issuer)) return false
  const prefix =
    actor.issuer === rules.tenant.issuer
      ? ''
      : (rules.tenant.idps.get(actor.idp)?.subjectPrefix ?? '')
  if (mayAct.sub !== undefined && `${prefix}${mayAct.sub}` !== actor.sub) return false
  return mayAct.client_id === undefined || mayAct.client_id === actor.clientId
}

function namesClient(mayAct: MayAct, clientId: string): boolean {
  if (mayAct.client_id !== undefined)
    return mayAct.client_id === clientId && mayAct.sub === undefined
  return mayAct.sub === clientId
}

function chainLength(act: Act | undefined): number {
  let length = 0
  for (let link = act; link; link = link.act) length += 1
  return length
}
