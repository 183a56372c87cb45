import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KeyState, Ring, RingKey, RingPolicy } from './ring.ts'
import { nextChangeAt, servedJwks } from './timetable.ts'

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
const OPTIONS = { ...POLICY, jwksMaxAgeSeconds: 300, jwksStaleIfErrorSeconds: 43_200 }
const RENDERED = { body: '{"keys":[]}', etag: '"e"', kids: [] }

/** A key that was activated at 0, or stopped signing some time after. */
const key = (state: KeyState, kid: string = state): RingKey => ({
  kid,
  alg: 'ES256',
  state,
  publicJwk: {},
  createdAt: 0,
  publishedAt: 0,
  activatedAt: 0,
  signUntil: 31 * DAY,
  by: 'ada',
  reason: 'test',
})
const ringOf = (...keys: RingKey[]): Ring => ({ version: 1, keys })
const maxAge = (ring: Ring, now: number) => servedJwks(RENDERED, ring, OPTIONS, now).maxAgeSeconds

test('the next change is the first of: a rotation that comes due, a key that may leave', () => {
  const leaves = 31 * DAY + 12 * HOUR + 3 * MINUTE
  const ring = ringOf(key('active'), key('verify-only'), key('published'))
  assert.equal(nextChangeAt(ring, POLICY, 0), 30 * DAY)
  assert.equal(nextChangeAt(ring, POLICY, 30 * DAY), leaves, 'what is due is no longer ahead')
  assert.equal(nextChangeAt(ring, POLICY, leaves), undefined)
})

test('keys that wait for somebody or are over plan nothing', () => {
  const over = ringOf(key('staged'), key('published'), key('retired'), key('compromised'))
  assert.equal(nextChangeAt(over, POLICY, 0), undefined)
  assert.equal(maxAge(over, 0), 300)
})

test('max-age is what is configured, and near a planned change no more than up to it', () => {
  const ring = ringOf(key('active'), key('published'))
  const at = 30 * DAY
  assert.equal(maxAge(ring, 0), 300)
  assert.equal(maxAge(ring, at - 300_000), 300)
  assert.equal(maxAge(ring, at - 299_001), 300, 'a part of a second counts as one')
  assert.equal(maxAge(ring, at - 299_000), 299)
  assert.equal(maxAge(ring, at - 60_000), 60)
})

test('just before a change verifiers do not come every second: a tenth of max-age is the least', () => {
  const ring = ringOf(key('active'), key('published'))
  assert.equal(maxAge(ring, 30 * DAY - 29_000), 30)
  assert.equal(maxAge(ring, 30 * DAY - 1), 30)
  assert.equal(maxAge(ring, 30 * DAY), 300, 'and after it they may keep it again')
  const short = { ...OPTIONS, jwksMaxAgeSeconds: 5 }
  assert.equal(servedJwks(RENDERED, ring, short, 30 * DAY - 1).maxAgeSeconds, 1)
})

test('the set itself is passed on as it was rendered', () => {
  const { body, etag, kids, staleIfErrorSeconds } = servedJwks(RENDERED, ringOf(), OPTIONS, 0)
  assert.deepEqual({ body, etag, kids }, RENDERED)
  assert.equal(staleIfErrorSeconds, 43_200)
})
