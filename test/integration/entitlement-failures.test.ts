import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { at, type ConfigTree, EXCHANGE, JWT_TYPE, type Sts, startSts } from '../fakes/sts.ts'

const ADA = 'ada@acme.example'

/** The clock of a deployment, moved by the test. */
function simulatedClock() {
  const clock = { milliseconds: Math.ceil(Date.now() / 1000) * 1000, now: () => clock.milliseconds }
  return clock
}

function withSource(config: ConfigTree, source: ConfigTree): void {
  config['limits'] = { perClient: '100000/s', perSubject: '100000/s', skew: '0s' }
  Object.assign(at(config, 'tenants.acme.sources.hr'), source)
}

const exchangeOf = (sts: Sts, claims: Readonly<Record<string, unknown>> = {}) =>
  sts.token({
    grant_type: EXCHANGE,
    subject_token_type: JWT_TYPE,
    subject_token: sts.subjectToken(claims),
  })

/** Status and roles of the token issued, or the code of the refusal. */
async function told(sts: Sts, claims: Readonly<Record<string, unknown>> = {}) {
  const { status, body } = await exchangeOf(sts, claims)
  const token = body['access_token']
  if (status !== 200 || typeof token !== 'string') return { refused: body['error_code'] }
  const { roles, entitlements, exp, iat } = decodeJwt<{
    roles: string[]
    entitlements: { status: string; at: number }
  }>(token)
  return {
    status: entitlements.status,
    at: entitlements.at,
    roles,
    life: Number(exp) - Number(iat),
  }
}

suite('a deployment whose entitlement source fails', () => {
  let sts: Sts
  const clock = simulatedClock()
  const seconds = () => Math.floor(clock.milliseconds / 1000)
  const fail = () => sts.api.behave({ status: 500 })
  const mend = () => sts.api.behave({ status: undefined })

  before(async () => {
    sts = await startSts({
      parts: { clock },
      configure(config) {
        withSource(config, {
          cache: { fresh: '60s', stale: '5m', staleIfError: '15m', unknownUser: '30s' },
          onFailure: 'limited',
          limited: { roles: ['SAP_ORD_R'], ttl: '10m' },
        })
      },
    })
  })
  after(() => sts.close())

  test('says in the token what it relied on, from fresh by way of stale to limited and back', async () => {
    const roles = ['orders.read', 'orders.write']
    const askedAt = seconds()
    assert.deepEqual(await told(sts), { status: 'fresh', at: askedAt, roles, life: 43_200 })
    fail()
    clock.milliseconds += 60_000
    assert.deepEqual(await told(sts), { status: 'stale', at: askedAt, roles, life: 43_200 })
    clock.milliseconds = askedAt * 1000 + 16 * 60_000 - 1
    assert.deepEqual(await told(sts), { status: 'stale', at: askedAt, roles, life: 43_200 })
    clock.milliseconds += 1
    const limited = { status: 'limited', at: seconds(), roles: ['orders.read'], life: 600 }
    assert.deepEqual(await told(sts), limited)
    mend()
    clock.milliseconds += 60_000
    assert.equal((await told(sts)).status, 'fresh')
  })

  test('gives nothing to a user whom the source did not know, however long ago that was', async () => {
    const leaver = { sub: 'eve', upn: 'eve@acme.example' }
    assert.deepEqual(await told(sts, leaver), { refused: 'unknown_user' })
    fail()
    clock.milliseconds += 3_600_000
    assert.deepEqual(await told(sts, leaver), { refused: 'entitlements_unavailable' })
    mend()
    clock.milliseconds += 60_000
    assert.deepEqual(await told(sts, leaver), { refused: 'unknown_user' })
  })
})

