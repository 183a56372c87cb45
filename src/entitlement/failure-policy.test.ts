import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFakeEntitlementSource, sourceOf } from '../../test/fakes/entitlement-source.ts'
import { anIdp, aTenant } from '../../test/fakes/policy.ts'
import { createMemorySharedAnswers } from '../adapters/memory/shared-answers.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import { createUpstreams } from '../resilience/upstreams.ts'
import { createEntitlementLookup } from './lookup.ts'
import type { Source } from './options.ts'
import type { Purge, SharedAnswers } from './shared-answers.ts'

const START = 1_790_000_000_500
const MINUTE = 60_000
const STALE: Partial<Source> = {
  staleMilliseconds: 5 * MINUTE,
  staleIfErrorMilliseconds: 15 * MINUTE,
  onFailure: 'stale',
}
const LIMITED: Partial<Source> = {
  onFailure: 'limited',
  limited: { roles: ['read', 'guest'], ttlSeconds: 900 },
}

/** Time and sources that several replicas may share. */
function createWorld() {
  const clock = { milliseconds: START, now: () => clock.milliseconds }
  const fake = createFakeEntitlementSource()
  fake.know('hr', 'ada', ['write', 'read'])
  fake.know('crm', 'ada', ['sell'])
  return { clock, fake, pass: (milliseconds: number) => void (clock.milliseconds += milliseconds) }
}

function setUp(sources: readonly Source[], world = createWorld(), shared?: SharedAnswers) {
  const random = { bytes: (length: number) => Buffer.alloc(length) }
  const outcomes: string[] = []
  const sharedFailures: unknown[] = []
  const entitlements = createEntitlementLookup({
    source: world.fake,
    clock: world.clock,
    random,
    upstreams: createUpstreams({ random, clock: world.clock }),
    shared,
    sharedFailed: (error) => sharedFailures.push(error),
    outcome: (tenant, source, outcome) => outcomes.push(`${tenant}/${source}: ${outcome}`),
  })
  const acme = aTenant({ name: 'acme', idps: new Map([['login', anIdp()]]), sources })
  const signal = new AbortController().signal
  const ask = (user = 'ada', given = signal) =>
    entitlements.lookup(acme, { idp: 'login', user }, given)
  return {
    ...world,
    ask,
    outcomes,
    sharedFailures,
    acme,
    facts: () => entitlements.facts(),
    close: () => entitlements.close(),
    purge: (what: Purge) => entitlements.purge(what, signal),
    /** `status roles`, or the code of the refusal. */
    told: async (user = 'ada'): Promise<string> => {
      try {
        return show(await ask(user))
      } catch (error) {
        if (isRefusal(error)) return error.code
        throw error
      }
    },
  }
}

function show({ status, unknownUser, roles }: EntitlementEvidence): string {
  return `${status} ${unknownUser ? 'unknown' : roles.join()}`
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5))
const REFUSED = 'entitlements_unavailable'

test('stale: an older answer is used at once while a new one is fetched, marked and with its own time', async () => {
  const { ask, pass, fake } = setUp([sourceOf(STALE)])
  const first = await ask()
  pass(MINUTE)
  fake.know('hr', 'ada', ['none'])
  const second = await ask()
  assert.deepEqual(second, { ...first, status: 'stale' })
  assert.equal(await ask(), second, 'the same evidence is not made twice')
  await settle()
  assert.equal(show(await ask()), 'fresh none')
  assert.equal(fake.calls.length, 2)
})

test('stale: while the source fails the last answer is used to the hard limit, then the look-up is refused', async () => {
  const { told, pass, fake, clock } = setUp([sourceOf(STALE)])
  await told()
  fake.fail('hr', 'status')
  for (const minute of [1, 3, 7, 15]) {
    clock.milliseconds = START + minute * MINUTE
    assert.equal(await told(), 'stale read,write', `minute ${minute}`)
    await settle()
  }
  clock.milliseconds = START + 16 * MINUTE - 1
  assert.equal(await told(), 'stale read,write')
  pass(1)
  assert.equal(await told(), REFUSED)
  fake.fail('hr', undefined)
  pass(10_000)
  assert.equal(await told(), 'fresh read,write')
})

