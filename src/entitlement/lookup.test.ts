import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFakeEntitlementSource, sourceOf } from '../../test/fakes/entitlement-source.ts'
import { anIdp, aTenant } from '../../test/fakes/policy.ts'
import type { Clock } from '../lib/clock.ts'
import { isRefusal, type Refusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { createUpstreams } from '../resilience/upstreams.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { createEntitlementLookup } from './lookup.ts'
import type { Source } from './options.ts'
import { type EntitlementSource, SourceFailure } from './source.ts'

const START = 1_790_000_000_500

function tenantOf(name: string, sources: readonly Source[], maxSourceRoles = 200): Tenant {
  const idps = new Map(['login', 'partner'].map((idp) => [idp, anIdp({ name: idp })]))
  return aTenant({ name, idps, sources, rules: { maxSourceRoles } })
}

function setUp(sources: readonly Source[] = [sourceOf()]) {
  const fake = createFakeEntitlementSource()
  fake.know('hr', 'ada', ['write', 'read', 'read'])
  const clock = { milliseconds: START, now: () => clock.milliseconds }
  const failures: string[] = []
  const { lookup } = createEntitlementLookup({
    source: fake,
    ...surroundings(clock),
    onFailure: (tenant, { source, kind }) => failures.push(`${tenant}/${source}: ${kind}`),
  })
  const acme = tenantOf('acme', sources)
  const ask = (user = 'ada', { tenant = acme, idp = 'login', signal = patience() } = {}) =>
    lookup(tenant, { idp, user }, signal)
  return { fake, clock, ask, failures }
}

/** What a look-up needs besides a source; `draw` decides how long before its end an answer is renewed: 1 is not at all. */
function surroundings(clock: Clock, draw = 0) {
  const random = { bytes: (length: number) => Buffer.alloc(length, Math.round(draw * 255)) }
  return { clock, random, upstreams: createUpstreams({ random, clock }) }
}

const patience = (): AbortSignal => new AbortController().signal

async function refusalOf(outcome: Promise<unknown>): Promise<Refusal> {
  try {
    await outcome
  } catch (error) {
    if (isRefusal(error, 'entitlements_unavailable')) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'nothing was refused' })
}

test('roles come sorted, without duplicates, and with the time of the answer', async () => {
  const { ask } = setUp()
  assert.deepEqual(await ask(), {
    status: 'fresh',
    at: Math.floor(START / 1000),
    unknownUser: false,
    roles: ['read', 'write'],
  })
})

test('an answer is used until it is no longer fresh, and not a millisecond longer', async () => {
  const { ask, fake, clock } = setUp()
  await ask()
  clock.milliseconds += 59_999
  await ask()
  assert.equal(fake.calls.length, 1)

  fake.know('hr', 'ada', ['none'])
  clock.milliseconds += 1
  assert.deepEqual((await ask()).roles, ['none'])
  assert.equal(fake.calls.length, 2)
})

test('"no such user" is remembered for its own, shorter time', async () => {
  const { ask, fake, clock } = setUp()
  assert.deepEqual((await ask('carol')).unknownUser, true)
  clock.milliseconds += 29_999
  assert.deepEqual((await ask('carol')).roles, [])
  assert.equal(fake.calls.length, 1)

  fake.know('hr', 'carol', ['read'])
  clock.milliseconds += 1
  assert.deepEqual((await ask('carol')).roles, ['read'])
})

test('an answer from before the clock was set back is not used', async () => {
  const { ask, fake, clock } = setUp()
  await ask()
  clock.milliseconds -= 3_600_000
  await ask()
  assert.equal(fake.calls.length, 2)
})

test('a thousand requests for one user make one call', async () => {
  const { ask, fake } = setUp()
  const release = fake.hold()
  const answers = Array.from({ length: 1000 }, () => ask())
  release()
  for (const answer of await Promise.all(answers)) assert.deepEqual(answer.roles, ['read', 'write'])
  assert.equal(fake.calls.length, 1)
})

test('a failure is told to all who wait, and never reads as "no roles"', async () => {
  const { ask, fake, failures, clock } = setUp()
  for (const kind of ['unreachable', 'timeout', 'status', 'contract'] as const) {
    fake.fail('hr', kind)
    for (const refusal of await Promise.all([refusalOf(ask()), refusalOf(ask())])) {
      assert.ok(refusal.retryAfterSeconds !== undefined && refusal.retryAfterSeconds >= 2)
      assert.ok(refusal.cause instanceof SourceFailure)
      assert.doesNotMatch(refusal.message, /hr|example|made to fail/)
    }
    clock.milliseconds += 10_000
  }
  fake.fail('hr', undefined)
  assert.deepEqual((await ask()).roles, ['read', 'write'])
  assert.deepEqual(failures, [
    'acme/hr: unreachable',
    'acme/hr: timeout',
    'acme/hr: status',
    'acme/hr: contract',
  ])
})

