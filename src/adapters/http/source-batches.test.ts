/** Look-ups that share a request. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import {
  type ApiBatch,
  type EntitlementApi,
  startEntitlementApi,
} from '../../../test/fakes/entitlement-api.ts'
import { sourceOf } from '../../../test/fakes/entitlement-source.ts'
import type { SourceBatch } from '../../entitlement/batch-options.ts'
import type { Source } from '../../entitlement/options.ts'
import { type SourceAnswer, SourceFailure } from '../../entitlement/source.ts'
import { systemClock } from '../../lib/clock.ts'
import { Secret } from '../../lib/secret.ts'
import { createEgress } from './egress.ts'
import { createHttpEntitlementSource } from './entitlement-source.ts'

const AUTH = { header: 'authorization', value: new Secret('Bearer s3cret') }

interface World {
  readonly api: EntitlementApi
  readonly ask: (user: string, over?: Partial<Asking>) => Promise<SourceAnswer>
}

interface Asking {
  readonly maxRoles: number
  readonly signal: AbortSignal
}

/** The window is long, so that whatever a test asks for in one breath goes together on any machine. */
async function inWorld(
  check: (world: World) => Promise<void>,
  batch: Partial<SourceBatch> = {},
  overrides: Partial<Source> = {},
): Promise<void> {
  const api = await startEntitlementApi()
  const egress = createEgress({ allow: [], allowLoopback: true })
  const port = createHttpEntitlementSource({ egress, clock: systemClock })
  const source = sourceOf({
    url: api.url,
    auth: AUTH,
    batch: {
      url: api.batchUrl,
      usersMember: 'users',
      answersPath: 'answers[*]',
      userPath: 'user',
      rolesPath: 'roles',
      unknownPath: 'unknown',
      windowMilliseconds: 100,
      max: 100,
      ...batch,
    },
    ...overrides,
  })
  for (const user of ['ada', 'bob', 'eve']) api.users.set(user, [`role of ${user}`])
  api.behave({ authorization: 'Bearer s3cret' })
  try {
    await check({
      api,
      ask: (user, { maxRoles = 200, signal = AbortSignal.timeout(30_000) } = {}) =>
        port.rolesOf(source, user, maxRoles, signal),
    })
  } finally {
    await port.close()
    await api.close()
  }
}

const roles = (...given: string[]) => ({ known: true, roles: given })

function failsWith(about: RegExp, kind: SourceFailure['kind'] = 'contract') {
  return (error: unknown): boolean => {
    assert.ok(error instanceof SourceFailure, String(error))
    assert.match(error.message, about)
    assert.equal(error.kind, kind)
    return true
  }
}

test('look-ups within the window share one request, each user named once', () =>
  inWorld(async ({ api, ask }) => {
    const answers = await Promise.all(['ada', 'bob', 'nobody', 'ada'].map((user) => ask(user)))
    const ada = roles('role of ada')
    assert.deepEqual(answers, [ada, roles('role of bob'), { known: false }, ada])
    assert.equal(api.requests.length, 1)
    const [request] = api.requests
    assert.equal(request?.method, 'POST')
    assert.equal(request?.headers['content-type'], 'application/json')
    assert.deepEqual(JSON.parse(request?.body ?? ''), { users: ['ada', 'bob', 'nobody'] })
  }))

test('a request is sent as soon as it is full, and the rest goes with the next', () =>
  inWorld(
    async ({ api, ask }) => {
      const users = ['ada', 'bob', 'eve', 'nobody', 'none']
      await Promise.all(users.map((user) => ask(user)))
      const asked = api.requests.map(
        ({ body }) => (JSON.parse(body) as { users: string[] }).users.length,
      )
      assert.deepEqual(asked, [2, 2, 1])
    },
    { max: 2 },
  ))

test('each look-up has its own limit of roles', () =>
  inWorld(async ({ api, ask }) => {
    api.users.set('ada', ['a', 'b', 'c'])
    const [few, enough, bob] = await Promise.allSettled([
      ask('ada', { maxRoles: 2 }),
      ask('ada', { maxRoles: 3 }),
      ask('bob', { maxRoles: 2 }),
    ])
    assert.equal(few.status, 'rejected')
    assert.deepEqual(enough, { status: 'fulfilled', value: roles('a', 'b', 'c') })
    assert.deepEqual(bob, { status: 'fulfilled', value: roles('role of bob') })
    assert.equal(api.requests.length, 1)
  }))

test('a user the answer is silent about is a failure for that user alone, and never "unknown" or "no roles"', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({
      lieInBatch: ({ answers, unknown }) => ({ answers: answers.slice(1), unknown }),
    })
    const [ada, bob] = await Promise.allSettled([ask('ada'), ask('bob')])
    assert.ok(ada.status === 'rejected')
    assert.ok(failsWith(/does not answer about the user/)(ada.reason))
    assert.deepEqual(bob, { status: 'fulfilled', value: roles('role of bob') })
  }))

test('an API that never says "unknown" has no unknown users', () =>
  inWorld(
    async ({ ask }) => {
      await assert.rejects(ask('nobody'), failsWith(/does not answer/))
      assert.deepEqual(await ask('ada'), roles('role of ada'))
    },
    { unknownPath: undefined },
  ))

test('roles of another shape fail their user, whole, and nobody else', () =>
  inWorld(async ({ api, ask }) => {
    for (const given of [['a', 7], [null], 'a', null, undefined, {}, { 0: 'a', length: 1 }]) {
      api.behave({
        lieInBatch: ({ answers, unknown }) => ({
          answers: answers.map((one) => (one.user === 'ada' ? { ...one, roles: given } : one)),
          unknown,
        }),
      })
      const [ada, bob] = await Promise.allSettled([ask('ada'), ask('bob')])
      assert.equal(ada.status, 'rejected')
      assert.deepEqual(bob, { status: 'fulfilled', value: roles('role of bob') })
    }
  }))

