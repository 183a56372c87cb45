import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LedgerEntry } from '../audit/ledger.ts'
import { createSystemRandom } from '../lib/id.ts'
import {
  EMPTY_RING,
  kill,
  promote,
  publish,
  type Ring,
  type RingPolicy,
  retire,
  stage,
} from './ring.ts'
import { createTransitionRecords, transitionsBetween } from './transitions.ts'

const NOW = 1_800_000_000_000
const POLICY: RingPolicy = {
  publishAheadMilliseconds: 0,
  rotateEveryMilliseconds: 1000,
  successors: 1,
  longestTokenMilliseconds: 0,
  skewMilliseconds: 0,
}
const change = (now: number, by = 'ada', reason = 'test') => ({ now, by, reason })
const newKey = (kid: string) => ({ kid, alg: 'ES256' as const, publicJwk: { kty: 'EC' } })

/** The ring after each step of a short life: staged, published (k1 signs), promoted, retired, killed. */
function life(): readonly Ring[] {
  const staged = stage(EMPTY_RING, [newKey('k1'), newKey('k2')], change(NOW))
  const first = publish(staged, 'k1', POLICY, change(NOW + 1))
  const both = publish(first, 'k2', POLICY, change(NOW + 2))
  const promoted = promote(both, 'k2', POLICY, change(NOW + 3, 'bob', 'INC-1'))
  const retired = retire(promoted, 'k1', POLICY, change(NOW + 60_000))
  const killed = kill(retired, 'k2', POLICY, change(NOW + 60_001, 'eve', 'INC-2'))
  return [EMPTY_RING, staged, first, both, promoted, retired, killed]
}

test('each step of a life is told with the states it led from and to, when, by whom and why', () => {
  const rings = life()
  const told = rings
    .slice(1)
    .map((ring, index) =>
      transitionsBetween(rings[index] ?? EMPTY_RING, ring).map(({ kid, from, to, at, by }) => [
        kid,
        from,
        to,
        at - NOW,
        by,
      ]),
    )
  assert.deepEqual(told, [
    [
      ['k1', undefined, 'staged', 0, 'ada'],
      ['k2', undefined, 'staged', 0, 'ada'],
    ],
    [['k1', 'staged', 'active', 1, 'ada']],
    [['k2', 'staged', 'published', 2, 'ada']],
    [
      ['k1', 'active', 'verify-only', 3, 'bob'],
      ['k2', 'published', 'active', 3, 'bob'],
    ],
    [['k1', 'verify-only', 'retired', 60_000, 'ada']],
    [['k2', 'active', 'compromised', 60_001, 'eve']],
  ])
})

test('a ring that did not change tells nothing', () => {
  const ring = life().at(-1) ?? EMPTY_RING
  assert.deepEqual(transitionsBetween(ring, { ...ring, version: ring.version + 1 }), [])
})

/** Records over a ledger that keeps what it is given, or fails. */
function recording() {
  const entries: LedgerEntry[] = []
  const counted: string[] = []
  const errors: string[] = []
  const ledger = { down: false, answersGetLost: false }
  const records = createTransitionRecords({
    ledger: {
      append(entry) {
        if (ledger.down || !entry) return Promise.reject(new Error('down'))
        if (entries.some(({ id }) => id === entry.id)) return Promise.reject(new Error('conflict'))
        entries.push(entry)
        if (ledger.answersGetLost) return Promise.reject(new Error('no answer'))
        return Promise.resolve({ recorded: true, position: entries.length })
      },
      find: (_tenant, id) =>
        Promise.resolve(
          entries.flatMap((entry, at) =>
            entry.id === id ? [{ ...entry, position: at + 1 }] : [],
          )[0],
        ),
    },
    random: createSystemRandom(),
    count: (tenant, alg, to) => void counted.push(`${tenant} ${alg} ${to}`),
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (_fields, message) => void errors.push(message),
    },
  })
  const flush = () => records.flush(AbortSignal.timeout(5000))
  return { entries, counted, errors, ledger, records, flush }
}

test('a change is counted at once and in the ledger after the next flush, once, with the reason', async () => {
  const { entries, counted, records, flush } = recording()
  const [, , , before = EMPTY_RING, after = EMPTY_RING] = life()
  records.changed('acme', before, after)
  assert.deepEqual(counted, ['acme ES256 verify-only', 'acme ES256 active'])
  assert.equal(entries.length, 0)
  await flush()
  await flush()
  assert.deepEqual(
    entries.map(({ event, tenant, at, kid, details }) => ({ event, tenant, at, kid, ...details })),
    [
      {
        event: 'key',
        tenant: 'acme',
        at: NOW + 3,
        kid: 'k1',
        action: 'ES256 key from active to verify-only',
        by: 'bob',
        reason: 'INC-1',
      },
      {
        event: 'key',
        tenant: 'acme',
        at: NOW + 3,
        kid: 'k2',
        action: 'ES256 key from published to active',
        by: 'bob',
        reason: 'INC-1',
      },
    ],
  )
  assert.equal(new Set(entries.map(({ id }) => id)).size, 2)
})

test('a ledger that is down loses nothing: the entries are written, in order, when it is back', async () => {
  const { entries, ledger, records, flush } = recording()
  const rings = life()
  ledger.down = true
  for (const [index, ring] of rings.slice(1).entries()) {
    records.changed('acme', rings[index] ?? EMPTY_RING, ring)
    await assert.rejects(flush(), /down/)
  }
  ledger.down = false
  await flush()
  assert.deepEqual(
    entries.map(({ details }) => details.action),
    [
      'ES256 key to staged',
      'ES256 key to staged',
      'ES256 key from staged to active',
      'ES256 key from staged to published',
      'ES256 key from active to verify-only',
      'ES256 key from published to active',
      'ES256 key from verify-only to retired',
      'ES256 key from active to compromised',
    ],
  )
})

test('flushes that come while one is under way share it, so that no entry is written twice', async () => {
  const { entries, records, flush } = recording()
  const [before = EMPTY_RING, after = EMPTY_RING] = life()
  records.changed('acme', before, after)
  await Promise.all([flush(), flush(), flush()])
  assert.equal(entries.length, 2)
})

test('what waits for a ledger that never comes back is bounded, and giving up is said', () => {
  const { errors, records } = recording()
  const keys = Array.from({ length: 1001 }, (_, index) => newKey(`k${index}`))
  records.changed('acme', EMPTY_RING, stage(EMPTY_RING, keys, change(NOW)))
  assert.deepEqual(errors, ['key change not recorded: the ledger was down too long'])
})

test('an entry whose answer got lost after the commit is not appended again, and holds nothing up', async () => {
  const { entries, ledger, records, flush } = recording()
  const rings = life()
  for (const [index, ring] of rings.entries())
    records.changed('acme', rings[index - 1] ?? EMPTY_RING, ring)
  ledger.answersGetLost = true
  await assert.rejects(flush(), /no answer/)
  assert.equal(entries.length, 1)
  ledger.answersGetLost = false
  await flush()
  assert.ok(entries.length > 1)
  assert.equal(new Set(entries.map(({ id }) => id)).size, entries.length)
})
