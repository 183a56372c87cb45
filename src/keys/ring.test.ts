import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SigningAlgorithm } from './options.ts'
import {
  activatableFrom,
  activeKey,
  advance,
  algorithmsOf,
  discard,
  dueFrom,
  EMPTY_RING,
  type KeyState,
  kill,
  missingKeys,
  type NewKey,
  promote,
  publish,
  type Ring,
  type RingChange,
  type RingPolicy,
  retirableFrom,
  retire,
  rotate,
  stage,
  wantsKey,
} from './ring.ts'
import { RingError } from './ring-error.ts'

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
/** A key published at 0 may sign from here on: a day, and twice the skew. */
const READY = DAY + 2 * MINUTE

const key = (kid: string, alg: SigningAlgorithm = 'ES256'): NewKey => ({
  kid,
  alg,
  publicJwk: { kty: 'EC', crv: 'P-256', x: `x-${kid}`, y: 'y' },
})
const at = (now: number): RingChange => ({ now, by: 'ada', reason: 'test' })
/** Stages and publishes keys one after the other. */
const withKeys = (ring: Ring, now: number, ...keys: NewKey[]): Ring =>
  keys.reduce(
    (before, one) => publish(stage(before, [one], at(now)), one.kid, POLICY, at(now)),
    ring,
  )
/** `1` signs; `2` and so on are published. */
const ringOf = (...kids: string[]): Ring => withKeys(EMPTY_RING, 0, ...kids.map((kid) => key(kid)))
const statesOf = (ring: Ring): Record<string, KeyState> =>
  Object.fromEntries(ring.keys.map(({ kid, state }) => [kid, state]))
const named = (ring: Ring, kid: string) => ring.keys.find((one) => one.kid === kid)
const failsWith = (reason: RingError['reason'], allowedFrom?: number) => (error: unknown) => {
  assert.ok(error instanceof RingError)
  assert.equal(error.reason, reason)
  assert.equal(error.allowedFrom, allowedFrom)
  return true
}

test('a staged key is written down with who, when and why, and is nothing yet', () => {
  const ring = stage(EMPTY_RING, [key('1'), key('2')], at(7))
  assert.equal(ring.version, 1)
  assert.deepEqual(statesOf(ring), { 1: 'staged', 2: 'staged' })
  assert.deepEqual(named(ring, '1'), {
    ...key('1'),
    state: 'staged',
    createdAt: 7,
    by: 'ada',
    reason: 'test',
  })
  assert.deepEqual(algorithmsOf(ring), [])
})

test('a kid that was ever used is refused, whatever became of its key', () => {
  const staged = stage(ringOf('1', '2', '3'), [key('4')], at(0))
  const ring = kill(discard(staged, '4', at(1)), '2', POLICY, at(1))
  assert.deepEqual(statesOf(ring), { 1: 'active', 2: 'compromised', 3: 'published', 4: 'retired' })
  for (const kid of ['1', '2', '3', '4'])
    assert.throws(() => stage(ring, [key(kid)], at(2)), failsWith('kid_already_used'))
  const twice = [key('5'), key('5')]
  assert.throws(() => stage(ring, twice, at(2)), failsWith('kid_already_used'))
})

test('the first key of an algorithm is active at once, the next is published, and the exemption is on record', () => {
  const ring = withKeys(ringOf('1', '2'), HOUR, key('E1', 'EdDSA'), key('E2', 'EdDSA'))
  assert.deepEqual(statesOf(ring), { 1: 'active', 2: 'published', E1: 'active', E2: 'published' })
  assert.match(named(ring, '1')?.reason ?? '', /^first key of the algorithm, active at once: test$/)
  assert.match(named(ring, 'E1')?.reason ?? '', /^first key of the algorithm, active at once/)
  assert.equal(named(ring, '2')?.reason, 'test')
  assert.equal(named(ring, 'E1')?.publishedAt, HOUR)
  assert.equal(named(ring, '2')?.activatedAt, undefined)
  assert.deepEqual(algorithmsOf(ring), ['ES256', 'EdDSA'])
})

test('a key is told on activation when to stop by itself: its time, and that of a successor still to be published', () => {
  assert.equal(named(ringOf('1'), '1')?.signUntil, 31 * DAY)
  assert.equal(named(ringOf('1', '2'), '2')?.signUntil, undefined)
})

