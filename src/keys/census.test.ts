import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Census, censusOf, createCensus, isSeenByAll, type NamedConsumer } from './census.ts'
import type { KeyState, Ring, RingKey } from './ring.ts'
import type { ConsumerFetch } from './store.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const NOW = 1_800_000_000_000
const HEADERS = 12 * HOUR

function aKey(kid: string, state: KeyState, more: Partial<RingKey> = {}): RingKey {
  return {
    kid,
    alg: 'ES256',
    state,
    publicJwk: { kty: 'EC' },
    createdAt: NOW - 90 * DAY,
    reason: 'test',
    by: 'ada',
    ...more,
  }
}

const ringOf = (...keys: RingKey[]): Ring => ({ version: 1, keys })

const fetched = (consumer: string, kids: readonly string[], lastAt: number): ConsumerFetch => ({
  consumer,
  kids,
  etag: `"${kids.join(' ')}"`,
  firstAt: lastAt,
  lastAt,
  fetches: 1,
})

const configured = (...names: readonly (readonly [string, number | undefined])[]) =>
  new Map(
    names.map(([name, cachesMilliseconds]): [string, NamedConsumer] => [
      name,
      { cachesMilliseconds },
    ]),
  )

const census = (
  ring: Ring,
  consumers: ReadonlyMap<string, NamedConsumer>,
  fetches: readonly ConsumerFetch[],
) => censusOf(ring, consumers, fetches, HEADERS, NOW)

test('a verifier lacks what is in JWKS now and was not in the newest set it fetched', () => {
  const ring = ringOf(
    aKey('gone', 'retired'),
    aKey('old', 'verify-only'),
    aKey('now', 'active'),
    aKey('next', 'published'),
    aKey('unborn', 'staged'),
    aKey('bad', 'compromised'),
  )
  const reports = census(ring, configured(['api', undefined], ['hr', undefined]), [
    fetched('api', ['gone', 'old', 'now', 'next'], NOW - 3 * DAY),
    fetched('api', ['old', 'now'], NOW - DAY),
  ])
  assert.deepEqual(
    reports.map(({ consumer, latest, lacks }) => [consumer, latest?.lastAt, lacks]),
    [
      ['api', NOW - DAY, ['next']],
      ['hr', undefined, ['old', 'now', 'next']],
    ],
  )
})

test('a published key is seen by all once every configured verifier has fetched a set with it', () => {
  const next = aKey('next', 'published')
  const ring = ringOf(aKey('now', 'active'), next)
  const both = configured(['api', undefined], ['hr', undefined])
  const api = fetched('api', ['now', 'next'], NOW)
  assert.equal(isSeenByAll(next, census(ring, both, [api])), false)
  assert.equal(isSeenByAll(next, census(ring, both, [api, fetched('hr', ['now'], NOW)])), false)
  const all = [api, fetched('hr', ['now', 'next'], NOW)]
  assert.equal(isSeenByAll(next, census(ring, both, all)), true)
})

test('a verifier that keeps copies for a day may accept a killed key for a day from its last fetch, others for as long as the headers say', () => {
  const ring = ringOf(
    aKey('bad', 'compromised', { compromisedAt: NOW - 1000 }),
    aKey('now', 'active'),
  )
  const reports = census(ring, configured(['apache', DAY], ['jose', undefined]), [
    fetched('apache', ['bad'], NOW - HOUR),
    fetched('jose', ['bad'], NOW - HOUR),
  ])
  assert.deepEqual(
    reports.map(({ consumer, keepsMilliseconds, exposed }) => [
      consumer,
      keepsMilliseconds,
      exposed,
    ]),
    [
      ['apache', DAY, [{ kid: 'bad', until: NOW + DAY - HOUR }]],
      ['jose', HEADERS, [{ kid: 'bad', until: NOW + HEADERS - HOUR }]],
    ],
  )
})

test('a verifier whose copy has run out is exposed no longer', () => {
  const ring = ringOf(aKey('bad', 'compromised', { compromisedAt: NOW - 2 * DAY }))
  const [report] = census(ring, configured(['api', DAY]), [fetched('api', ['bad'], NOW - DAY)])
  assert.deepEqual(report?.exposed, [])
})

test('a verifier that never named itself counts as exposed: it may have the key from before', () => {
  const ring = ringOf(aKey('bad', 'compromised', { compromisedAt: NOW }))
  const [report] = census(ring, configured(['api', DAY]), [])
  assert.deepEqual(report?.exposed, [{ kid: 'bad', until: NOW + DAY }])
})

const set = (...kids: string[]) => ({ kids, etag: `"${kids.join(' ')}"` })

/** A census over a store that keeps what it is given, or fails. */
function noting() {
  const kept: (ConsumerFetch & { readonly tenant: string })[] = []
  const world = { now: NOW, down: false }
  const notes: Census = createCensus(
    {
      add(tenant, fetch) {
        if (world.down) return Promise.reject(new Error('down'))
        kept.push({ tenant, ...fetch })
        return Promise.resolve()
      },
      list: () => Promise.resolve([]),
    },
    { now: () => world.now },
  )
  const acme = { name: 'acme', consumers: configured(['api', undefined]) }
  const flush = () => notes.flush(AbortSignal.timeout(5000))
  return { kept, world, notes, acme, flush }
}

test('fetches are counted in memory and written down together, once for each verifier and key set', async () => {
  const { kept, world, notes, acme, flush } = noting()
  notes.fetched(acme, 'api', set('a'))
  world.now += 1000
  notes.fetched(acme, 'api', set('a'))
  notes.fetched(acme, 'api', set('a', 'b'))
  assert.equal(kept.length, 0)
  await flush()
  assert.deepEqual(
    kept.map(({ tenant, kids, fetches, firstAt, lastAt }) => [
      tenant,
      kids,
      fetches,
      lastAt - firstAt,
    ]),
    [
      ['acme', ['a'], 2, 1000],
      ['acme', ['a', 'b'], 1, 0],
    ],
  )
  await flush()
  assert.equal(kept.length, 2, 'nothing is written twice')
})

test('a name that nobody configured is not noted: a stranger must not fill the table', async () => {
  const { kept, notes, acme, flush } = noting()
  for (const name of ['stranger', 'constructor', '__proto__', '', 'api '])
    notes.fetched(acme, name, set('a'))
  await flush()
  assert.deepEqual(kept, [])
})

test('what could not be written is kept for the next time, and what came meanwhile is not lost', async () => {
  const { kept, world, notes, acme, flush } = noting()
  notes.fetched(acme, 'api', set('a'))
  notes.fetched(acme, 'api', set('b'))
  world.down = true
  const failing = flush()
  notes.fetched(acme, 'api', set('c'))
  await assert.rejects(failing, /down/)
  world.down = false
  await flush()
  assert.deepEqual(kept.flatMap(({ kids }) => kids).toSorted(), ['a', 'b', 'c'])
})
