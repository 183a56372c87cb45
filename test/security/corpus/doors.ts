/** Brings a spoilt token to a door and insists on everything that has to come of it. */
import assert from 'node:assert/strict'
import type { StoredEntry } from '../../../src/audit/ledger.ts'
import type { RefusalCode } from '../../../src/lib/refusal.ts'
import { type Answer, ask, CLIENT, EXCHANGE, JWT_TYPE } from '../../fakes/sts.ts'
import { type Attack, DOORS, type Door } from './attack.ts'
import type { Forge } from './forge.ts'
import type { CorpusWorld } from './world.ts'

const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:'
export const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** `error` and status of every code a case here expects: by hand from RFC 8693 §2.2.2 and architecture §6, not from the product. */
export const EXPECTED: Readonly<Partial<Record<RefusalCode, readonly [number, string]>>> = {
  malformed_token: [400, 'invalid_request'],
  token_too_large: [400, 'invalid_request'],
  invalid_signature: [400, 'invalid_request'],
  algorithm_not_allowed: [400, 'invalid_request'],
  expired: [400, 'invalid_request'],
  not_yet_valid: [400, 'invalid_request'],
  untrusted_issuer: [400, 'invalid_request'],
  wrong_audience: [400, 'invalid_request'],
  wrong_presenter: [400, 'invalid_request'],
  wrong_type: [400, 'invalid_request'],
  missing_claim: [400, 'invalid_request'],
  invalid_upn: [400, 'invalid_request'],
  upn_conflict: [400, 'invalid_request'],
  replayed: [400, 'invalid_request'],
  unknown_user: [400, 'invalid_request'],
  no_roles: [400, 'invalid_request'],
  actor_not_allowed: [400, 'invalid_request'],
  proof_required: [400, 'invalid_request'],
  malformed_request: [400, 'invalid_request'],
  unsupported_grant: [400, 'unsupported_grant_type'],
  target_not_allowed: [400, 'invalid_target'],
  scope_not_allowed: [400, 'invalid_scope'],
  client_auth_failed: [401, 'invalid_client'],
  grant_not_allowed: [400, 'unauthorized_client'],
  unknown_tenant: [404, 'invalid_request'],
  method_not_allowed: [405, 'invalid_request'],
  body_too_large: [413, 'invalid_request'],
  unsupported_media_type: [415, 'invalid_request'],
  entitlements_unavailable: [503, 'temporarily_unavailable'],
  idp_keys_unavailable: [503, 'temporarily_unavailable'],
}

/** The forge whose tokens a door expects. */
export function forgeFor(world: CorpusWorld, door: Door): Forge {
  if (door === 'actor') return world.actor
  if (door === 'assertion') return world.assertion
  return door === 'introspect' ? world.own : world.subject
}

/** Sends a token to a door, everything else being as it should. */
export function bring(
  world: CorpusWorld,
  door: Door,
  token: string,
  type: Attack['type'] = 'jwt',
): Promise<Answer> {
  const { sts } = world
  const subject = {
    grant_type: EXCHANGE,
    subject_token_type: `${TOKEN_TYPE}jwt`,
    subject_token: door === 'form' ? token : world.subject.token(),
  }
  switch (door) {
    case 'form':
      return sts.token({ ...subject, subject_token_type: TOKEN_TYPE + type })
    case 'actor':
      return sts.token({ ...subject, actor_token: token, actor_token_type: TOKEN_TYPE + type })
    case 'assertion':
      return sts.token(
        { ...subject, client_assertion_type: JWT_BEARER, client_assertion: token },
        { headers: {} },
      )
    case 'json':
      return json(
        world,
        { authorization: basic(world) },
        {
          subject_token: token,
          subject_token_type: TOKEN_TYPE + type,
        },
      )
    case 'bearer':
      return json(
        world,
        { authorization: `Bearer ${token}` },
        {
          client_id: CLIENT,
          client_secret: sts.clientSecret,
          subject_token_type: TOKEN_TYPE + type,
        },
      )
    case 'introspect':
      return sts.introspect(token)
    default:
      return assert.fail(`no door ${String(door satisfies never)}`)
  }
}

/** The usual client by Basic. */
export function basic({ sts }: CorpusWorld): string {
  return `Basic ${Buffer.from(`${CLIENT}:${sts.clientSecret}`).toString('base64')}`
}

