import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { sourceOf } from '../../../test/fakes/entitlement-source.ts'
import { aTenant, jsonOf, publicDeps, tenantsOf } from '../../../test/fakes/http-edge.ts'
import type { Purge } from '../../entitlement/shared-answers.ts'
import { Secret } from '../../lib/secret.ts'
import { createListener } from '../listener.ts'
import { createRequestBudget } from '../request-scope.ts'
import { sourceWebhookRoute } from './source-webhook.ts'

const NOW = 1_790_000_000
const PATH = '/v1/sources/hr/changed'
const JSON_BODY = { 'content-type': 'application/json' }

function listening(shared?: boolean) {
  const key = randomBytes(32)
  const clock = { seconds: NOW, now: () => clock.seconds * 1000 }
  const purged: Purge[] = []
  const tenant = aTenant({
    sources: [sourceOf({ webhookKey: new Secret(key) }), sourceOf({ name: 'crm' })],
  })
  const { deps } = publicDeps({ tenants: tenantsOf(tenant) })
  const entitlements = {
    purge: (what: Purge) => {
      purged.push(what)
      return Promise.resolve({ entries: 1, shared })
    },
  }
  const app = createListener({
    ...deps,
    name: 'public',
    routes: [sourceWebhookRoute({ entitlements, clock })],
    tls: undefined,
    trustedProxies: [],
    bounds: undefined,
    locate: deps.tenants.resolve,
    issuer: ({ tenant: found }) => found?.issuer ?? '',
    before: () => undefined,
    budget: createRequestBudget({ budgetMilliseconds: 10_000, slotMilliseconds: 100 }),
  })
  const sign = (id: string, timestamp: string | number, body: string, by = key) =>
    `v1,${createHmac('sha256', by).update(`${id}.${timestamp}.${body}`).digest('base64')}`
  const post = (payload: string, headers: Readonly<Record<string, string>>, url = PATH) =>
    app.inject({
      method: 'POST',
      url,
      payload,
      headers: { host: 'sts.acme.example', ...JSON_BODY, ...headers },
    })
  /** A call as the source makes it. */
  const call = (body: string, over: Readonly<Record<string, string>> = {}, url = PATH) => {
    const id = over['webhook-id'] ?? 'msg_1'
    const timestamp = over['webhook-timestamp'] ?? String(clock.seconds)
    return post(
      body,
      {
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': sign(id, timestamp, body),
        ...over,
      },
      url,
    )
  }
  return { key, clock, purged, sign, post, call }
}

const HR = { tenant: 'acme', source: 'hr' }

test('a signed call makes the users it names be asked about anew, or all when it names none', async () => {
  const { call, purged } = listening(true)
  const answer = await call('{"users":["ada","bob"]}')
  assert.equal(answer.statusCode, 204)
  assert.equal(answer.body, '')
  assert.equal((await call('{}')).statusCode, 204)
  const envelope = '{"type":"roles.changed","timestamp":"2026-11-24T13:00:00Z"}'
  assert.equal((await call(envelope)).statusCode, 204)
  assert.deepEqual(purged, [{ ...HR, user: 'ada' }, { ...HR, user: 'bob' }, HR, HR])
})

test('the example of the Standard Webhooks specification is signed as we would sign it', async () => {
  // From the specification: key, id, timestamp, body and signature.
  const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64')
  const { sign } = listening()
  assert.equal(
    sign('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}', key),
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  )
})

test('while a key is rotated one good signature among several is enough', async () => {
  const { call, sign } = listening()
  const old = sign('msg_1', NOW, '{}', randomBytes(32))
  const good = sign('msg_1', NOW, '{}')
  for (const signatures of [`${old} ${good}`, `v1a,AAAA ${good}`, `${good} ${old}`])
    assert.equal((await call('{}', { 'webhook-signature': signatures })).statusCode, 204)
})

