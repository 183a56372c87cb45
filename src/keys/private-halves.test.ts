import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Custody, createPrivateHalves, PrivateHalfError } from './private-halves.ts'
import type { KeyState, Ring, RingKey } from './ring.ts'

const DAY = 86_400_000
const signal = (): AbortSignal => AbortSignal.timeout(10_000)

const key = (kid: string, state: KeyState, more: Partial<RingKey> = {}): RingKey => ({
  kid,
  alg: 'ES256',
  state,
  publicJwk: {},
  createdAt: 0,
  by: 'ada',
  reason: 'test',
  ...more,
})
const ringOf = (...keys: RingKey[]): Ring => ({ version: 1, keys })

/** Private halves over a custody that notes every call; `on` may make one fail or wait. */
function setUp({ signsByStore = false } = {}) {
  const calls: string[] = []
  const logged: string[] = []
  const on: { call: (what: string) => void | Promise<void> } = { call: () => undefined }
  let now = 100 * DAY
  const did = async (what: string) => {
    calls.push(what)
    await on.call(what)
  }
  const custody: Custody = {
    signsByStore,
    check: () => did('check'),
    async make(_tenant, alg) {
      await did(`make ${alg}`)
      return {
        key: { kid: alg, alg, publicJwk: {} },
        keep: () => did(`keep ${alg}`),
        forget: () => did(`forget ${alg}`),
      }
    },
    load: (_tenant, { kid }) => did(`load ${kid}`),
    unload: (_tenant, kid) => void calls.push(`unload ${kid}`),
    destroy: (_tenant, { kid }) => did(`destroy ${kid}`),
  }
  const line = (_fields: object, text: string) => void logged.push(text)
  const log = { error: line, warn: line }
  const halves = createPrivateHalves({
    custody,
    clock: { now: () => now },
    // Only failures are logged here.
    log: log as never,
  })
  /** The calls since the last time. */
  const taken = () => calls.splice(0)
  const advance = (by: number) => {
    now += by
  }
  return { halves, on, taken, logged, advance }
}
const failing = (which: string) => (what: string) => {
  if (what === which) throw new Error('the store is down.')
}

test('of several keys to be made all are made or none is left', async () => {
  const { halves, on, taken } = setUp()
  const made = await halves.make('acme', ['ES256', 'EdDSA'], signal())
  assert.deepEqual(
    made.map((one) => one.key.kid),
    ['ES256', 'EdDSA'],
  )
  taken()
  on.call = failing('make EdDSA')
  await assert.rejects(halves.make('acme', ['ES256', 'EdDSA', 'PS256'], signal()), /down/)
  assert.deepEqual(taken().slice(3), ['forget ES256', 'forget PS256'])
})

test('a key that was made for nothing and cannot be deleted is named in the log, as no ring names it', async () => {
  const { halves, on, logged } = setUp()
  const [made] = await halves.make('acme', ['ES256'], signal())
  on.call = failing('forget ES256')
  await made?.forget(signal())
  assert.equal(logged.length, 1)
  assert.match(logged[0] ?? '', /a key that no ring names was left behind/)
})

test('the signer gets the keys that sign and will sign, each once, and no other', async () => {
  const { halves, taken } = setUp()
  const states = ['staged', 'published', 'active', 'verify-only', 'retired', 'compromised'] as const
  const ring = ringOf(...states.map((state) => key(state, state)))
  assert.deepEqual(await halves.load('acme', ring, signal()), [])
  assert.deepEqual(taken(), ['load published', 'load active'])
  await halves.load('acme', ring, signal())
  assert.deepEqual(taken(), [])
  assert.ok(halves.isLoaded('acme', 'active'))
  assert.ok(!halves.isLoaded('acme', 'verify-only'))
  assert.ok(!halves.isLoaded('globex', 'active'))
})

test('a private half that cannot be loaded does not keep the others from it, and is tried again', async () => {
  const { halves, on, taken, logged } = setUp()
  const ring = ringOf(key('1', 'active'), key('2', 'published'))
  on.call = failing('load 1')
  for (let attempts = 0; attempts < 3; attempts += 1) {
    const [failure, ...more] = await halves.load('acme', ring, signal())
    assert.ok(failure instanceof PrivateHalfError)
    assert.equal(failure.kid, '1')
    assert.match(failure.message, /active ES256 key 1 of tenant acme .*: the store is down\. Give/)
    assert.deepEqual(more, [])
  }
  assert.deepEqual(taken(), ['load 1', 'load 2', 'load 1', 'load 1'])
  assert.deepEqual(logged, ['signing key not loaded'], 'and it is not a log line a second')
  on.call = () => undefined
  assert.deepEqual(await halves.load('acme', ring, signal()), [])
  assert.ok(halves.isLoaded('acme', '1'))
})