test('only a staged key is published, and only one that the ring has', () => {
  const ring = kill(ringOf('1', '2', '3'), '3', POLICY, at(0))
  for (const kid of ['1', '2', '3'])
    assert.throws(() => publish(ring, kid, POLICY, at(1)), failsWith('wrong_state'))
  assert.throws(() => publish(ring, 'other', POLICY, at(1)), failsWith('kid_unknown'))
})

test('a staged key that is given up is retired without ever having been public; no other key can be', () => {
  const ring = discard(stage(ringOf('1', '2'), [key('3')], at(0)), '3', at(5))
  assert.equal(named(ring, '3')?.state, 'retired')
  assert.equal(named(ring, '3')?.retiredAt, 5)
  assert.equal(named(ring, '3')?.publishedAt, undefined)
  for (const kid of ['1', '2', '3'])
    assert.throws(() => discard(ring, kid, at(6)), failsWith('wrong_state'))
  assert.throws(() => discard(ring, 'other', at(6)), failsWith('kid_unknown'))
})

test('a rotation activates the successor and stops the old key in one step; the ring before stays as it was', () => {
  const before = ringOf('1', '2', '3')
  const after = rotate(before, ['ES256'], POLICY, at(READY))
  assert.equal(after.version, before.version + 1)
  assert.deepEqual(statesOf(after), { 1: 'verify-only', 2: 'active', 3: 'published' })
  assert.equal(named(after, '1')?.verifyOnlyAt, READY)
  assert.equal(named(after, '1')?.signUntil, 31 * DAY, 'what a replica was told once stays true')
  assert.equal(named(after, '2')?.activatedAt, READY)
  assert.equal(named(after, '2')?.signUntil, READY + 31 * DAY)
  assert.deepEqual(statesOf(before), { 1: 'active', 2: 'published', 3: 'published' })
})

test('a key that verifiers may not have yet does not sign, even if two clocks disagree by twice the skew', () => {
  const ring = ringOf('1', '2', '3')
  const tooSoon = failsWith('published_too_recently', READY)
  assert.throws(() => rotate(ring, ['ES256'], POLICY, at(READY - 1)), tooSoon)
  assert.throws(() => promote(ring, '2', POLICY, at(READY - 1)), tooSoon)
  assert.equal(named(rotate(ring, ['ES256'], POLICY, at(READY)), '2')?.state, 'active')
  assert.equal(named(promote(ring, '2', POLICY, at(READY)), '2')?.state, 'active')
})

test('of several successors the one published longest ago signs next', () => {
  const ring = withKeys(withKeys(ringOf('1', 'late'), HOUR, key('later')), 0, key('early'))
  const order = ['late', 'early', 'later']
  let now = READY + HOUR
  let next = withKeys(ring, now, key('last'))
  for (const kid of order) {
    next = rotate(next, ['ES256'], POLICY, at(now))
    assert.equal(activeKey(next, 'ES256')?.kid, kid)
    now += HOUR
  }
})

test('a rotation that would leave no published successor is refused, as is one without any', () => {
  assert.throws(
    () => rotate(ringOf('1', '2'), ['ES256'], POLICY, at(READY)),
    failsWith('no_successor'),
  )
  assert.throws(() => rotate(ringOf('1'), ['ES256'], POLICY, at(READY)), failsWith('no_successor'))
  assert.throws(
    () => rotate(ringOf('1', '2', '3'), ['PS256'], POLICY, at(READY)),
    failsWith('algorithm_not_in_ring'),
  )
})

test('several algorithms rotate together or not at all', () => {
  const others = ['E1', 'E2', 'E3'].map((kid) => key(kid, 'EdDSA'))
  const ring = withKeys(ringOf('1', '2', '3'), 20 * HOUR, ...others)
  assert.throws(
    () => rotate(ring, ['ES256', 'EdDSA'], POLICY, at(READY)),
    failsWith('published_too_recently', READY + 20 * HOUR),
  )
  const after = rotate(ring, ['ES256', 'EdDSA'], POLICY, at(READY + 20 * HOUR))
  assert.equal(activeKey(after, 'ES256')?.kid, '2')
  assert.equal(activeKey(after, 'EdDSA')?.kid, 'E2')
  assert.equal(after.version, ring.version + 1)
})

