/** The life of signing keys over HTTP: what time brings, what operators may do, and what a kill means to everybody else. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { issueAdminToken } from '../../src/cli/admin.ts'
import type { AdminRole } from '../../src/http/options.ts'
import type { RingKey } from '../../src/keys/ring.ts'
import { type Answer, ask, at, type Sts, startSts } from '../fakes/sts.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const MINUTE = 60_000

const signal = () => AbortSignal.timeout(10_000)

/** Waits for what the timers of the server do; `step` is done before each look. */
async function until(holds: () => boolean | Promise<boolean>, step = () => {}): Promise<void> {
  const end = Date.now() + 60_000
  while (!(await holds())) {
    assert.ok(Date.now() < end, 'it did not come about within a minute')
    step()
    await setTimeout(100)
  }
}

const kidOf = (token: string): string =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid

const keysOf = (sts: Sts): readonly RingKey[] => sts.deployment.keys.list('acme')

function keyIn(sts: Sts, state: RingKey['state']): RingKey {
  const key = keysOf(sts).find((one) => one.state === state)
  assert.ok(key, `no ${state} key`)
  return key
}

async function jwksKids(sts: Sts, query = ''): Promise<string[]> {
  const { body } = await ask(`${sts.url}/jwks${query}`)
  return (body['keys'] as { kid: string }[]).map(({ kid }) => kid)
}

