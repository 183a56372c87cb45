import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryRingStore } from '../adapters/memory/ring-store.ts'
import type { SigningAlgorithm } from './options.ts'
import { type Custody, createPrivateHalves } from './private-halves.ts'
import { EMPTY_RING, type KeyState, kill, type Ring, type RingPolicy } from './ring.ts'
import { RingError } from './ring-error.ts'
import type { RingStore } from './store.ts'
import { createTenantRing } from './tenant-ring.ts'
import type { RingView } from './view.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const POLICY: RingPolicy = {
  publishAheadMilliseconds: DAY,
  rotateEveryMilliseconds: 30 * DAY,
  successors: 1,
  longestTokenMilliseconds: 12 * HOUR,
  skewMilliseconds: MINUTE,
}
const READY = DAY + 2 * MINUTE
const BY = { by: 'ada', reason: 'test' }
const signal = (): AbortSignal => AbortSignal.timeout(30_000)
// RFC 8037 appendix A.2
const PUBLIC_JWK = {
  kty: 'OKP',
  crv: 'Ed25519',
  x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
}

/** What replicas share: a ring store, a key store that knows kids, a clock. Each call may be made to fail or wait. */
function shared() {
  const kept = new Set<string>()
  const memory = createMemoryRingStore()
  const on: { halves: (what: string) => unknown; written: () => unknown } = {
    halves: () => undefined,
    written: () => undefined,
  }
  const time = { now: 1_800_000_000_000 }
  let made = 0
  const rings: RingStore = {
    load: (tenant, until) => memory.load(tenant, until),
    async compareAndSet(tenant, expected, next, until) {
      await on.written()
      return memory.compareAndSet(tenant, expected, next, until)
    },
  }
  const ring = async () => (await memory.load('acme', signal())) ?? EMPTY_RING
  const custody: Custody = {
    signsByStore: false,
    check: async () => void (await on.halves('check')),
    async make(_tenant, alg) {
      made += 1
      const kid = `k${made}`
      return {
        key: { kid, alg, publicJwk: PUBLIC_JWK },
        async keep() {
          await on.halves('keep')
          kept.add(kid)
        },
        forget: async () => undefined,
      }
    },
    async load(_tenant, { kid }) {
      await on.halves(`load ${kid}`)
      if (!kept.has(kid)) throw new Error('it is not in the store')
    },
    unload: () => undefined,
    async destroy(_tenant, { kid }) {
      await on.halves('destroy')
      kept.delete(kid)
    },
  }
  return { kept, memory, rings, ring, custody, on, time }
}
type Shared = ReturnType<typeof shared>

function replica(
  state: Shared,
  { policy = POLICY, chance = 0 }: { policy?: RingPolicy; chance?: number } = {},
) {
  const clock = { now: () => state.time.now }
  let view: RingView | undefined
  const tenant = createTenantRing(
    {
      rings: state.rings,
      halves: createPrivateHalves({ custody: state.custody, clock }),
      clock,
      show: (shown) => {
        view = shown
      },
      changed: () => undefined,
      chance: () => chance,
    },
    'acme',
    () => policy,
  )
  const keep = async (algorithms: readonly SigningAlgorithm[] = ['ES256']) => {
    await tenant.follow(signal())
    await tenant.settle(signal())
    await tenant.keep(algorithms, signal())
  }
  return { ...tenant, keep, shown: () => view }
}
async function opened(state: Shared, settings?: Parameters<typeof replica>[1]) {
  const one = replica(state, settings)
  await one.open(['ES256'], signal())
  return one
}
const statesOf = ({ keys }: Ring): Record<string, KeyState> =>
  Object.fromEntries(keys.map(({ kid, state }) => [kid, state]))
const ringError = (reason: RingError['reason']) => (error: unknown) =>
  error instanceof RingError && error.reason === reason

test('a new key is in JWKS on every replica though the key store hangs, and signs nowhere', async () => {
  const state = shared()
  const two = { ...POLICY, successors: 2 }
  const [one, other] = [await opened(state), await opened(state, { policy: two })]
  await other.keep()
  assert.deepEqual(statesOf(await state.ring()), { k1: 'active', k2: 'published', k3: 'published' })
  state.on.halves = () => new Promise(() => undefined)
  await one.follow(signal())
  assert.deepEqual(one.shown()?.jwks.kids, ['k1', 'k2', 'k3'])
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k1')
})

test('a successor that cannot be loaded here is not shown as the key that signs, until it is', async () => {
  const state = shared()
  const one = await opened(state)
  state.on.halves = (what) => {
    if (what === 'load k2') throw new Error('down')
  }
  const other = replica(state)
  await assert.rejects(other.open(['ES256'], signal()), /k2 .* could not be loaded: down/)
  state.time.now += READY
  await one.rotate('ES256', BY, signal())
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k2')
  await other.follow(signal())
  assert.equal(other.shown()?.signing.get('ES256')?.kid, 'k1', 'verifiers still know it')
  state.on.halves = () => undefined
  await other.keep()
  assert.equal(other.shown()?.signing.get('ES256')?.kid, 'k2')
})

test('without a successor a kill leaves nothing that signs, and the next key made signs at once', async () => {
  const state = shared()
  const one = await opened(state)
  await one.change('kill', 'k2', BY, signal())
  await one.change('kill', 'k1', BY, signal())
  assert.deepEqual(statesOf(await state.ring()), { k1: 'compromised', k2: 'compromised' })
  assert.equal(one.shown()?.signing.get('ES256'), undefined)
  assert.deepEqual(one.shown()?.jwks.kids, [])
  await one.keep()
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k3')
  assert.deepEqual([...state.kept], ['k3', 'k4'])
})