test('stale: a source that fails before it ever answered is a refusal', async () => {
  const { told, fake } = setUp([sourceOf(STALE)])
  fake.fail('hr', 'timeout')
  assert.equal(await told(), REFUSED)
})

test('deny: staleIfError changes nothing, and stale ends with the first failure', async () => {
  const { told, pass, fake } = setUp([sourceOf({ ...STALE, onFailure: 'deny' })])
  await told()
  pass(MINUTE)
  fake.fail('hr', 'status')
  assert.equal(await told(), 'stale read,write', 'that it fails is not known yet')
  await settle()
  assert.equal(await told(), REFUSED)
  pass(MINUTE)
  assert.equal(await told(), REFUSED)
})

test('limited: while nothing may be used, the listed roles stand in, marked and for a short life', async () => {
  const { ask, told, fake, pass, clock } = setUp([sourceOf(LIMITED)])
  fake.fail('hr', 'status')
  assert.deepEqual(await ask(), {
    status: 'limited',
    at: Math.floor(START / 1000),
    unknownUser: false,
    roles: ['guest', 'read'],
    maxLifeSeconds: 900,
  })
  fake.fail('hr', undefined)
  pass(10_000)
  assert.equal(await told(), 'fresh read,write')
  fake.fail('hr', 'status')
  clock.milliseconds += MINUTE
  assert.equal(await told(), 'limited guest,read')
})

test('limited: an answer that may still be used comes first', async () => {
  const { told, fake, pass } = setUp([sourceOf({ ...STALE, ...LIMITED })])
  await told()
  fake.fail('hr', 'status')
  pass(15 * MINUTE)
  assert.equal(await told(), 'stale read,write')
  pass(MINUTE)
  assert.equal(await told(), 'limited guest,read')
})

test('limited: an outage gives no roles to somebody whom the source did not know when it last answered', async () => {
  const { told, fake, pass } = setUp([sourceOf({ ...STALE, ...LIMITED })])
  assert.equal(await told('leaver'), 'fresh unknown')
  fake.fail('hr', 'status')
  for (const minutes of [1, 10, 1000]) {
    pass(minutes * MINUTE)
    assert.equal(await told('leaver'), REFUSED)
  }
  assert.equal(await told('somebody else'), 'limited guest,read')
})

test('limited without a list refuses', async () => {
  const { told, fake } = setUp([sourceOf({ onFailure: 'limited' })])
  fake.fail('hr', 'status')
  assert.equal(await told(), REFUSED)
})

test('each source applies its own policy, one deny denies, and the worst status is told', async () => {
  const sources = [sourceOf(STALE), sourceOf({ ...LIMITED, name: 'crm' })]
  const { ask, told, fake, pass } = setUp(sources)
  fake.know('crm', 'ada', ['sell'])
  assert.equal(await told(), 'fresh read,sell,write')
  pass(MINUTE)
  assert.equal(await told(), 'stale read,sell,write')
  await settle()
  fake.fail('hr', 'status')
  fake.fail('crm', 'status')
  pass(MINUTE)
  const limited = await ask()
  assert.equal(show(limited), 'limited guest,read,write')
  assert.equal(limited.maxLifeSeconds, 900)
  assert.equal(limited.at, Math.floor((START + MINUTE) / 1000), 'the oldest answer used')

  const denying = setUp([sourceOf(LIMITED), sourceOf({ name: 'crm' })])
  denying.fake.fail('crm', 'status')
  assert.equal(await denying.told(), REFUSED)
})

test('a union with a stale part is not mistaken for the fresh one, nor the other way round', async () => {
  const sources = [
    sourceOf({ freshMilliseconds: 10 * MINUTE }),
    sourceOf({ ...STALE, name: 'crm' }),
  ]
  const { told, fake, pass } = setUp(sources)
  assert.equal(await told(), 'fresh read,sell,write')
  pass(MINUTE)
  assert.equal(await told(), 'stale read,sell,write')
  await settle()
  assert.equal(await told(), 'fresh read,sell,write')
  assert.equal(fake.calls.length, 3)
})

