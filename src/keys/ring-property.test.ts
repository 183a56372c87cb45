import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { renderJwks } from './jwks.ts'
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from './options.ts'
import {
  activeKey,
  advance,
  discard,
  EMPTY_RING,
  type KeyState,
  kill,
  missingKeys,
  type NewKey,
  promote,
  publish,
  type Ring,
  type RingPolicy,
  retire,
  rotate,
  stage,
} from './ring.ts'
import { RingError } from './ring-error.ts'

const HOUR = 3_600_000
const SKEW = 60_000
const POLICY: RingPolicy = {
  publishAheadMilliseconds: 24 * HOUR,
  rotateEveryMilliseconds: 72 * HOUR,
  successors: 1,
  longestTokenMilliseconds: 8 * HOUR,
  skewMilliseconds: SKEW,
}

const WHATS = [
  'stage',
  'publish',
  'discard',
  'rotate',
  'promote',
  'retire',
  'kill',
  'advance',
] as const

/** What may happen to a ring. `off`: how wrong the clock of the replica that does it is. */
interface Step {
  readonly what: (typeof WHATS)[number]
  readonly alg: SigningAlgorithm
  /** Which of the keys that this may be done to, or, when `wild`, of all keys; counted from the newest. */
  readonly which: number
  readonly wild: boolean
  readonly wait: number
  readonly off: number
  readonly reuseKid: boolean
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  what: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('stage' as const, 'publish' as const) },
    { weight: 4, arbitrary: fc.constantFrom(...WHATS) },
  ),
  alg: fc.constantFrom(...SIGNING_ALGORITHMS.slice(0, 2)),
  which: fc.nat({ max: 4 }),
  wild: fc.integer({ min: 0, max: 4 }).map((draw) => draw === 0),
  wait: fc.oneof(fc.integer({ min: 0, max: HOUR }), fc.integer({ min: 0, max: 60 * HOUR })),
  off: fc.integer({ min: -SKEW, max: SKEW }),
  reuseKid: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
})

const anyHistory = fc.array(anyStep, { maxLength: 80, size: 'max' })

/** The states that a change is made for. */
const FIT: { readonly [what in Step['what']]?: readonly KeyState[] } = {
  publish: ['staged'],
  discard: ['staged'],
  promote: ['published'],
  retire: ['published', 'verify-only'],
  kill: ['staged', 'published', 'active', 'verify-only', 'retired'],
}

function apply(ring: Ring, step: Step, now: number, serial: number): Ring {
  const { what, alg, which, wild, reuseKid } = step
  const fit = wild ? ring.keys : ring.keys.filter(({ state }) => FIT[what]?.includes(state))
  const chosen = fit.at(-1 - (which % Math.max(1, fit.length)))?.kid ?? 'none'
  const change = { now, by: 'ada', reason: 'test' }
  const kid = reuseKid ? (ring.keys.at(0)?.kid ?? 'none') : `k${serial}`
  const fresh: NewKey = { kid, alg, publicJwk: { kty: 'EC', crv: 'P-256', x: kid, y: 'y' } }
  const changes: Record<Step['what'], () => Ring> = {
    stage: () => stage(ring, [fresh], change),
    publish: () => publish(ring, chosen, POLICY, change),
    discard: () => discard(ring, chosen, change),
    rotate: () => rotate(ring, [alg], POLICY, change),
    promote: () => promote(ring, chosen, POLICY, change),
    retire: () => retire(ring, chosen, POLICY, change),
    kill: () => kill(ring, chosen, POLICY, change),
    advance: () => advance(ring, POLICY, now),
  }
  return changes[what]()
}

/** The ways a key may go. */
const MAY_FOLLOW: Readonly<Record<KeyState, readonly KeyState[]>> = {
  staged: ['published', 'active', 'retired', 'compromised'],
  published: ['active', 'retired', 'compromised'],
  active: ['verify-only', 'compromised', 'retired'], // the last when nobody was there at all until its last token had expired
  'verify-only': ['retired', 'compromised'],
  retired: ['compromised'],
  compromised: [],
}

/** When things happened in true time, by kid. */
type Truth = Map<string, { published?: number; signedUpTo?: number }>

function checkStep(before: Ring, after: Ring, now: number, truth: Truth): void {
  assert.equal(after.version, before.version + 1)
  const kids = after.keys.map(({ kid }) => kid)
  assert.equal(new Set(kids).size, kids.length, 'a kid names one key')
  for (const old of before.keys) {
    const kept = after.keys.find(({ kid }) => kid === old.kid)
    if (!kept) {
      assert.ok(
        old.state === 'retired' && old.publishedAt === undefined,
        'no public key is forgotten',
      )
      continue
    }
    assert.ok(
      kept.state === old.state || MAY_FOLLOW[old.state].includes(kept.state),
      `${old.state} became ${kept.state}`,
    )
    assert.deepEqual(kept.publicJwk, old.publicJwk)
    assert.ok(old.signUntil === undefined || kept.signUntil === old.signUntil, 'signUntil moved')
  }
  for (const alg of SIGNING_ALGORITHMS) checkAlgorithm(before, after, alg)
  for (const key of after.keys) checkTimes(before, key, now, truth)
}