test('the private half of a key that stopped signing is destroyed at once; the memory of it lasts ten seconds', async () => {
  const { halves, taken, advance } = setUp()
  await halves.load('acme', ringOf(key('1', 'active')), signal())
  taken()
  const after = ringOf(key('1', 'verify-only'), key('2', 'active'), key('3', 'published'))
  await halves.destroySpent('acme', after, signal())
  assert.deepEqual(taken(), ['destroy 1'])
  advance(9999)
  await halves.destroySpent('acme', after, signal())
  assert.deepEqual(taken(), [])
  advance(1)
  await halves.destroySpent('acme', after, signal())
  assert.deepEqual(taken(), ['unload 1'])
})

test('where destroying ends signing, it waits for what is under way', async () => {
  const { halves, taken, advance } = setUp({ signsByStore: true })
  await halves.load('acme', ringOf(key('1', 'active')), signal())
  taken()
  const after = ringOf(key('1', 'verify-only'))
  await halves.destroySpent('acme', after, signal())
  assert.deepEqual(taken(), [])
  advance(10_000)
  await halves.destroySpent('acme', after, signal())
  assert.deepEqual(taken(), ['unload 1', 'destroy 1'])
})

test('a private half that could not be destroyed is tried again until it is gone, and then no more', async () => {
  const { halves, on, taken, logged } = setUp()
  const ring = ringOf(key('1', 'retired', { retiredAt: 100 * DAY }), key('2', 'compromised'))
  on.call = failing('destroy 1')
  await halves.destroySpent('acme', ring, signal())
  await halves.destroySpent('acme', ring, signal())
  assert.deepEqual(taken(), ['destroy 1', 'destroy 2', 'destroy 1'])
  assert.equal(logged.length, 1)
  on.call = () => undefined
  await halves.destroySpent('acme', ring, signal())
  await halves.destroySpent('acme', ring, signal())
  assert.deepEqual(taken(), ['destroy 1'])
})

test('a process that starts does not ask for what was retired more than 90 days ago, but always for killed keys', async () => {
  const { halves, taken } = setUp()
  const ring = ringOf(
    key('long ago', 'retired', { retiredAt: 10 * DAY - 1 }),
    key('lately', 'retired', { retiredAt: 10 * DAY }),
    key('killed', 'compromised', { compromisedAt: 0 }),
  )
  await halves.destroySpent('acme', ring, signal())
  assert.deepEqual(taken(), ['destroy lately', 'destroy killed'])
})

test('attack: a stolen key is taken out of the signer as soon as its kill is known, without asking the store', async () => {
  const { halves, taken } = setUp()
  await halves.load('acme', ringOf(key('1', 'active')), signal())
  taken()
  halves.dropKilled('acme', ringOf(key('1', 'compromised')))
  assert.deepEqual(taken(), ['unload 1'])
  assert.ok(!halves.isLoaded('acme', '1'))
  halves.dropKilled('acme', ringOf(key('1', 'compromised')))
  assert.deepEqual(taken(), [])
})

test('attack: a key that is killed while a slow store hands it out does not stay in the signer', async () => {
  const { halves, on, taken } = setUp()
  const answer = Promise.withResolvers<void>()
  on.call = () => answer.promise
  const loading = halves.load('acme', ringOf(key('1', 'published')), signal())
  halves.dropKilled('acme', ringOf(key('1', 'compromised')))
  answer.resolve()
  await loading
  assert.deepEqual(taken(), ['load 1', 'unload 1'])
  assert.ok(!halves.isLoaded('acme', '1'))
})

test('a check is passed on, and touches no key', async () => {
  const { halves, on, taken } = setUp()
  await halves.check(signal())
  assert.deepEqual(taken(), ['check'])
  on.call = failing('check')
  await assert.rejects(halves.check(signal()), /down/)
})
