import { isJsonObject } from '../lib/strict-json.ts'
import type { Act, MayAct } from '../policy/decision.ts'
import { wrongType } from './claims.ts'
import type { Claims } from './jws.ts'

/** Longest chain of actors that is read at all; what is granted has a shorter limit, set by the policy. */
const MAX_CHAIN = 8

/**
 * The `act` claim (RFC 8693 §4.1) reduced to what identifies actors, outermost first; other members say nothing we act on.
 * @throws {Refusal} `malformed_token`
 */
export function readAct(payload: Claims): Act | undefined {
  return payload['act'] === undefined ? undefined : toAct(payload['act'], MAX_CHAIN)
}

function toAct(value: unknown, left: number): Act {
  if (!isJsonObject(value) || left === 0) throw wrongType('act', 'a chain of at most 8 actors')
  const { sub, iss, act } = value
  return {
    sub: text('act', 'sub', sub),
    ...(iss === undefined ? {} : { iss: text('act', 'iss', iss) }),
    ...(act === undefined ? {} : { act: toAct(act, left - 1) }),
  }
}

/**
 * The `may_act` claim (RFC 8693 §4.4).
 * @throws {Refusal} `malformed_token`, also where it names nobody: read as "anybody" it would be worse than none.
 */
export function readMayAct(payload: Claims): MayAct | undefined {
  const value = payload['may_act']
  if (value === undefined) return undefined
  if (!isJsonObject(value)) throw wrongType('may_act', 'an object')
  const { sub, iss, client_id } = value
  if (sub === undefined && client_id === undefined)
    throw wrongType('may_act', 'an object that names an actor')
  return {
    ...(sub === undefined ? {} : { sub: text('may_act', 'sub', sub) }),
    ...(iss === undefined ? {} : { iss: text('may_act', 'iss', iss) }),
    ...(client_id === undefined ? {} : { client_id: text('may_act', 'client_id', client_id) }),
  }
}

function text(claim: string, name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '')
    throw wrongType(claim, `an object whose ${name} is a text`)
  return value
}