/** POST to the JSON API. */
export function json(
  { sts }: CorpusWorld,
  headers: Readonly<Record<string, string>>,
  body: unknown,
): Promise<Answer> {
  return ask(`${sts.url}/v1/token/exchange`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

/**
 * What a door has to say, or undefined where the token cannot get there: a header field holds printable ASCII, loses spaces at
 * its ends, and all of a request's have 16 KiB.
 */
export function expected(
  attack: Attack,
  door: Door,
  token: string,
): RefusalCode | 'inactive' | undefined {
  const special = attack.at?.[door]
  if (special !== undefined) return special
  if (door === 'introspect') return 'inactive'
  // That a key set cannot be fetched is none of the client's doing; everything else about an assertion looks alike.
  if (door === 'assertion')
    return attack.code === 'idp_keys_unavailable' ? attack.code : 'client_auth_failed'
  if (door !== 'bearer') return attack.code
  if (!/^[\x20-\x7e]*$/.test(token) || token !== token.trim() || token.length > 15_000)
    return undefined
  // RFC 6750 §2.1: what is no b64token is no bearer credential, whatever else it is.
  return /^[A-Za-z0-9._~+/-]+=*$/.test(token) ? attack.code : 'malformed_request'
}

/** True when this attack is for this door; whether the token fits through, {@link expected} says. */
export function concerns(attack: Attack, door: Door): boolean {
  return (attack.doors ?? DOORS).includes(door)
}

/** Runs one case. @returns false where the token cannot get to the door. */
export async function run(world: CorpusWorld, attack: Attack, door: Door): Promise<boolean> {
  const token = attack.spoil(forgeFor(world, door), world)
  const due = expected(attack, door, token)
  if (due === undefined) return false
  // A token at /introspect is recorded, so that it is inactive for what is wrong with it and not for being unknown.
  if ((attack.issued || door === 'introspect') && token.split('.').length === 3)
    await world.record(token)
  const watch = watchful(world)
  const answer = await bring(world, door, token, attack.type)
  if (due === 'inactive') assert.equal(answer.text, '{"active":false}')
  else mustRefuse(answer, due)
  await watch(answer, [token], attack.outbound ?? 0)
  if (due !== 'inactive' && due !== 'malformed_request' && attack.unrecorded !== true)
    await mustBeRecorded(world, answer, due)
  return true
}

/** Insists on status, `error` and `error_code`, and on the form of the whole body. */
export function mustRefuse(answer: Answer, code: RefusalCode, status?: number): void {
  const [usual, error] = EXPECTED[code] ?? assert.fail(`no expectation for ${code}`)
  const { body } = answer
  assert.deepEqual(
    [answer.status, body['error'], body['error_code']],
    [status ?? usual, error, code],
    answer.text,
  )
  // RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
  assert.match(String(body['error_description']), /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  assert.equal(body['status'], answer.status)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  assert.equal(body['access_token'], undefined)
}

/**
 * Remembers log and requests as they are; the function it returns then insists that no request left beyond `outbound`, none at
 * all to the attacker, and that nothing of the secrets is in the answer, in the log or in the ledger.
 */
export function watchful(
  world: CorpusWorld,
): (answer: Answer, secrets: readonly string[], outbound: number) => Promise<void> {
  const before = { log: world.sts.logged().length, requests: world.outbound() }
  return async (answer, secrets, outbound) => {
    const left = world.outbound() - before.requests
    assert.ok(left <= outbound, `${left} requests left, ${outbound} were due`)
    assert.deepEqual(world.attacker.requests, [])
    const entries = await recent(world, 2)
    const all = [...secrets, world.sts.clientSecret]
    mustNotTell(answer.text + [...answer.headers].join(), all, 'the answer')
    mustNotTell(world.sts.logged().slice(before.log), all, 'the log')
    mustNotTell(JSON.stringify(entries), all, 'the ledger')
  }
}

const WINDOW = 16

/** Insists that no 16 characters in a row of any part of a secret are in `text`. */
export function mustNotTell(text: string, secrets: readonly string[], where: string): void {
  const seen = new Set<string>()
  for (let at = 0; at + WINDOW <= text.length; at++) seen.add(text.slice(at, at + WINDOW))
  for (const secret of secrets) {
    for (const part of secret.split(/[^A-Za-z0-9_-]+/)) {
      for (let at = 0; at + WINDOW <= part.length; at++) {
        const piece = part.slice(at, at + WINDOW)
        // A run of one character is no secret of anybody's.
        if (seen.has(piece) && new Set(piece).size > 2)
          assert.fail(`${where} tells ${piece} of ${secret.slice(0, 60)}`)
      }
    }
  }
}

/** Insists that the newest entry of the ledger is this refusal, under the request id that the caller was told. */
export async function mustBeRecorded(
  world: CorpusWorld,
  answer: Answer,
  code: RefusalCode,
): Promise<void> {
  const [entry] = await recent(world, 1)
  assert.equal(entry?.event, 'refused')
  assert.equal(entry.code, code)
  assert.equal(entry.traceId, answer.body['request_id'])
}

/** The newest entries of the ledger. */
export function recent(
  { sts }: CorpusWorld,
  limit: number,
  tenant = 'acme',
): Promise<readonly StoredEntry[]> {
  return sts.deployment.stores.ledger.recent(tenant, limit, undefined, AbortSignal.timeout(5000))
}

/** A good token brought to each door is accepted: whatever is refused there is refused for what is wrong with it. */
export async function mustAcceptGoodTokens(world: CorpusWorld): Promise<void> {
  for (const door of DOORS) {
    const token = forgeFor(world, door).token()
    if (door === 'introspect') await world.record(token)
    const answer = await bring(world, door, token)
    assert.equal(answer.status, 200, `${door}: ${answer.text}`)
    if (door === 'introspect') assert.equal(answer.body['active'], true, answer.text)
    else assert.equal(typeof answer.body['access_token'], 'string')
  }
}

/** A form for /token with a good subject token. */
export function goodForm(world: CorpusWorld): Record<string, string> {
  return {
    grant_type: EXCHANGE,
    subject_token_type: JWT_TYPE,
    subject_token: world.subject.token(),
  }
}

/** Any request to the public listener. */
export function send(world: CorpusWorld, path: string, init: RequestInit): Promise<Answer> {
  return ask(`${world.sts.url}${path}`, init)
}