test('a caller whose token runs out while it waits is refused for that', async () => {
  const { ask, fake } = setUp([sourceOf()])
  const release = fake.hold()
  const budget = new AbortController()
  const asked = ask('ada', budget.signal)
  budget.abort(new Refusal('expired', 'The token expired.'))
  await assert.rejects(asked, (error) => isRefusal(error, 'expired'))
  await assert.rejects(ask('ada', budget.signal), (error) => isRefusal(error, 'expired'))
  release()
})

test('every look-up is counted once for each source, by what it came to', async () => {
  const { told, fake, pass, outcomes } = setUp([sourceOf({ ...STALE, ...LIMITED })])
  await told()
  await told()
  await told('nobody')
  await told('nobody')
  pass(MINUTE)
  await told()
  await settle()
  fake.fail('hr', 'status')
  await told('eve')
  await told('nobody')
  assert.deepEqual(
    outcomes.map((outcome) => outcome.replace('acme/hr: ', '')),
    ['loaded', 'fresh', 'unknown-user', 'unknown-user', 'stale', 'limited', 'failed'],
  )
})

test('a breaker that is open is a failure like any other: stale stands in, deny refuses, with the time to wait', async () => {
  const { told, ask, fake, pass, clock } = setUp([sourceOf(STALE), sourceOf({ name: 'crm' })])
  await told()
  pass(MINUTE)
  fake.fail('crm', 'status')
  const before = fake.calls.length
  for (let i = 0; i < 100; i += 1) assert.equal(await told(`user ${i}`), REFUSED)
  const made = fake.calls.slice(before).filter((call) => call.startsWith('crm/')).length
  assert.ok(made < 40, `${made} calls of a source that is down`)
  await assert.rejects(
    ask('eve'),
    (error) => isRefusal(error) && (error.retryAfterSeconds ?? 0) >= 2,
  )
  fake.fail('crm', undefined)
  clock.milliseconds += 10_000
  assert.equal(await told(), 'stale read,sell,write')
})

test('a purge makes the source be asked anew, for a user, a source or a tenant, and for nobody else', async () => {
  const { told, purge, fake, facts } = setUp([sourceOf(), sourceOf({ name: 'crm' })])
  fake.know('hr', 'bob', [])
  const refill = async () => {
    const before = fake.calls.length
    await told('ada')
    await told('bob')
    return fake.calls.slice(before).toSorted()
  }
  await refill()
  assert.deepEqual(await purge({ tenant: 'acme', user: 'ada' }), { entries: 2, shared: undefined })
  assert.deepEqual(await refill(), ['crm/ada', 'hr/ada'])
  assert.equal((await purge({ tenant: 'acme', source: 'crm' })).entries, 2)
  assert.deepEqual(await refill(), ['crm/ada', 'crm/bob'])
  await purge({ tenant: 'acme', source: 'crm', user: 'bob' })
  assert.deepEqual(await refill(), ['crm/bob'])
  await purge({ tenant: 'globex' })
  assert.deepEqual(await refill(), [])
  assert.deepEqual(
    facts().sources.map(({ tenant, source, entries }) => `${tenant}/${source}: ${entries}`),
    ['acme/hr: 2', 'acme/crm: 2'],
  )
  await purge({ tenant: 'acme' })
  assert.equal((await refill()).length, 4)
})

test('attack: roles that were taken away do not come back by a look-up that was under way when they were', async () => {
  const { ask, told, purge, fake } = setUp([sourceOf(STALE)])
  const release = fake.hold()
  const before = ask()
  await settle()
  // The source has read its data by now; only its answer is on the way.
  await purge({ tenant: 'acme', user: 'ada' })
  release()
  await before
  fake.know('hr', 'ada', [])
  fake.fail('hr', 'status')
  assert.equal(await told(), REFUSED)
})

test('replicas share answers: one call serves all, its age counts from the question', async () => {
  const world = createWorld()
  const connect = createMemorySharedAnswers(world)
  const one = setUp([sourceOf()], world, connect())
  const two = setUp([sourceOf()], world, connect())
  await one.told()
  world.pass(30_000)
  assert.equal(await two.told(), 'fresh read,write')
  assert.equal(await two.told('nobody'), 'fresh unknown')
  assert.deepEqual(two.outcomes, ['acme/hr: shared', 'acme/hr: unknown-user'])
  world.pass(30_000)
  assert.equal(world.fake.calls.length, 2)
  await two.told()
  assert.equal(world.fake.calls.length, 3)
})

