import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aTenant } from '../../test/fakes/policy.ts'
import { createMemoryRateStore } from '../adapters/memory/rate-store.ts'
import { isRefusal, type Refusal } from '../lib/refusal.ts'
import { type Admission, type Admitted, createAdmission, type LimitName } from './admit.ts'
import { type RateLimits, toRateLimits, withTenantLimits } from './options.ts'
import type { RateAsk, RateStore } from './rate-store.ts'

const acme = aTenant({ name: 'acme' })
const globex = aTenant({ name: 'globex' })
const signal = new AbortController().signal
const perMinute = (count: number) => ({ count, perMilliseconds: 60_000 })

function setUp(limits: Partial<RateLimits>, { later = false } = {}) {
  const clock = { milliseconds: 5000, now: () => clock.milliseconds }
  const memory = createMemoryRateStore({ clock })
  const calls: string[][] = []
  const store: RateStore = {
    take(asks: readonly RateAsk[]) {
      calls.push(asks.map(({ key }) => key))
      return later ? Promise.resolve(memory.take(asks)) : memory.take(asks)
    },
  }
  const refused: [string, LimitName][] = []
  const current = { ...toRateLimits({}), ...limits }
  const real = createAdmission({
    store,
    clock,
    refused: (tenant, limit) => void refused.push([tenant, limit]),
  })
  const admission: Admission = {
    door: real.door,
    full: real.full,
    client: (tenant, ...rest) => real.client({ ...tenant, limits: current }, ...rest),
  }
  return {
    clock,
    admission,
    calls,
    refused,
    client: (tenant = acme, id = 'web'): Admitted => {
      const admitted = admission.client(tenant, id, signal)
      assert.ok(!(admitted instanceof Promise), 'it was not decided at once')
      return admitted
    },
  }
}

function countSubject(admitted: Admitted, sub: string): void {
  assert.equal(admitted.subject(sub), undefined, 'it was not decided at once')
}

function refusalOf(act: () => unknown): Refusal {
  try {
    act()
  } catch (error) {
    if (isRefusal(error, 'rate_limited')) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'nothing was refused' })
}

test('a client past its rate is told when to come back', () => {
  const { client, clock } = setUp({ perClient: perMinute(2) })
  client()
  client()
  const refusal = refusalOf(() => client())
  assert.equal(refusal.retryAfterSeconds, 30)
  assert.deepEqual(refusal.headers, {
    'RateLimit-Policy': '"client";q=2;w=60',
    RateLimit: '"client";r=0;t=30',
  })
  clock.milliseconds += 30_000
  client()
})

test('a wait shorter than a second is announced as one second', () => {
  const { client } = setUp({ perClient: { count: 50, perMilliseconds: 1000 } })
  for (let i = 0; i < 50; i += 1) client()
  assert.equal(refusalOf(() => client()).retryAfterSeconds, 1)
})

test('no client spends the budget of another, nor of its namesake in another tenant', () => {
  const { client } = setUp({ perClient: perMinute(1) })
  client(acme, 'web')
  client(acme, 'batch')
  client(globex, 'web')
  refusalOf(() => client(acme, 'web'))
})

test('a subject has a budget with each client, apart from the budget of the client', () => {
  const { client } = setUp({ perSubject: perMinute(1) })
  countSubject(client(acme, 'web'), 'ada')
  countSubject(client(acme, 'web'), 'bob')
  countSubject(client(acme, 'batch'), 'ada')
  const refusal = refusalOf(() => countSubject(client(acme, 'web'), 'ada'))
  assert.equal(refusal.headers['RateLimit'], '"subject";r=0;t=60')
  for (let i = 0; i < 100; i += 1) client(acme, 'web')
})

test('a client that floods with made-up subjects does not get its own budget back', () => {
  const { client } = setUp({ perClient: perMinute(1), perSubject: perMinute(1) })
  const admitted = client()
  for (let i = 0; i < 100_001; i += 1) countSubject(admitted, `made-up-${i}`)
  refusalOf(() => client())
})