/** A change as an operator of this role asks for it. */
async function changeAs(sts: Sts, role: AdminRole, path: string, body: object): Promise<Answer> {
  const token = await issueAdminToken(sts.deployment.stores.adminTokens, role, `${role}@acme`)
  return ask(`${sts.adminUrl}/admin/v1/keys${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token.reveal()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ tenant: 'acme', reason: 'INC-42', ...body }),
  })
}

const change = (sts: Sts, kid: string, action: string) =>
  changeAs(sts, 'security', `/${kid}/${action}`, {})

async function keyEntries(sts: Sts) {
  const { body } = await sts.admin('GET', '/audit/entries?tenant=acme&limit=100')
  const entries = body['entries'] as Record<string, string>[]
  return entries.filter(({ event }) => event === 'key')
}

describe('the schedule of a production configuration', () => {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead }
  let sts: Sts
  before(async () => {
    sts = await startSts({ parts: { clock, keyPolicy: {} } })
  })
  after(() => sts.close())

  test('a key gives way after 30 days to the successor that verifiers have known since, and leaves JWKS when its last token is dead', async () => {
    const first = keyIn(sts, 'active').kid
    const successor = keyIn(sts, 'published').kid
    assert.deepEqual(await jwksKids(sts), [first, successor])

    clock.ahead = 30 * DAY
    const earlier = await sts.exchange()
    assert.equal(kidOf(earlier), first)
    // Replicas spread their attempts over a minute.
    await until(
      () => keyIn(sts, 'active').kid === successor,
      () => (clock.ahead += 20_000),
    )
    assert.equal(kidOf(await sts.exchange()), successor)
    assert.equal((await sts.introspect(earlier)).body['active'], true)
    assert.equal(keyIn(sts, 'verify-only').kid, first)
    const kids = await jwksKids(sts)
    assert.equal(kids.length, 3, 'with a new successor, published before the change')
    assert.ok(kids.includes(first))
    await until(
      async () => !(await sts.deployment.stores.privateKeys?.get('acme', first, signal())),
    )

    // signUntil (31 d) + the longest token (12 h) + 3 × skew; before that it is there still.
    clock.ahead = 31 * DAY + 12 * HOUR - MINUTE
    await setTimeout(2500)
    assert.ok((await jwksKids(sts)).includes(first))
    clock.ahead += 5 * MINUTE
    await until(
      () => keysOf(sts).some(({ kid, state }) => kid === first && state === 'retired'),
      () => (clock.ahead += 20_000),
    )
    assert.ok(!(await jwksKids(sts)).includes(first))
  })

  test('JWKS is kept for a shorter time when a change comes near', async () => {
    const maxAge = async () => {
      const { headers } = await ask(`${sts.url}/jwks`)
      return Number(/max-age=(\d+)/.exec(headers.get('cache-control') ?? '')?.[1])
    }
    assert.equal(await maxAge(), 300)
    const { activatedAt = 0 } = keyIn(sts, 'active')
    clock.ahead = activatedAt + 30 * DAY - MINUTE - Date.now()
    const near = await maxAge()
    assert.ok(near <= 60 && near >= 30, `max-age=${near}`)
  })
})

describe('a kill', () => {
  let sts: Sts
  before(async () => {
    sts = await startSts({
      configure(config) {
        at(config, 'tenants.acme')['consumers'] = {
          'orders-api': { caches: '24h' },
          billing: {},
        }
      },
    })
  })
  after(() => sts.close())

  test('makes the successor sign at once, and the tokens of the killed key inactive, also one that was verified a moment ago', async () => {
    const token = await sts.exchange()
    const killed = kidOf(token)
    const successor = keyIn(sts, 'published').kid
    assert.equal((await sts.introspect(token)).body['active'], true)
    assert.ok((await jwksKids(sts, '?consumer=orders-api')).includes(killed))
    await jwksKids(sts, '?consumer=nobody-knows-it')
    const begun = Date.now()

    const answer = await change(sts, killed, 'kill')
    assert.equal(answer.status, 200, answer.text)

    assert.equal((await sts.introspect(token)).text, '{"active":false}')
    assert.equal(kidOf(await sts.exchange()), successor)
    assert.ok(!(await jwksKids(sts)).includes(killed))
    // Nor is it a subject token any more.
    const again = await sts.token({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      subject_token: token,
    })
    assert.equal(again.status, 400)

    const rules = await sts.deployment.stores.cutoffs.since(0, signal())
    assert.deepEqual(
      rules.map(({ tenant, kind, id, reason, by }) => ({ tenant, kind, id, reason, by })),
      [{ tenant: 'acme', kind: 'kid', id: killed, reason: 'INC-42', by: 'security@acme' }],
    )
    assert.ok((rules[0]?.notBefore ?? 0) >= begun)
    assert.equal(await sts.deployment.stores.privateKeys?.get('acme', killed, signal()), undefined)

    const entries = await keyEntries(sts)
    const actions = entries.map(({ action, by }) => `${action} by ${by}`)
    assert.ok(actions.includes(`asked to kill ${killed} by security@acme`), actions.join('\n'))
    assert.ok(actions.includes('ES256 key from active to compromised by security@acme'))
    assert.ok(actions.includes('ES256 key from published to active by security@acme'))

    const { body } = await sts.admin('GET', '/keys/consumers?tenant=acme')
    const census = body['consumers'] as {
      consumer: string
      exposed: { kid: string; until: string }[]
    }[]
    assert.deepEqual(
      census.map(({ consumer }) => consumer).toSorted(),
      ['billing', 'orders-api'],
      'a name that nobody configured is not counted',
    )
    const api = census.find(({ consumer }) => consumer === 'orders-api')?.exposed
    assert.deepEqual(
      api?.map(({ kid }) => kid),
      [killed],
    )
    const left = Date.parse(api?.[0]?.until ?? '') - begun
    assert.ok(left > 23 * HOUR && left < 25 * HOUR, 'as long as that verifier keeps a copy')
  })

  test('has no way back: the kid cannot be promoted, retired or killed again', async () => {
    const killed = keyIn(sts, 'compromised').kid
    for (const action of ['promote', 'retire', 'kill']) {
      const answer = await change(sts, killed, action)
      assert.equal(answer.status, 409, action)
      assert.match(String(answer.body['detail']), /compromised/)
    }
    assert.equal(keyIn(sts, 'compromised').kid, killed)
  })

  test('is not for the role operator', async () => {
    const active = keyIn(sts, 'active').kid
    const answer = await changeAs(sts, 'operator', `/${active}/kill`, {})
    assert.equal(answer.status, 403)
    assert.equal(keyIn(sts, 'active').kid, active)
  })

  test('of a key that the ring does not have is 404', async () => {
    assert.equal((await change(sts, 'A'.repeat(43), 'kill')).status, 404)
  })
})

describe('changes by hand wait as the schedule does', () => {
  let sts: Sts
  before(async () => {
    sts = await startSts({ parts: { keyPolicy: {} } })
  })
  after(() => sts.close())

  test('a successor that was published too recently is not promoted, and the answer says from when on it may be', async () => {
    const { kid } = keyIn(sts, 'published')
    const answer = await change(sts, kid, 'promote')
    assert.equal(answer.status, 409)
    assert.match(String(answer.body['detail']), /Rotate from \d{4}-\d\d-\d\dT/)
    assert.equal(keyIn(sts, 'published').kid, kid)
  })

  test('the only successor is not retired, and the key that signs neither', async () => {
    for (const state of ['published', 'active'] as const)
      assert.equal((await change(sts, keyIn(sts, state).kid, 'retire')).status, 409, state)
  })

  test('what was refused is in the ledger as a wish, and nothing followed it', async () => {
    const entries = await keyEntries(sts)
    const wishes = entries.filter(({ action = '' }) => action.startsWith('asked to'))
    assert.ok(wishes.length >= 3)
    assert.ok(wishes.every(({ reason, by }) => reason === 'INC-42' && by === 'security@acme'))
    assert.ok(entries.every(({ action = '' }) => !action.includes('retired')))
  })
})

describe('what an operator sees at three in the morning', () => {
  let sts: Sts
  before(async () => {
    sts = await startSts({
      configure: (config) => {
        at(config, 'tenants.acme')['consumers'] = { 'orders-api': {} }
      },
    })
  })
  after(() => sts.close())

  test('the gauge of the key store is right from the first scrape on: 0 would wake somebody for nothing', async () => {
    const { text } = await ask(`${sts.adminUrl}/metrics`)
    assert.match(text, /^rolemint_key_store_up 1$/m)
    assert.match(text, /^rolemint_key_successors\{tenant="acme",alg="ES256"\} 1$/m)
  })

  test('keys and consumers can be read while the store takes no writes', async () => {
    const { consumers } = sts.deployment.stores
    await jwksKids(sts, '?consumer=orders-api')
    Object.assign(consumers, { add: () => Promise.reject(new Error('disk full')) })
    for (const path of ['/keys?tenant=acme', '/keys/consumers?tenant=acme'])
      assert.equal((await sts.admin('GET', path)).status, 200, path)
  })
})
