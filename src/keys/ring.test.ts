import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { renderJwks } from './jwks.ts'
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './options.ts'
import {
  activeKey,
  addAlgorithms,
  algorithmsOf,
  type KeyState,
  type NewKey,
  newRing,
  publish,
  type Ring,
  type RingChange,
  RingError,
  type RingPolicy,
  rotate,
} from './ring.ts'

const HOUR = 3_600_000
const POLICY: RingPolicy = {
  publishAheadMilliseconds: 24 * HOUR,
  longestTokenMilliseconds: 12 * HOUR,
  skewMilliseconds: 30_000,
}
const STAYS = POLICY.longestTokenMilliseconds + POLICY.skewMilliseconds + HOUR

const key = (kid: string, alg: SigningAlgorithm = 'ES256'): NewKey => ({
  kid,
  alg,
  publicJwk: { kty: 'EC', crv: 'P-256', x: `x-${kid}`, y: 'y' },
})
const at = (now: number): RingChange => ({ now, by: 'ada', reason: 'test' })
const ringOf = (...algorithms: SigningAlgorithm[]): Ring =>
  newRing(
    algorithms.map((alg) => ({
      active: key(`${alg}-1`, alg),
      successor: key(`${alg}-2`, alg),
    })),
    at(0),
  )
const statesOf = (ring: Ring): Record<string, KeyState> =>
  Object.fromEntries(ring.keys.map(({ kid, state }) => [kid, state]))
const failsWith = (reason: RingError['reason'], allowedFrom?: number) => (error: unknown) => {
  assert.ok(error instanceof RingError)
  assert.equal(error.reason, reason)
  if (allowedFrom !== undefined) assert.equal(error.allowedFrom, allowedFrom)
  return true
}

test('the first key of a ring is active at once, its successor is published, and the exemption is on record', () => {
  const ring = ringOf('ES256')
  assert.equal(ring.version, 1)
  assert.deepEqual(statesOf(ring), { 'ES256-1': 'active', 'ES256-2': 'published' })
  assert.match(ring.keys[0]?.reason ?? '', /first key of the ring, active at once/)
  assert.equal(ring.keys[0]?.publishedAt, 0)
  assert.equal(ring.keys[1]?.activatedAt, undefined)
})

test('a rotation activates the successor, stops the old key and publishes a new one in the same step', () => {
  const before = ringOf('ES256')
  const after = rotate(before, [key('ES256-3')], POLICY, at(24 * HOUR))
  assert.equal(after.version, 2)
  assert.deepEqual(statesOf(after), {
    'ES256-1': 'verify-only',
    'ES256-2': 'active',
    'ES256-3': 'published',
  })
  assert.equal(after.keys[0]?.verifyOnlyAt, 24 * HOUR)
  assert.equal(after.keys[1]?.activatedAt, 24 * HOUR)
  assert.equal(after.keys[1]?.by, 'ada')
  assert.deepEqual(statesOf(before), { 'ES256-1': 'active', 'ES256-2': 'published' })
})

test('a key that verifiers may not have yet does not sign, and the operator is told from when it may', () => {
  const ring = ringOf('ES256')
  assert.throws(
    () => rotate(ring, [key('ES256-3')], POLICY, at(24 * HOUR - 1)),
    failsWith('published_too_recently', 24 * HOUR),
  )
})

test('of several successors the one published longest ago signs next', () => {
  const two = publish(ringOf('ES256'), key('later'), POLICY, at(HOUR))
  const after = rotate(two, [key('third')], POLICY, at(24 * HOUR))
  assert.equal(activeKey(after, 'ES256')?.kid, 'ES256-2')
  assert.equal(
    activeKey(rotate(after, [key('fourth')], POLICY, at(25 * HOUR)), 'ES256')?.kid,
    'later',
  )
})