test('a source that failed is not asked about the same user at every request, nor left alone for long', async () => {
  const { ask, fake, clock } = setUp()
  fake.fail('hr', 'contract')
  for (let second = 0; second < 60; second += 0.1) {
    await refusalOf(ask())
    clock.milliseconds += 100
  }
  assert.ok(fake.calls.length >= 60 / 5.5 && fake.calls.length <= 20, `${fake.calls.length} calls`)
  fake.fail('hr', undefined)
  clock.milliseconds += 5500
  assert.deepEqual((await ask()).roles, ['read', 'write'])
})

test('when an answer is no longer fresh a failing source is a refusal, not the old answer', async () => {
  const { ask, fake, clock } = setUp()
  await ask()
  clock.milliseconds += 60_000
  fake.fail('hr', 'unreachable')
  await refusalOf(ask())
})

test('an impatient caller is refused at its own budget and the call goes on for the others', async () => {
  const { ask, fake } = setUp()
  const release = fake.hold()
  const budget = new AbortController()
  const impatient = ask('ada', { signal: budget.signal })
  const patient = ask()
  budget.abort()

  await refusalOf(impatient)
  release()
  assert.deepEqual((await patient).roles, ['read', 'write'])
  await ask()
  assert.equal(fake.calls.length, 1)
})

test('a caller whose budget is spent makes no call, but is served from the cache', async () => {
  const { ask, fake } = setUp()
  await refusalOf(ask('ada', { signal: AbortSignal.abort() }))
  assert.equal(fake.calls.length, 0)
  await ask()
  assert.deepEqual((await ask('ada', { signal: AbortSignal.abort() })).roles, ['read', 'write'])
})

test('the shared call ends at the deadline of the source, whatever its callers allow', async () => {
  const { ask, fake, failures, clock } = setUp([sourceOf({ totalMilliseconds: 20 })])
  const release = fake.hold()
  const refusal = await refusalOf(ask())
  assert.ok(refusal.cause instanceof SourceFailure)
  assert.equal(refusal.cause.kind, 'timeout')
  assert.deepEqual(failures, ['acme/hr: timeout'])
  release()
  clock.milliseconds += 1000
  assert.deepEqual((await ask()).roles, ['read', 'write'])
})

test('a user nobody waits for any more may fail without ending the process', async () => {
  const { ask, fake } = setUp()
  const release = fake.hold()
  const budget = new AbortController()
  const impatient = ask('ada', { signal: budget.signal })
  budget.abort()
  await refusalOf(impatient)
  fake.fail('hr', 'unreachable')
  release()
  await new Promise((resolve) => setImmediate(resolve))
})

test('several sources are merged by union, and one that fails refuses all', async () => {
  const { ask, fake, clock } = setUp([sourceOf(), sourceOf({ name: 'crm' })])
  fake.know('crm', 'ada', ['sell', 'read'])
  assert.deepEqual((await ask()).roles, ['read', 'sell', 'write'])
  assert.equal(await ask(), await ask(), 'a cached union is not made again')

  clock.milliseconds += 60_000
  fake.fail('crm', 'timeout')
  await refusalOf(ask())
  fake.fail('crm', undefined)
  clock.milliseconds += 1000
  assert.deepEqual((await ask()).roles, ['read', 'sell', 'write'])
})

test('sources are asked at the same time', async () => {
  const { ask, fake } = setUp([sourceOf(), sourceOf({ name: 'crm' })])
  const release = fake.hold()
  const answer = ask()
  await new Promise((resolve) => setImmediate(resolve))
  assert.deepEqual(fake.calls, ['hr/ada', 'crm/ada'])
  release()
  await answer
})

test('a user is unknown only when every source says so', async () => {
  const { ask, fake } = setUp([sourceOf(), sourceOf({ name: 'crm' })])
  assert.equal((await ask('ada')).unknownUser, false)
  assert.equal((await ask('carol')).unknownUser, true)
  fake.know('crm', 'dave', [])
  assert.equal((await ask('dave')).unknownUser, false)
})

test('the time told is that of the oldest answer', async () => {
  const { ask, clock } = setUp([
    sourceOf({ freshMilliseconds: 90_000, unknownUserMilliseconds: 90_000 }),
    sourceOf({ name: 'crm' }),
  ])
  const first = await ask()
  clock.milliseconds += 61_000
  const second = await ask()
  assert.equal(second.at, first.at)
  clock.milliseconds += 29_000
  assert.equal((await ask()).at, first.at + 61)
})

test('a source is asked only about users of the IdPs it serves', async () => {
  const { ask, fake } = setUp([
    sourceOf(),
    sourceOf({ name: 'crm', idps: ['partner'] }),
    sourceOf({ name: 'erp', idps: ['partner'] }),
  ])
  await ask('ada', { idp: 'login' })
  assert.deepEqual(fake.calls, ['hr/ada'])
})