test('a promotion makes the key of the operator sign, and only a published one', () => {
  const ring = ringOf('1', '2', '3')
  const after = promote(ring, '3', POLICY, at(READY))
  assert.deepEqual(statesOf(after), { 1: 'verify-only', 2: 'published', 3: 'active' })
  const killed = kill(after, '2', POLICY, at(READY))
  for (const kid of ['1', '2', '3'])
    assert.throws(() => promote(killed, kid, POLICY, at(9 * DAY)), failsWith('wrong_state'))
  const staged = stage(after, [key('4')], at(READY))
  assert.throws(() => promote(staged, '4', POLICY, at(9 * DAY)), failsWith('wrong_state'))
  assert.throws(() => promote(ring, 'other', POLICY, at(READY)), failsWith('kid_unknown'))
})

test('a key that stopped signing leaves JWKS when the last token of a replica that heard nothing has expired', () => {
  const ring = rotate(ringOf('1', '2', '3'), ['ES256'], POLICY, at(READY))
  // It signs up to day 31, its token lives 12 h; one skew each for the signing clock, the leeway and a late verifier.
  const from = 31 * DAY + 12 * HOUR + 3 * MINUTE
  assert.equal(retirableFrom(named(ring, '1') ?? assert.fail(), POLICY), from)
  assert.throws(() => retire(ring, '1', POLICY, at(from - 1)), failsWith('still_needed', from))
  assert.equal(named(advance(ring, POLICY, from - 1), '1')?.state, 'verify-only')
  for (const after of [retire(ring, '1', POLICY, at(from)), advance(ring, POLICY, from)]) {
    assert.equal(named(after, '1')?.state, 'retired')
    assert.equal(named(after, '1')?.retiredAt, from)
  }
})

test('a published key that is not wanted is retired at once, but not the last one', () => {
  const ring = retire(ringOf('1', '2', '3'), '2', POLICY, at(1))
  assert.deepEqual(statesOf(ring), { 1: 'active', 2: 'retired', 3: 'published' })
  assert.throws(() => retire(ring, '3', POLICY, at(1)), failsWith('no_successor'))
  const staged = stage(ring, [key('4')], at(1))
  for (const kid of ['1', '2', '4'])
    assert.throws(() => retire(staged, kid, POLICY, at(99 * DAY)), failsWith('wrong_state'))
  assert.throws(() => retire(ring, 'other', POLICY, at(1)), failsWith('kid_unknown'))
})

test('the successor of a killed key signs at once, however recently it was published, and that is on record', () => {
  const ring = kill(ringOf('1', '2', '3'), '1', POLICY, at(5))
  assert.deepEqual(statesOf(ring), { 1: 'compromised', 2: 'active', 3: 'published' })
  assert.equal(named(ring, '1')?.compromisedAt, 5)
  assert.equal(named(ring, '2')?.activatedAt, 5)
  assert.equal(named(ring, '2')?.signUntil, 5 + 31 * DAY)
  assert.match(named(ring, '2')?.reason ?? '', /^successor of the killed key 1, active at once/)
})

test('a key can be killed in every state but one: what is compromised stays as it is', () => {
  const rotated = rotate(ringOf('1', '2', '3', '4'), ['ES256'], POLICY, at(READY))
  const ring = retire(stage(rotated, [key('5')], at(READY)), '4', POLICY, at(READY))
  for (const { kid, state } of ring.keys) {
    const killed = kill(ring, kid, POLICY, at(READY))
    assert.equal(named(killed, kid)?.state, 'compromised')
    if (state === 'active') continue
    assert.equal(activeKey(killed, 'ES256')?.kid, '2', 'nothing else changes')
  }
  const dead = kill(ring, '1', POLICY, at(READY))
  assert.throws(() => kill(dead, '1', POLICY, at(READY)), failsWith('already_compromised'))
  assert.throws(() => kill(dead, 'other', POLICY, at(READY)), failsWith('kid_unknown'))
  assert.equal(named(advance(dead, POLICY, 400 * DAY), '1')?.state, 'compromised')
})