test('a verify-only key is retired only when every token it can have signed has expired', () => {
  const rotated = rotate(ringOf('ES256'), [key('3')], POLICY, at(24 * HOUR))
  const soon = publish(rotated, key('4'), POLICY, at(24 * HOUR + STAYS - 1))
  assert.equal(statesOf(soon)['ES256-1'], 'verify-only')
  const late = publish(rotated, key('4'), POLICY, at(24 * HOUR + STAYS))
  assert.equal(statesOf(late)['ES256-1'], 'retired')
  assert.equal(late.keys[0]?.retiredAt, 24 * HOUR + STAYS)
})

test('a replica whose clock is behind does not shorten how long an old key can verify', () => {
  const two = publish(ringOf('ES256'), key('3'), POLICY, at(0))
  const ahead = rotate(two, [key('4')], POLICY, at(30 * HOUR))
  const behind = rotate(ahead, [key('5')], POLICY, at(25 * HOUR))
  assert.equal(behind.keys.find(({ kid }) => kid === 'ES256-2')?.verifyOnlyAt, 30 * HOUR)
})

test('several algorithms rotate together or not at all', () => {
  const ring = addAlgorithms(
    ringOf('ES256'),
    [{ active: key('E1', 'EdDSA'), successor: key('E2', 'EdDSA') }],
    POLICY,
    at(20 * HOUR),
  )
  const both = [key('3', 'ES256'), key('E3', 'EdDSA')]
  assert.throws(
    () => rotate(ring, both, POLICY, at(30 * HOUR)),
    failsWith('published_too_recently', 44 * HOUR),
  )
  const after = rotate(ring, both, POLICY, at(44 * HOUR))
  assert.equal(activeKey(after, 'ES256')?.kid, 'ES256-2')
  assert.equal(activeKey(after, 'EdDSA')?.kid, 'E2')
  assert.equal(after.version, ring.version + 1)
})

test('a kid that was ever used is refused, whatever became of its key', () => {
  const ring = ringOf('ES256')
  assert.throws(() => publish(ring, key('ES256-1'), POLICY, at(1)), failsWith('kid_already_used'))
  const rotated = rotate(ring, [key('3')], POLICY, at(24 * HOUR))
  const retired = publish(rotated, key('4'), POLICY, at(100 * HOUR))
  assert.equal(statesOf(retired)['ES256-1'], 'retired')
  assert.throws(
    () => rotate(retired, [key('ES256-1')], POLICY, at(200 * HOUR)),
    failsWith('kid_already_used'),
  )
})

test('an algorithm that the ring does not have is neither rotated nor published for', () => {
  const ring = ringOf('ES256')
  const foreign = key('P', 'PS256')
  assert.throws(() => rotate(ring, [foreign], POLICY, at(0)), failsWith('algorithm_not_in_ring'))
  assert.throws(() => publish(ring, foreign, POLICY, at(0)), failsWith('algorithm_not_in_ring'))
})

test('an algorithm gets its first keys once: nobody becomes active unpublished by adding it again', () => {
  const again = { active: key('A'), successor: key('B') }
  assert.throws(
    () => addAlgorithms(ringOf('ES256'), [again], POLICY, at(0)),
    failsWith('algorithm_already_in_ring'),
  )
})

/** What may happen to a ring; times go back now and then, as clocks of replicas do. */
interface Step {
  readonly what: 'publish' | 'rotate' | 'add'
  readonly algs: readonly SigningAlgorithm[]
  readonly wait: number
  readonly reuseKid: boolean
}

const ORDER: readonly KeyState[] = ['staged', 'published', 'active', 'verify-only', 'retired']
const anyAlgorithm = fc.constantFrom(...SIGNING_ALGORITHMS)
const anyStep: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom('publish' as const, 'rotate' as const, 'rotate' as const, 'add' as const),
  algs: fc.uniqueArray(anyAlgorithm, { minLength: 1, maxLength: 3 }),
  wait: fc.oneof(
    fc.integer({ min: -HOUR, max: 2 * HOUR }),
    fc.integer({ min: 20 * HOUR, max: 60 * HOUR }),
  ),
  reuseKid: fc.boolean(),
})