test('tenant and deployment are counted with the client, in one step', () => {
  const limits = { total: perMinute(9), perTenant: perMinute(9), perClient: perMinute(9) }
  const { client, calls } = setUp(limits)
  client()
  assert.deepEqual(calls, [['total\0', 'tenant\0acme', 'client\0acme\0web']])
})

test('a client that is refused costs its tenant nothing', () => {
  const { client } = setUp({ perTenant: perMinute(3), perClient: perMinute(1) })
  client(acme, 'web')
  for (let i = 0; i < 50; i += 1) refusalOf(() => client(acme, 'web'))
  client(acme, 'batch')
  client(acme, 'night')
  refusalOf(() => client(acme, 'fourth'))
  client(globex, 'web')
})

test('how full the tenant or the deployment is, a caller is not told', () => {
  for (const limits of [{ total: perMinute(1) }, { perTenant: perMinute(1) }]) {
    const { client } = setUp({ ...limits, perClient: perMinute(50) })
    client()
    const refusal = refusalOf(() => client())
    assert.deepEqual(refusal.headers, {})
    assert.equal(refusal.retryAfterSeconds, 60)
  }
})

test('a tenant without room is refused at the door without asking the store, until there is room', () => {
  const { admission, client, clock, calls, refused } = setUp({ perTenant: perMinute(1) })
  admission.door(acme)
  client()
  for (let i = 0; i < 10; i += 1)
    assert.equal(refusalOf(() => admission.door(acme)).retryAfterSeconds, 60)
  assert.equal(admission.full(acme), admission.full(acme), 'a flood is refused by one error')
  admission.door(globex)
  assert.equal(admission.full(globex), undefined)
  assert.equal(calls.length, 1)
  assert.deepEqual(refused[9], ['acme', 'tenant'])
  // Somebody who passed the door before it shut finds the bucket full.
  refusalOf(() => client())
  clock.milliseconds += 30_000
  assert.equal(admission.full(acme)?.retryAfterSeconds, 30)
  clock.milliseconds += 30_000
  admission.door(acme)
  client()
})

test('an attacker without credentials cannot use up the limit of a tenant, or of all', () => {
  const { admission, client } = setUp({ perTenant: perMinute(1), total: perMinute(1) })
  for (let i = 0; i < 1000; i += 1) admission.door(acme)
  client()
})

test('what is left is told on success', () => {
  const { client } = setUp({ perClient: perMinute(60), perSubject: perMinute(10) })
  const admitted = client()
  assert.equal(admitted.headers['RateLimit'], '"client";r=59;t=59')
  countSubject(admitted, 'ada')
  assert.equal(admitted.headers['RateLimit'], '"client";r=59;t=59, "subject";r=9;t=54')
  assert.equal(admitted.headers['RateLimit-Policy'], '"client";q=60;w=60, "subject";q=10;w=60')
})

test('with a store that has to be asked, the outcome is a promise', async () => {
  const { admission, calls } = setUp(
    { perClient: perMinute(1), perSubject: perMinute(1) },
    { later: true },
  )
  const admitted = await admission.client(acme, 'web', signal)
  await admitted.subject('ada')
  assert.equal(calls.length, 2)
  await assert.rejects(async () => admission.client(acme, 'web', signal), /Too many requests/)
})

test('a tenant may have limits of its own, and the rest is as for everybody', () => {
  const everybody = toRateLimits({ perClient: '1/s', perTenant: '9/s', total: '100/s' })
  const own = withTenantLimits(everybody, { perClient: '5/s' })
  assert.deepEqual(own, { ...everybody, perClient: { count: 5, perMilliseconds: 1000 } })
})

test('without limits nothing is refused, and no store is asked', () => {
  const { admission, client, calls } = setUp({})
  for (let i = 0; i < 1000; i += 1) {
    admission.door(acme)
    const admitted = client()
    countSubject(admitted, 'ada')
    assert.deepEqual(admitted.headers, {})
  }
  assert.equal(calls.length, 0)
})