test('without a successor nothing signs after a kill, and the next key that is published signs at once', () => {
  const dead = kill(ringOf('1'), '1', POLICY, at(0))
  assert.equal(activeKey(dead, 'ES256'), undefined)
  assert.ok(wantsKey(dead, 'ES256', POLICY, 0))
  assert.deepEqual(missingKeys(dead, ['ES256'], POLICY, 0), ['ES256', 'ES256'])
  const ring = withKeys(dead, 1, key('2'), key('3'))
  assert.deepEqual(statesOf(ring), { 1: 'compromised', 2: 'active', 3: 'published' })
  assert.match(named(ring, '2')?.reason ?? '', /^successor of a killed key, active at once/)
})

test('time alone rotates a key that is due, when a spare successor is ready', () => {
  const ring = ringOf('1', '2', '3')
  assert.equal(dueFrom(named(ring, '1') ?? assert.fail(), POLICY), 30 * DAY)
  assert.equal(advance(ring, POLICY, 30 * DAY - 1), ring)
  const after = advance(ring, POLICY, 30 * DAY)
  assert.deepEqual(statesOf(after), { 1: 'verify-only', 2: 'active', 3: 'published' })
  assert.equal(named(after, '2')?.reason, 'scheduled rotation')
  assert.equal(named(after, '2')?.by, 'rolemint')
  assert.equal(advance(after, POLICY, 30 * DAY), after, 'once is enough')
})

test('a rotation that is due waits for a spare successor, but not until the signing key has ended', () => {
  const ring = ringOf('1', '2')
  assert.ok(wantsKey(ring, 'ES256', POLICY, 30 * DAY), 'one more is wanted when it is due')
  assert.ok(!wantsKey(ring, 'ES256', POLICY, 30 * DAY - 1))
  // Due on day 30, over on day 31: half of that is given to the spare.
  assert.equal(advance(ring, POLICY, 30 * DAY + 12 * HOUR - 1), ring)
  const after = advance(ring, POLICY, 30 * DAY + 12 * HOUR)
  assert.deepEqual(statesOf(after), { 1: 'verify-only', 2: 'active' })
  assert.match(named(after, '2')?.reason ?? '', /before its own successor could be made/)
})

test('a successor that verifiers may not have yet does not take over, however much it is due', () => {
  const ring = withKeys(ringOf('1'), 30 * DAY, key('2'), key('3'))
  const from = activatableFrom(named(ring, '2') ?? assert.fail(), POLICY)
  assert.equal(from, 30 * DAY + READY)
  assert.equal(advance(ring, POLICY, from - 1), ring)
  assert.equal(activeKey(advance(ring, POLICY, from), 'ES256')?.kid, '2')
})

test('a shorter rotateEvery brings the rotation forward, a longer one does not go beyond what the key was told', () => {
  const [signing] = ringOf('1').keys
  assert.ok(signing)
  assert.equal(dueFrom(signing, { ...POLICY, rotateEveryMilliseconds: 2 * DAY }), 2 * DAY)
  assert.equal(dueFrom(signing, { ...POLICY, rotateEveryMilliseconds: 90 * DAY }), 30 * DAY)
})

test('keys are missing for algorithms in use and in the ring; those that are being made elsewhere count', () => {
  const two = { ...POLICY, successors: 2 }
  assert.deepEqual(missingKeys(EMPTY_RING, ['ES256'], POLICY, 0), ['ES256', 'ES256'])
  assert.deepEqual(missingKeys(ringOf('1', '2'), [], POLICY, 0), [])
  assert.deepEqual(missingKeys(ringOf('1', '2'), ['EdDSA'], two, 0), [
    'EdDSA',
    'EdDSA',
    'EdDSA',
    'ES256',
  ])
  const staged = stage(ringOf('1', '2'), [key('3')], at(0))
  assert.deepEqual(missingKeys(staged, [], two, 0), [])
  assert.ok(wantsKey(staged, 'ES256', two, 0), 'a staged key is none yet')
  assert.deepEqual(missingKeys(ringOf('1', '2'), [], POLICY, 30 * DAY), ['ES256'])
})

test('a key that was given up before it was public leaves the ring after ninety days; any other stays for ever', () => {
  const ring = retire(
    discard(stage(ringOf('1', '2', '3'), [key('4')], at(0)), '4', at(0)),
    '2',
    POLICY,
    at(0),
  )
  const kidsAt = (now: number) => advance(ring, POLICY, now).keys.map(({ kid }) => kid)
  assert.deepEqual(kidsAt(90 * DAY - 1), ['1', '2', '3', '4'])
  assert.deepEqual(kidsAt(90 * DAY), ['1', '2', '3'])
})