suite('a deployment that asks its entitlement source', () => {
  let sts: Sts
  const clock = simulatedClock()
  before(async () => {
    sts = await startSts({ parts: { clock }, configure: (config) => withSource(config, {}) })
  })
  after(() => sts.close())

  test('asks once for two hundred first requests of one user at a time', async () => {
    // Pages of two, and three roles: one look-up is two requests.
    sts.api.behave({ delayMilliseconds: 300, pageSize: 10 })
    sts.api.forget()
    const answers = await Promise.all(Array.from({ length: 200 }, () => exchangeOf(sts)))
    const jtis = answers.map(({ status, body }) => {
      assert.equal(status, 200, JSON.stringify(body))
      const { jti, roles } = decodeJwt<{ roles: string[] }>(String(body['access_token']))
      assert.deepEqual(roles, ['orders.read', 'orders.write'])
      return jti
    })
    assert.equal(new Set(jtis).size, 200)
    assert.equal(sts.api.requests.length, 1)
  })

  test('a caller that goes away ends its own work and nobody else’s: nothing is issued to it, and who waits for the same user is served', async () => {
    sts.api.behave({ delayMilliseconds: 1000, pageSize: 10 })
    const who = { sub: 'gone', upn: 'gone@acme.example' }
    sts.api.users.set(who.upn, ['SAP_ORD_R'])
    sts.api.forget()
    const form = {
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: sts.subjectToken(who),
    }
    const leaving = new AbortController()
    const left = sts.token(form, { signal: leaving.signal })
    const stayed = sts.token(form)
    while (sts.api.requests.length === 0) await sleep(5)
    leaving.abort()
    await assert.rejects(left)
    assert.equal((await stayed).status, 200)
    assert.equal(sts.api.requests.length, 1)
    const { ledger } = sts.deployment.stores
    const ofThem = async () =>
      (await ledger.recent('acme', 50, undefined, AbortSignal.timeout(5000))).filter(
        ({ upn }) => upn === who.upn,
      )
    // Its refusal is recorded behind the answer that nobody waits for.
    while ((await ofThem()).length < 2) await sleep(5)
    assert.deepEqual(
      new Map((await ofThem()).map(({ event, code }) => [event, code])),
      new Map([
        ['issued', undefined],
        ['refused', 'overloaded'],
      ]),
    )
    sts.api.behave({ delayMilliseconds: 0 })
  })

  test('never issues for a token that ran out meanwhile, to the millisecond', async () => {
    sts.api.behave({ delayMilliseconds: 0, pageSize: 10 })
    for (let delta = -20; delta <= 20; delta += 1) {
      const upn = `user${delta + 20}@acme.example`
      sts.api.users.set(upn, ['SAP_ORD_R'])
      const now = Math.floor(clock.milliseconds / 1000)
      const exp = now + 5
      sts.api.behave({ before: () => void (clock.milliseconds = exp * 1000 + delta) })
      const answer = await told(sts, { sub: upn, upn, iat: now, exp })
      if (delta < 0) assert.equal(answer.status, 'fresh', `${delta} ms`)
      else assert.deepEqual(answer, { refused: 'expired' }, `${delta} ms`)
    }
    sts.api.behave({ before: () => undefined })
  })

  test('does not ask for a token that has run out already', async () => {
    sts.api.forget()
    const now = Math.floor(clock.milliseconds / 1000)
    const upn = 'late@acme.example'
    assert.deepEqual(await told(sts, { sub: upn, upn, iat: now - 10, exp: now }), {
      refused: 'expired',
    })
    assert.equal(sts.api.requests.length, 0)
  })

  test('asks anew after a purge by an operator', async () => {
    clock.milliseconds += 1000
    sts.api.users.set(ADA, ['SAP_ORD_R', 'SAP_ORD_W'])
    await sts.admin('POST', '/caches/purge', { tenant: 'acme' })
    await told(sts)
    sts.api.users.set(ADA, ['SAP_ORD_R'])
    assert.deepEqual((await told(sts)).roles, ['orders.read', 'orders.write'])
    const { body } = await sts.admin('POST', '/caches/purge', { tenant: 'acme', user: ADA })
    assert.deepEqual(body, { entries: 1, reached: 'this' })
    assert.deepEqual((await told(sts)).roles, ['orders.read'])
  })
})

test('a source that says that roles changed is asked anew, whoever it is about', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-webhook-'))
  const key = randomBytes(32)
  const secret = join(folder, 'secret')
  writeFileSync(secret, `whsec_${key.toString('base64')}\n`, { mode: 0o600 })
  const sts = await startSts({
    configure: (config) => withSource(config, { webhook: { secret: `\${file:${secret}}` } }),
  })
  try {
    await told(sts)
    sts.api.users.set(ADA, ['SAP_ORD_R'])
    const say = async (body: string) => {
      const timestamp = String(Math.floor(Date.now() / 1000))
      const mac = createHmac('sha256', key).update(`msg_1.${timestamp}.${body}`)
      const answer = await fetch(`${sts.url}/v1/sources/hr/changed`, {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/json',
          'webhook-id': 'msg_1',
          'webhook-timestamp': timestamp,
          'webhook-signature': `v1,${mac.digest('base64')}`,
        },
      })
      return answer.status
    }
    assert.equal(await say('{"users":["bob@acme.example"]}'), 204)
    assert.deepEqual((await told(sts)).roles, ['orders.read', 'orders.write'])
    assert.equal(await say(`{"users":["${ADA}"]}`), 204)
    assert.deepEqual((await told(sts)).roles, ['orders.read'])
    sts.api.users.set(ADA, ['SAP_ORD_W'])
    assert.equal(await say('{}'), 204)
    assert.deepEqual((await told(sts)).roles, ['orders.write'])
  } finally {
    await sts.close()
    rmSync(folder, { recursive: true, force: true })
  }
})