function checkAlgorithm(before: Ring, after: Ring, alg: SigningAlgorithm): void {
  const active = after.keys.filter((key) => key.alg === alg && key.state === 'active')
  assert.ok(active.length <= 1, `${active.length} active ${alg} keys`)
  const old = activeKey(before, alg)
  if (active.length > 0 || !old) return
  assert.equal(after.keys.find(({ kid }) => kid === old.kid)?.state, 'compromised')
  const left = after.keys.filter((key) => key.alg === alg && key.state === 'published')
  assert.deepEqual(left, [], 'nothing signs although a successor is published')
}

function checkTimes(before: Ring, key: Ring['keys'][number], now: number, truth: Truth): void {
  const was = before.keys.find(({ kid }) => kid === key.kid)?.state
  const known = truth.get(key.kid) ?? {}
  truth.set(key.kid, known)
  if (key.state === was) return
  if (key.state === 'published') known.published = now
  if (key.state === 'active' && !/^(first key|successor of)/.test(key.reason))
    assert.ok(
      now - (known.published ?? Infinity) >= POLICY.publishAheadMilliseconds,
      'signs before verifiers have it',
    )
  if (key.state === 'retired' && (was === 'verify-only' || was === 'active')) {
    // A replica that heard of nothing, its clock late, signed until the end; the verifier grants leeway, its clock late too.
    const lastToken = (key.signUntil ?? Infinity) + POLICY.longestTokenMilliseconds
    assert.ok(now >= lastToken + 2 * SKEW, 'left JWKS before its last token expired')
  }
}

test('whatever happens to a ring, in any order and by clocks that disagree, its promises hold', () => {
  const reached = new Set<string>()
  fc.assert(
    fc.property(anyHistory, (steps) => {
      let ring = EMPTY_RING
      let now = 0
      const truth: Truth = new Map()
      for (const [index, step] of steps.entries()) {
        now += step.wait
        try {
          const next = apply(ring, step, now + step.off, index)
          if (next === ring) continue
          checkStep(ring, next, now, truth)
          ring = next
          for (const { state } of next.keys) reached.add(state)
          reached.add(step.what)
        } catch (error) {
          if (!(error instanceof RingError)) throw error
          reached.add(error.reason)
        }
      }
    }),
    { numRuns: 500 },
  )
  // A generator that never gets anywhere would prove nothing.
  const wanted = [
    ...WHATS,
    ...Object.keys(MAY_FOLLOW),
    'published_too_recently',
    'no_successor',
    'algorithm_not_in_ring',
    'kid_already_used',
    'kid_unknown',
    'wrong_state',
    'still_needed',
    'already_compromised',
  ]
  assert.deepEqual(
    wanted.filter((what) => !reached.has(what)),
    [],
    'not reached',
  )
})

test('JWKS names exactly the keys that are published, sign or have signed, whatever happened', () => {
  fc.assert(
    fc.property(anyHistory, (steps) => {
      let ring = EMPTY_RING
      let now = 0
      for (const [index, step] of steps.entries()) {
        now += step.wait
        try {
          ring = apply(ring, step, now, index)
        } catch (error) {
          if (!(error instanceof RingError)) throw error
        }
      }
      const shown = ring.keys.filter(
        ({ state }) => state === 'published' || state === 'active' || state === 'verify-only',
      )
      assert.deepEqual(renderJwks(ring).kids.toSorted(), shown.map(({ kid }) => kid).toSorted())
    }),
    { numRuns: 200 },
  )
})

test('a ring that gets the keys it misses lacks none, and time alone changes it no further', () => {
  fc.assert(
    fc.property(anyHistory, (steps) => {
      let ring = EMPTY_RING
      let now = 0
      for (const [index, step] of steps.entries()) {
        now += step.wait
        try {
          ring = apply(ring, step, now, index)
        } catch (error) {
          if (!(error instanceof RingError)) throw error
        }
      }
      const change = { now, by: 'ada', reason: 'test' }
      for (const { kid, state } of ring.keys)
        if (state === 'staged') ring = discard(ring, kid, change)
      ring = advance(ring, POLICY, now)
      for (const [index, alg] of missingKeys(ring, ['ES256'], POLICY, now).entries()) {
        const kid = `new${index}`
        ring = stage(ring, [{ kid, alg, publicJwk: { kty: 'EC' } }], change)
        ring = publish(ring, kid, POLICY, change)
      }
      ring = advance(ring, POLICY, now)
      assert.deepEqual(missingKeys(ring, ['ES256'], POLICY, now), [])
      assert.equal(advance(ring, POLICY, now), ring)
    }),
    { numRuns: 200 },
  )
})