function apply(ring: Ring, step: Step, now: number, serial: number): Ring {
  const fresh = (alg: SigningAlgorithm, part: string): NewKey =>
    step.reuseKid && serial % 5 === 0
      ? key(ring.keys[serial % ring.keys.length]?.kid ?? '', alg)
      : key(`${serial}-${alg}-${part}`, alg)
  if (step.what === 'publish')
    return publish(ring, fresh(step.algs[0] ?? 'ES256', 'p'), POLICY, at(now))
  if (step.what === 'rotate') {
    const successors = step.algs.map((alg) => fresh(alg, 'r'))
    return rotate(ring, successors, POLICY, at(now))
  }
  const first = step.algs.map((alg) => ({ active: fresh(alg, 'a'), successor: fresh(alg, 's') }))
  return addAlgorithms(ring, first, POLICY, at(now))
}

function checkInvariants(before: Ring, after: Ring, now: number): void {
  assert.equal(after.version, before.version + 1)
  const kids = after.keys.map(({ kid }) => kid)
  assert.equal(new Set(kids).size, kids.length, 'a kid names one key')
  for (const alg of new Set(after.keys.map((candidate) => candidate.alg))) {
    const states = after.keys.filter((one) => one.alg === alg).map(({ state }) => state)
    assert.equal(states.filter((state) => state === 'active').length, 1, `one active ${alg} key`)
    assert.ok(states.includes('published'), `a published ${alg} successor`)
  }
  for (const old of before.keys) {
    const kept = after.keys.find(({ kid }) => kid === old.kid)
    assert.ok(kept, 'no key is forgotten')
    assert.ok(ORDER.indexOf(kept.state) >= ORDER.indexOf(old.state), 'no key goes back')
    assert.deepEqual(kept.publicJwk, old.publicJwk)
    if (old.state === 'verify-only' && kept.state === 'retired')
      assert.ok(now - (old.verifyOnlyAt ?? Infinity) >= STAYS, 'retired after its last token')
    if (old.state === 'published' && kept.state === 'active')
      assert.ok(now - (old.publishedAt ?? Infinity) >= POLICY.publishAheadMilliseconds)
    if (old.state === 'published')
      assert.ok(['published', 'active'].includes(kept.state), 'published keys only become active')
    if (old.state === 'active') assert.notEqual(kept.state, 'retired', 'no step is left out')
  }
  for (const added of after.keys.filter(
    (one) => !before.keys.some(({ kid }) => kid === one.kid) && one.state === 'active',
  )) {
    assert.equal(activeKey(before, added.alg), undefined, 'only a first key is active at once')
    assert.match(added.reason, /^first key of the (ring|algorithm), active at once/)
  }
  const { keys } = JSON.parse(renderJwks(after).body) as { keys: { kid: string }[] }
  assert.deepEqual(
    keys.map(({ kid }) => kid).toSorted(),
    after.keys
      .filter(({ state }) => state !== 'retired')
      .map(({ kid }) => kid)
      .toSorted(),
  )
}

test('whatever happens to a ring, in any order and with clocks that go back, its promises hold', () => {
  const reached = new Set<string>()
  fc.assert(
    fc.property(fc.array(anyStep, { minLength: 1, maxLength: 40 }), (steps) => {
      let ring = ringOf('ES256')
      let now = 0
      for (const [index, step] of steps.entries()) {
        now = Math.max(0, now + step.wait)
        try {
          const next = apply(ring, step, now, index + 1)
          checkInvariants(ring, next, now)
          ring = next
          reached.add(step.what)
          for (const { state } of next.keys) reached.add(state)
        } catch (error) {
          if (!(error instanceof RingError)) throw error
          reached.add(error.reason)
        }
      }
    }),
    { numRuns: 300 },
  )
  // A generator that never gets anywhere would prove nothing.
  for (const what of [
    'publish',
    'rotate',
    'add',
    'retired',
    'verify-only',
    'published_too_recently',
    'algorithm_not_in_ring',
    'algorithm_already_in_ring',
    'kid_already_used',
  ]) {
    assert.ok(reached.has(what), `the histories reached ${what}`)
  }
})

test('the algorithms of a ring are those that can sign', () => {
  assert.deepEqual(algorithmsOf(ringOf('EdDSA', 'ES256')), ['EdDSA', 'ES256'])
})
