import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KeyRingFacts } from '../observe/metrics.ts'
import type { KeyState, RingKey, RingPolicy } from './ring.ts'
import { createKeyWatch } from './watch.ts'

const DAY = 86_400_000
const NOW = 1_800_000_000_000
const POLICY: RingPolicy = {
  publishAheadMilliseconds: DAY,
  rotateEveryMilliseconds: 30 * DAY,
  successors: 1,
  longestTokenMilliseconds: DAY / 2,
  skewMilliseconds: 30_000,
}

const aKey = (kid: string, state: KeyState, more: Partial<RingKey> = {}): RingKey => ({
  kid,
  alg: 'ES256',
  state,
  publicJwk: { kty: 'EC' },
  createdAt: 0,
  reason: 'test',
  by: 'ada',
  ...more,
})

function watched(keys: readonly RingKey[]) {
  const store = { down: false }
  const gauges: (readonly [string, string, KeyRingFacts])[] = []
  const ups: boolean[] = []
  const lines: string[] = []
  const keep = (_fields: unknown, message: string) => void lines.push(message)
  const watch = createKeyWatch(
    {
      keys: { list: () => keys },
      custody: {
        check: () => (store.down ? Promise.reject(new Error('sealed')) : Promise.resolve()),
      },
      clock: { now: () => NOW },
      log: { debug: keep, info: keep, warn: keep, error: keep },
      metrics: {
        keyStoreUp: (up) => void ups.push(up),
        keyRing: (tenant, alg, facts) => void gauges.push([tenant, alg, facts]),
      },
    },
    () => POLICY,
  )
  return { store, gauges, ups, lines, look: () => watch(['acme'], AbortSignal.timeout(5000)) }
}

test('of each key that signs it tells how long it may, how many may follow, and that nothing is overdue', async () => {
  const activatedAt = NOW - 10 * DAY
  const { gauges, look } = watched([
    aKey('old', 'verify-only'),
    aKey('now', 'active', { activatedAt, signUntil: activatedAt + 31 * DAY }),
    aKey('next', 'published', { publishedAt: NOW }),
    aKey('staged', 'staged'),
  ])
  await look()
  assert.deepEqual(gauges, [
    ['acme', 'ES256', { successors: 1, signsForSeconds: 21 * 86_400, overdueSeconds: 0 }],
  ])
})

test('a rotation that is late is told in seconds, also when the key may no longer sign', async () => {
  const activatedAt = NOW - 32 * DAY
  const { gauges, look } = watched([
    aKey('now', 'active', { activatedAt, signUntil: activatedAt + 31 * DAY }),
  ])
  await look()
  assert.deepEqual(gauges[0]?.[2], {
    successors: 0,
    signsForSeconds: 0,
    overdueSeconds: 2 * 86_400,
  })
})

test('a key store that stops answering is one error line and a gauge at 0, and one line when it is back', async () => {
  const { store, ups, lines, look } = watched([])
  await look()
  store.down = true
  await look()
  await look()
  store.down = false
  await look()
  await look()
  assert.deepEqual(ups, [true, false, false, true, true])
  assert.deepEqual(lines, [
    'key store does not answer; signing goes on from memory',
    'key store answers again',
  ])
})

test('after the kill of the only key of an algorithm its gauges fall to zero instead of staying as they were', async () => {
  const activatedAt = NOW - DAY
  const keys = [aKey('now', 'active', { activatedAt, signUntil: activatedAt + 31 * DAY })]
  const { gauges, look } = watched(keys)
  await look()
  keys[0] = aKey('now', 'compromised', { activatedAt, signUntil: activatedAt + 31 * DAY })
  await look()
  assert.deepEqual(gauges.at(-1), [
    'acme',
    'ES256',
    { successors: 0, signsForSeconds: 0, overdueSeconds: 0 },
  ])
})