const BROKEN: Readonly<Record<string, readonly [RegExp, (batch: ApiBatch) => unknown]>> = {
  'an answer about somebody who was not asked for': [
    /not asked for/,
    ({ answers, unknown }) => ({ answers: [...answers, { user: 'root', roles: [] }], unknown }),
  ],
  'an unknown user who was not asked for': [
    /not asked for/,
    ({ answers }) => ({ answers, unknown: ['root'] }),
  ],
  'two answers about one user': [
    /twice/,
    ({ answers, unknown }) => ({ answers: [...answers, ...answers], unknown }),
  ],
  'a user who is known and unknown': [/twice/, ({ answers }) => ({ answers, unknown: ['ada'] })],
  'an answer about nobody': [
    /not asked for/,
    ({ answers, unknown }) => ({
      answers: answers.map(({ roles: all }) => ({ roles: all })),
      unknown,
    }),
  ],
  'a name that is no text': [
    /not asked for/,
    ({ answers, unknown }) => ({
      answers: answers.map((one) => ({ ...one, user: [one.user] })),
      unknown,
    }),
  ],
  'a list under another name': [
    /no member answers/,
    ({ answers, unknown }) => ({ items: answers, unknown }),
  ],
  'no list of unknown users': [/no member unknown/, ({ answers }) => ({ answers })],
  'an object in place of the list': [/no array/, ({ unknown }) => ({ answers: {}, unknown })],
}

for (const [what, [about, lieInBatch]] of Object.entries(BROKEN)) {
  test(`${what} fails every look-up of the request, and none of the next`, () =>
    inWorld(async ({ api, ask }) => {
      api.behave({ lieInBatch })
      for (const outcome of await Promise.allSettled([ask('ada'), ask('bob')])) {
        assert.ok(outcome.status === 'rejected')
        assert.ok(failsWith(about)(outcome.reason))
      }
      api.behave({ lieInBatch: (batch) => batch })
      assert.deepEqual(await ask('ada'), roles('role of ada'))
    }))
}

test('a batch that fails is not asked for user by user', () =>
  inWorld(async ({ api, ask }) => {
    for (const status of [404, 500, 503]) {
      api.forget()
      api.behave({ status })
      const outcomes = await Promise.allSettled([ask('ada'), ask('bob')])
      for (const outcome of outcomes) {
        assert.ok(outcome.status === 'rejected')
        assert.ok(failsWith(new RegExp(`batch: status ${status}`), 'status')(outcome.reason))
      }
      assert.equal(api.requests.length, 1)
    }
  }))

test('a caller who leaves takes nobody along', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ delayMilliseconds: 300 })
    const budget = new AbortController()
    const leaving = ask('ada', { signal: budget.signal })
    const staying = ask('bob')
    // After the window, so that the request is under way.
    setTimeout(() => budget.abort(), 200)
    await assert.rejects(leaving, failsWith(/in time/, 'timeout'))
    assert.deepEqual(await staying, roles('role of bob'))
    assert.equal(api.requests.length, 1)
  }))

test('nothing is sent for callers who left before the window ended', () =>
  inWorld(async ({ api, ask }) => {
    const budget = new AbortController()
    const leaving = ask('ada', { signal: budget.signal })
    budget.abort()
    await assert.rejects(leaving, failsWith(/in time/, 'timeout'))
    await sleep(300)
    assert.equal(api.requests.length, 0)
  }))

test('a request has a deadline of its own, whatever its callers would wait', () =>
  inWorld(
    async ({ api, ask }) => {
      api.behave({ hang: true })
      await assert.rejects(ask('ada'), failsWith(/in time/, 'timeout'))
    },
    {},
    { totalMilliseconds: 200 },
  ))

test('a batch endpoint on another origin is not asked: the credential belongs to one place', () =>
  inWorld(
    async ({ api, ask }) => {
      await assert.rejects(ask('ada'), failsWith(/another origin/))
      assert.equal(api.requests.length, 0)
    },
    { url: 'http://127.0.0.2/roles' },
  ))

test('a user name that no encoding carries is not sent, and harms no other look-up', () =>
  inWorld(async ({ api, ask }) => {
    const [bad, empty, ada] = await Promise.allSettled([ask('\ud800'), ask(''), ask('ada')])
    assert.equal(bad.status, 'rejected')
    assert.equal(empty.status, 'rejected')
    assert.deepEqual(ada, { status: 'fulfilled', value: roles('role of ada') })
    assert.doesNotMatch(api.requests[0]?.body ?? '', /fffd|d800/i)
  }))

test('everybody gets the roles of nobody else, however look-ups come together', () =>
  inWorld(
    async ({ api, ask }) => {
      const names = fc.uniqueArray(fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }), {
        minLength: 1,
        maxLength: 30,
      })
      await fc.assert(
        fc.asyncProperty(names, async (users) => {
          api.users.clear()
          const known = users.filter((_, index) => index % 3 !== 2)
          for (const user of known) api.users.set(user, [`role of ${user}`])
          const answers = await Promise.all(users.map((user) => ask(user)))
          for (const [index, user] of users.entries()) {
            const expected = known.includes(user) ? roles(`role of ${user}`) : { known: false }
            assert.deepEqual(answers[index], expected)
          }
        }),
        { numRuns: 60 },
      )
    },
    { windowMilliseconds: 1, max: 7 },
  ))