test('attack: a kill that a replica reads on the way to a change is obeyed though the change hangs', async () => {
  const state = shared()
  const one = await opened(state)
  const ring = await state.ring()
  const change = { ...BY, now: state.time.now }
  await state.memory.compareAndSet('acme', ring.version, kill(ring, 'k1', POLICY, change), signal())
  const asked = Promise.withResolvers<void>()
  state.on.written = () => {
    asked.resolve()
    return new Promise(() => undefined)
  }
  void one.change('kill', 'k2', BY, signal())
  await asked.promise
  assert.notEqual(one.shown()?.signing.get('ES256')?.kid, 'k1')
  assert.ok(!one.shown()?.jwks.kids.includes('k1'))
})

test('attack: a replica that is slow to load a new key does not bring back one that was killed meanwhile', async () => {
  const state = shared()
  const [one, other] = [
    await opened(state),
    await opened(state, { policy: { ...POLICY, successors: 2 } }),
  ]
  await other.keep()
  const answer = Promise.withResolvers<void>()
  state.on.halves = () => answer.promise
  await one.follow(signal())
  const settling = one.settle(signal())
  state.on.halves = () => undefined
  await other.change('kill', 'k2', BY, signal())
  await one.follow(signal())
  assert.deepEqual(one.shown()?.jwks.kids, ['k1', 'k3'])
  answer.resolve()
  await settling
  assert.deepEqual(one.shown()?.jwks.kids, ['k1', 'k3'])
})

test('a promotion to a key that does not work here is refused; a kill waits for nothing', async () => {
  const state = shared()
  const one = await opened(state)
  state.time.now += READY
  state.kept.delete('k2')
  const other = replica(state)
  await assert.rejects(other.open(['ES256'], signal()), /k2/)
  await assert.rejects(other.change('promote', 'k2', BY, signal()), /k2 .* not loaded here/)
  assert.equal(statesOf(await state.ring())['k1'], 'active')
  await one.change('kill', 'k1', BY, signal())
  assert.deepEqual(statesOf(await state.ring()), { k1: 'compromised', k2: 'active' })
})

test('a promotion and a retirement by hand are followed by a new successor', async () => {
  const state = shared()
  const one = await opened(state)
  state.time.now += READY
  await one.change('promote', 'k2', BY, signal())
  assert.deepEqual(statesOf(await state.ring()), { k1: 'verify-only', k2: 'active' })
  await one.keep()
  assert.deepEqual([...state.kept], ['k2', 'k3'])
  await assert.rejects(one.change('retire', 'k3', BY, signal()), ringError('no_successor'))
  await assert.rejects(one.change('retire', 'k1', BY, signal()), ringError('still_needed'))
})

test('replicas that see the same thing due wait for their turn, and the first does it for all', async () => {
  const state = shared()
  const [one, other] = [await opened(state, { chance: 0.1 }), await opened(state, { chance: 0.9 })]
  state.time.now += 30 * DAY
  const { version } = await state.ring()
  for (const each of [one, other]) await each.keep()
  assert.equal((await state.ring()).version, version, 'no turn yet')
  state.time.now += 10_000 // spread over a minute: the first came at 6 s, the other comes at 54 s
  for (const each of [other, one]) await each.keep()
  assert.equal((await state.ring()).keys.length, 3)
  state.time.now += MINUTE
  for (const each of [other, one, other, one]) await each.keep()
  assert.equal((await state.ring()).keys.length, 3, 'one spare was made, not two')
})

test('with the key store down a rotation that presses goes ahead without a spare, and the spare comes after', async () => {
  const state = shared()
  const one = await opened(state)
  state.on.halves = (what) => {
    if (what === 'check' || what === 'keep') throw new Error('down')
  }
  const live = async (until: number) => {
    for (; state.time.now < until; state.time.now += 10 * MINUTE) {
      await one.keep().catch(() => undefined)
    }
  }
  const start = state.time.now
  await live(start + 30 * DAY + 12 * HOUR)
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k1', 'half a day is left for the spare')
  await live(start + 30 * DAY + 13 * HOUR)
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k2')
  assert.equal((await state.ring()).keys.length, 2, 'nothing was staged in vain')
  state.on.halves = () => undefined
  await live(start + 30 * DAY + 14 * HOUR)
  assert.equal(statesOf(await state.ring())['k2'], 'active')
  assert.equal((await state.ring()).keys.filter((key) => key.state === 'published').length, 1)
})

test('an algorithm that comes into use later gets its keys without a restart', async () => {
  const state = shared()
  const one = await opened(state)
  await one.keep(['ES256', 'EdDSA'])
  assert.equal(one.shown()?.signing.get('EdDSA')?.kid, 'k3')
  assert.equal(one.shown()?.signing.get('ES256')?.kid, 'k1')
  assert.deepEqual(one.shown()?.jwks.kids, ['k1', 'k3', 'k2', 'k4'])
})

test('a ring that others change all the time is given up, and the operator is told to look again', async () => {
  const state = shared()
  const one = await opened(state, { policy: { ...POLICY, successors: 2 } })
  state.on.written = async () => {
    const ring = await state.ring()
    await state.memory.compareAndSet(
      'acme',
      ring.version,
      { ...ring, version: ring.version + 1 },
      signal(),
    )
  }
  await assert.rejects(one.change('retire', 'k2', BY, signal()), ringError('changed_meanwhile'))
  assert.equal(statesOf(await state.ring())['k2'], 'published')
})