test('a replica that just started bridges an outage with what the others knew, within the same limits', async () => {
  const world = createWorld()
  const connect = createMemorySharedAnswers(world)
  await setUp([sourceOf(STALE)], world, connect()).told()
  world.fake.fail('hr', 'status')
  world.pass(16 * MINUTE - 1)
  const late = setUp([sourceOf(STALE)], world, connect())
  assert.equal(await late.told(), 'stale read,write')
  world.pass(1)
  assert.equal(await setUp([sourceOf(STALE)], world, connect()).told(), REFUSED)
})

test('a purge at one replica reaches the others, and what they asked before it', async () => {
  const world = createWorld()
  const connect = createMemorySharedAnswers(world)
  const one = setUp([sourceOf(STALE)], world, connect())
  const two = setUp([sourceOf(STALE)], world, connect())
  await one.told()
  await two.told()
  world.fake.know('hr', 'ada', ['less'])
  assert.deepEqual(await one.purge({ tenant: 'acme' }), { entries: 1, shared: true })
  assert.equal(await two.told(), 'fresh less')
  two.close()
  await one.purge({ tenant: 'acme' })
  world.fake.know('hr', 'ada', ['none'])
  assert.equal(await two.told(), 'fresh less', 'who has ended hears nothing any more')
})

const broken: Readonly<Record<string, SharedAnswers>> = {
  'is down': sharedBy(() => Promise.reject(new Error('down'))),
  hangs: sharedBy(() => new Promise(() => undefined)),
}

function sharedBy(answer: () => Promise<never>): SharedAnswers {
  return { get: answer, put: answer, purge: answer, onPurge: () => () => undefined }
}

for (const [how, shared] of Object.entries(broken)) {
  test(`a shared cache that ${how} fails no look-up`, async () => {
    const { told, sharedFailures } = setUp([sourceOf()], createWorld(), shared)
    assert.equal(await told(), 'fresh read,write')
    assert.ok(sharedFailures.length > 0)
  })
}

test('a purge that the shared cache did not hear of says so, and does not take old answers back from it', async () => {
  const world = createWorld()
  const kept = createMemorySharedAnswers(world)()
  const deaf = { ...kept, purge: () => Promise.reject(new Error('down')) }
  const { told, purge, pass } = setUp([sourceOf(STALE)], world, deaf)
  await told()
  await settle()
  world.fake.know('hr', 'ada', ['less'])
  assert.deepEqual(await purge({ tenant: 'acme', user: 'ada' }), { entries: 1, shared: false })
  assert.equal(await told(), 'fresh less')
  assert.equal(world.fake.calls.length, 2)
  pass(5000)
  await purge({ tenant: 'acme' })
  world.fake.fail('hr', 'status')
  assert.equal(await told(), REFUSED)
})

for (const roles of [['a\r\nb'], Array.from({ length: 201 }, (_, i) => `r${i}`)]) {
  test(`attack: roles from the shared cache are judged like those of a source (${roles.length})`, async () => {
    const forged = { askedAt: START, known: true, roles }
    const shared = {
      ...createMemorySharedAnswers(createWorld())(),
      get: () => Promise.resolve(forged),
    }
    const { told } = setUp([sourceOf()], createWorld(), shared)
    assert.equal(await told(), 'fresh read,write')
  })
}

test('an answer that another replica stamped with a time to come is not used, then or when that time has come', async () => {
  const shared = {
    ...createMemorySharedAnswers(createWorld())(),
    get: () => Promise.resolve({ askedAt: START + 3_600_000, known: true, roles: ['future'] }),
  }
  const { told, fake, pass } = setUp([sourceOf(STALE)], createWorld(), shared)
  fake.fail('hr', 'status')
  assert.equal(await told(), REFUSED)
  shared.get = () => Promise.reject(new Error('down'))
  pass(3_600_000)
  assert.equal(await told(), REFUSED)
})
