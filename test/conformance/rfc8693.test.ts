/** RFC 8693, line by line of the checklist: each test carries the number of its line. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type Answer,
  API,
  ask,
  at,
  CLIENT,
  EXCHANGE,
  encode,
  JWT_TYPE,
  type Sts,
  startSts,
} from '../fakes/sts.ts'

const type = (name: string) => `urn:ietf:params:oauth:token-type:${name}`
const NARROW = 'narrow-web'

function refused(answer: Answer, error: string, code: string, status = 400): void {
  assert.deepEqual(
    [answer.status, answer.body['error'], answer.body['error_code']],
    [status, error, code],
    answer.text,
  )
}

/** The claims of the token in an answer. */
function claimsOf(answer: Answer): Record<string, unknown> {
  assert.equal(answer.status, 200, answer.text)
  const [, payload = ''] = String(answer.body['access_token']).split('.')
  return JSON.parse(Buffer.from(payload, 'base64url').toString())
}

describe('RFC 8693', () => {
  let sts: Sts
  before(async () => {
    sts = await startSts({
      configure(config) {
        const clients = at(config, 'tenants.acme.clients')
        clients[NARROW] = { ...at(clients, CLIENT), grants: ['introspect'] }
        at(clients, CLIENT)['actors'] = ['bot']
      },
    })
  })
  after(() => sts.close())

  const form = (over: Readonly<Record<string, string | readonly string[]>> = {}) => ({
    grant_type: EXCHANGE,
    subject_token: sts.subjectToken(),
    subject_token_type: JWT_TYPE,
    ...over,
  })
  const exchange = (over: Readonly<Record<string, string | readonly string[]>> = {}) =>
    sts.token(form(over))
  const without = (...names: readonly string[]) =>
    sts.token(Object.fromEntries(Object.entries(form()).filter(([name]) => !names.includes(name))))
  const actor = (over: Readonly<Record<string, unknown>> = {}) => ({
    actor_token: sts.subjectToken({ sub: 'bot', upn: 'bot@acme.example', ...over }),
    actor_token_type: JWT_TYPE,
  })

  test('STD-8693-1 grant_type, subject_token and subject_token_type are required (§2.1)', async () => {
    refused(await without('grant_type'), 'invalid_request', 'malformed_request')
    refused(await without('subject_token'), 'invalid_request', 'malformed_request')
    refused(await without('subject_token_type'), 'invalid_request', 'malformed_request')
    refused(
      await exchange({ grant_type: 'password' }),
      'unsupported_grant_type',
      'unsupported_grant',
    )
    assert.equal((await exchange()).status, 200)
  })

  test('STD-8693-2 actor_token_type is required with actor_token and refused without it (§2.1)', async () => {
    const { actor_token, actor_token_type } = actor()
    refused(await exchange({ actor_token }), 'invalid_request', 'malformed_request')
    refused(await exchange({ actor_token_type }), 'invalid_request', 'malformed_request')
    assert.equal((await exchange({ actor_token, actor_token_type })).status, 200)
  })

  test('STD-8693-3 audience and resource may repeat, nothing else may; unknown and empty parameters are ignored (§2.1)', async () => {
    const audience = [API, 'https://other.acme.example']
    assert.deepEqual(claimsOf(await exchange({ audience }))['aud'], audience)
    assert.deepEqual(claimsOf(await exchange({ resource: audience }))['aud'], audience)
    refused(await exchange({ scope: ['read', 'read'] }), 'invalid_request', 'malformed_request')
    refused(
      await exchange({ subject_token: [sts.subjectToken(), sts.subjectToken()] }),
      'invalid_request',
      'malformed_request',
    )
    assert.equal((await exchange({ whatever: 'x', scope: '', actor_token: '' })).status, 200)
  })

  test('STD-8693-4 subject token types jwt, id_token and access_token are accepted, others are invalid_request (§3)', async () => {
    for (const name of ['jwt', 'id_token', 'access_token']) {
      assert.equal((await exchange({ subject_token_type: type(name) })).status, 200, name)
    }
    for (const name of ['refresh_token', 'saml1', 'saml2', 'txn_token']) {
      refused(
        await exchange({ subject_token_type: type(name) }),
        'invalid_request',
        'malformed_request',
      )
    }
  })

  test('STD-8693-5 the declared type must fit the token', async () => {
    const accessToken = sts.subjectToken({}, { header: { typ: 'at+jwt' } })
    refused(
      await exchange({ subject_token: accessToken, subject_token_type: type('id_token') }),
      'invalid_request',
      'wrong_type',
    )
    const idToken = sts.subjectToken({ nonce: 'n' })
    refused(
      await exchange({ subject_token: idToken, subject_token_type: type('access_token') }),
      'invalid_request',
      'wrong_type',
    )
  })

  test('STD-8693-6 the answer has the members of §2.2.1 and may not be stored', async () => {
    const answer = await exchange({ scope: 'read' })
    const { access_token: token, ...rest } = answer.body
    assert.equal(typeof token, 'string')
    assert.deepEqual(rest, {
      issued_token_type: type('access_token'),
      token_type: 'Bearer',
      expires_in: 43_200,
      scope: 'read',
    })
    assert.equal(answer.headers.get('cache-control'), 'no-store')
    assert.equal(answer.headers.get('content-type'), 'application/json')
    assert.equal(
      (await exchange({ requested_token_type: JWT_TYPE })).body['issued_token_type'],
      JWT_TYPE,
    )
  })

  test('STD-8693-7 error codes exactly as §2.2.2 says: bad tokens are invalid_request, bad targets invalid_target', async () => {
    const now = Math.floor(Date.now() / 1000)
    const bad: readonly (readonly [string, string])[] = [
      ['garbage', 'malformed_token'],
      [sts.subjectToken({ exp: now - 100 }), 'expired'],
      [sts.subjectToken({ nbf: now + 100 }), 'not_yet_valid'],
      [sts.subjectToken({ aud: 'other' }), 'wrong_audience'],
      [sts.subjectToken({ iss: 'https://evil.example' }), 'untrusted_issuer'],
      [sts.subjectToken({ azp: 'other' }), 'wrong_presenter'],
      [`${sts.subjectToken().slice(0, -8)}AAAAAAAA`, 'invalid_signature'],
      [sts.subjectToken({ upn: 'nobody' }), 'invalid_upn'],
      [sts.subjectToken({ upn: undefined }), 'missing_claim'],
      [sts.subjectToken({ sub: 'stranger', upn: 'stranger@acme.example' }), 'unknown_user'],
      [sts.subjectToken({ cnf: { jkt: 'x' } }), 'proof_required'],
    ]
    for (const [token, code] of bad)
      refused(await exchange({ subject_token: token }), 'invalid_request', code)
    for (const [token, code] of bad.filter(
      ([, one]) => !['invalid_upn', 'missing_claim', 'unknown_user'].includes(one),
    )) {
      refused(
        await exchange({ actor_token: token, actor_token_type: JWT_TYPE }),
        'invalid_request',
        code,
      )
    }
    for (const target of [
      { audience: 'https://evil.example' },
      { resource: 'https://evil.example' },
      { resource: 'relative' },
      { resource: `${API}#f` },
    ]) {
      refused(await exchange(target), 'invalid_target', 'target_not_allowed')
    }
    const many = Array.from({ length: 9 }, (_, index) => `https://t${index}.example`)
    refused(await exchange({ audience: many }), 'invalid_target', 'target_not_allowed')
    refused(await exchange({ scope: 'admin' }), 'invalid_scope', 'scope_not_allowed')
  })

  test('STD-8693-8 act names the actor outermost and keeps earlier ones; may_act is enforced (§4.1, §4.4)', async () => {
    const delegated = claimsOf(
      await exchange({ ...actor(), subject_token: sts.subjectToken({ act: { sub: 'first' } }) }),
    )
    assert.deepEqual(delegated['act'], { sub: 'bot', act: { sub: 'first' } })
    const mayAct = (sub: string) => sts.subjectToken({ may_act: { sub } })
    assert.equal((await exchange({ ...actor(), subject_token: mayAct('bot') })).status, 200)
    refused(
      await exchange({ ...actor(), subject_token: mayAct('other') }),
      'invalid_request',
      'actor_not_allowed',
    )
    refused(
      await exchange({ ...actor({ sub: 'unlisted' }) }),
      'invalid_request',
      'actor_not_allowed',
    )
  })

  test('STD-8693-9 without an actor token no act is made up, an inbound one is kept, and chains end at four (§4.1)', async () => {
    assert.equal(claimsOf(await exchange())['act'], undefined)
    const four = { sub: 'a', act: { sub: 'b', act: { sub: 'c', act: { sub: 'd' } } } }
    const subject_token = sts.subjectToken({ act: four })
    assert.deepEqual(claimsOf(await exchange({ subject_token }))['act'], four)
    refused(await exchange({ subject_token, ...actor() }), 'invalid_request', 'actor_not_allowed')
  })

  test('STD-8693-10 a requested type we do not issue is invalid_request, and no refresh token is ever in the answer (§2.1, §2.2.1)', async () => {
    for (const name of ['refresh_token', 'id_token', 'saml2']) {
      refused(
        await exchange({ requested_token_type: type(name) }),
        'invalid_request',
        'malformed_request',
      )
    }
    assert.equal((await exchange()).body['refresh_token'], undefined)
  })

  test('STD-8693-11 exchanging needs an authenticated client that may, and a bound subject token a proof (§5)', async () => {
    const anonymous = await sts.token(form(), { headers: {} })
    refused(anonymous, 'invalid_client', 'client_auth_failed', 401)
    const as = (id: string, secret: string) =>
      ask(`${sts.url}/token`, {
        method: 'POST',
        body: encode({ ...form(), client_id: id, client_secret: secret }),
      })
    refused(await as(CLIENT, 'wrong'), 'invalid_client', 'client_auth_failed', 401)
    refused(await as('nobody', sts.clientSecret), 'invalid_client', 'client_auth_failed', 401)
    refused(await as(NARROW, sts.clientSecret), 'unauthorized_client', 'grant_not_allowed')
    refused(
      await exchange({ subject_token: sts.subjectToken({ cnf: { jkt: 'x' } }) }),
      'invalid_request',
      'proof_required',
    )
  })
})