test('attack: whatever is not signed as it came is refused, and purges nothing', async () => {
  const { call, sign, post, purged } = listening()
  const good = sign('msg_1', NOW, '{}')
  const forged: readonly Readonly<Record<string, string>>[] = [
    { 'webhook-signature': sign('msg_1', NOW, '{}', randomBytes(32)) },
    { 'webhook-signature': good.replace('v1,', 'v2,') },
    { 'webhook-signature': good.slice(0, 20) },
    { 'webhook-signature': 'v1,' },
    { 'webhook-signature': '' },
    { 'webhook-signature': sign('msg_2', NOW, '{}') },
    { 'webhook-signature': sign('msg_1', NOW + 1, '{}') },
    { 'webhook-signature': sign('msg_1', NOW, '{ }') },
    // Many signatures to make us work.
    { 'webhook-signature': `${`${sign('msg_1', NOW, '{}', randomBytes(32))} `.repeat(10)}${good}` },
    // An id with a dot could be cut in two ways.
    { 'webhook-id': `a.${NOW}`, 'webhook-signature': sign(`a.${NOW}`, NOW, '{}') },
    { 'webhook-timestamp': `${NOW}.0`, 'webhook-signature': sign('msg_1', `${NOW}.0`, '{}') },
    { 'webhook-timestamp': '', 'webhook-signature': sign('msg_1', '', '{}') },
  ]
  for (const headers of forged) {
    const answer = await call('{}', headers)
    assert.equal(answer.statusCode, 401, JSON.stringify(headers))
    assert.equal(jsonOf(answer)['error_code'], 'client_auth_failed')
    assert.equal(answer.headers['www-authenticate'], 'StandardWebhooks')
  }
  assert.equal((await post('{}', {})).statusCode, 401)
  assert.deepEqual(purged, [])
})

test('attack: a call that was kept for later is refused; within five minutes clocks may differ', async () => {
  const { call, clock, purged } = listening()
  const stamped = { 'webhook-timestamp': String(NOW) }
  for (const [seconds, status] of [
    [NOW - 301, 401],
    [NOW - 300, 204],
    [NOW + 300, 204],
    [NOW + 301, 401],
  ] as const) {
    clock.seconds = seconds
    assert.equal((await call('{}', stamped)).statusCode, status)
  }
  assert.equal(purged.length, 2)
})

test('attack: nobody learns by asking which sources there are, or which may call', async () => {
  const { call } = listening()
  const told = await Promise.all(
    [PATH, '/v1/sources/crm/changed', '/v1/sources/none/changed'].map(async (url) => {
      const { statusCode, body } = await call('{}', { 'webhook-signature': 'v1,AAAA' }, url)
      return `${statusCode} ${body.replace(/"request_id":"[0-9a-f]+"/, '')}`
    }),
  )
  assert.equal(new Set(told).size, 1)
  assert.equal((await call('{}', {}, '/v1/sources/crm/changed')).statusCode, 401)
})

test('attack: a body that names nobody right is refused, and never read as "all"', async () => {
  const { call, purged } = listening()
  const many = JSON.stringify({ users: Array.from({ length: 101 }, (_, i) => `u${i}`) })
  const long = JSON.stringify({ users: ['x'.repeat(1025)] })
  for (const body of [
    '{"users":[]}',
    '{"users":"ada"}',
    '{"users":["ada",7]}',
    '{"users":[""]}',
    '{"users":null}',
    '{"user":"ada"}',
    '[]',
    '',
    '{"users":["ada"],"users":["bob"]}',
    many,
    long,
  ])
    assert.equal((await call(body)).statusCode, 400, body.slice(0, 40))
  assert.equal((await call('{}', { 'content-type': 'text/plain' })).statusCode, 415)
  assert.deepEqual(purged, [])
})

test('a source that calls without end is told to wait, and its cache is not kept empty', async () => {
  const { call, purged, clock } = listening()
  for (let i = 0; i < 6; i += 1) assert.equal((await call('{}')).statusCode, 204)
  const refused = await call('{}')
  assert.equal(refused.statusCode, 429)
  assert.equal(refused.headers['retry-after'], '10')
  for (let i = 0; i < 60; i += 1) assert.equal((await call('{"users":["ada"]}')).statusCode, 204)
  assert.equal((await call('{"users":["ada"]}')).headers['retry-after'], '1')
  assert.equal(purged.length, 66)
  clock.seconds += 10
  assert.equal((await call('{}')).statusCode, 204)
  assert.equal((await call('{"users":["ada"]}')).statusCode, 204)
})

test('a call that other replicas could not be told of is to be sent again', async () => {
  const { call } = listening(false)
  const answer = await call('{}')
  assert.equal(answer.statusCode, 503)
  assert.equal(jsonOf(answer)['error_code'], 'entitlements_unavailable')
})