test('a union made for one IdP is not given to an IdP that one more source serves', async () => {
  const { ask, fake } = setUp([
    sourceOf(),
    sourceOf({ name: 'crm' }),
    sourceOf({ name: 'erp', idps: ['partner'] }),
  ])
  fake.know('erp', 'ada', ['pay'])
  assert.deepEqual((await ask('ada', { idp: 'login' })).roles, ['read', 'write'])
  assert.deepEqual((await ask('ada', { idp: 'partner' })).roles, ['pay', 'read', 'write'])
  assert.deepEqual((await ask('ada', { idp: 'login' })).roles, ['read', 'write'])
})

test('an IdP that no source serves is a refusal and not an empty set of roles', async () => {
  const { ask } = setUp([sourceOf({ idps: ['partner'] })])
  await refusalOf(ask('ada', { idp: 'login' }))
  await refusalOf(ask('ada', { idp: 'never-configured' }))
})

test('two tenants never share an answer, however alike their configuration is', async () => {
  const { ask, fake } = setUp()
  await ask()
  fake.know('hr', 'ada', ['other'])
  const globex = tenantOf('globex', [sourceOf()])
  assert.deepEqual((await ask('ada', { tenant: globex })).roles, ['other'])
  assert.deepEqual((await ask()).roles, ['read', 'write'])
})

test('a source that was changed is asked anew; a reload that changed nothing of it is not noticed', async () => {
  const { ask, fake } = setUp()
  await ask()
  await ask('ada', { tenant: tenantOf('acme', [sourceOf({ freshMilliseconds: 50_000 })]) })
  assert.equal(fake.calls.length, 1)

  const changes: readonly Partial<Source>[] = [
    { url: 'https://other.example.test/{user}' },
    { rolesPath: 'roles' },
    { nextPagePath: undefined },
    { echoPath: 'user' },
    { maxPages: 2 },
    { auth: { header: 'authorization', value: new Secret('Bearer a') } },
    { auth: { header: 'authorization', value: new Secret('Bearer b') } },
    { auth: { header: 'x-key', value: new Secret('Bearer b') } },
  ]
  for (const [i, change] of changes.entries()) {
    await ask('ada', { tenant: tenantOf('acme', [sourceOf(change)]) })
    assert.equal(fake.calls.length, 2 + i, JSON.stringify(change))
  }
  await ask('ada', { tenant: tenantOf('acme', [sourceOf()], 3) })
  assert.equal(fake.calls.length, 2 + changes.length)
})

const careless = (roles: readonly string[]): EntitlementSource => ({
  rolesOf: () => Promise.resolve({ known: true, roles }),
})

test('a source whose roles are no roles, or more than allowed, fails whatever its adapter let through', async () => {
  for (const roles of [['a\r\nb'], ['a', 'b', 'c']]) {
    const { lookup } = createEntitlementLookup({
      source: careless(roles),
      ...surroundings({ now: () => START }),
    })
    const tenant = tenantOf('acme', [sourceOf()], 2)
    await refusalOf(lookup(tenant, { idp: 'login', user: 'ada' }, patience()))
  }
})

test('a bug in an adapter is a bug, not an outage', async () => {
  const broken: EntitlementSource = { rolesOf: () => Promise.reject(new TypeError('a bug')) }
  const { lookup } = createEntitlementLookup({
    source: broken,
    ...surroundings({ now: () => START }),
  })
  const asked = lookup(tenantOf('acme', [sourceOf()]), { idp: 'login', user: 'ada' }, patience())
  await assert.rejects(asked, TypeError)
})

test('evidence is shared by requests and cannot be changed by one of them', async () => {
  const { ask } = setUp()
  const evidence = await ask()
  assert.throws(() => (evidence.roles as string[]).push('admin'), TypeError)
  assert.throws(() => Object.assign(evidence, { roles: ['admin'] }), TypeError)
  assert.equal(await ask(), evidence)
})

test('whatever fails when, an answer is the complete set or a refusal', async () => {
  const kinds = fc.constantFrom<SourceFailure['kind'] | undefined>('timeout', 'contract', undefined)
  const steps = fc.array(fc.tuple(kinds, kinds, fc.nat(90_000)), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const { ask, fake, clock } = setUp([sourceOf(), sourceOf({ name: 'crm' })])
      fake.know('crm', 'ada', ['sell'])
      for (const [hr, crm, pause] of history) {
        fake.fail('hr', hr)
        fake.fail('crm', crm)
        clock.milliseconds += pause
        try {
          assert.deepEqual((await ask()).roles, ['read', 'sell', 'write'])
        } catch (error) {
          assert.ok(isRefusal(error, 'entitlements_unavailable'), String(error))
        }
      }
    }),
    { numRuns: 40 },
  )
})
