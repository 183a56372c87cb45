import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFakeJsonDocuments } from '../../test/fakes/json-documents.ts'
import { jwksOf, newTestKey } from '../../test/fakes/jwt.ts'
import { createMemoryKeySnapshots } from '../adapters/memory/key-snapshots.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { UpstreamOptions, Upstreams } from '../resilience/upstream.ts'
import type { KeySnapshots } from './key-snapshots.ts'
import type { KeyOwner } from './keys.ts'
import type { KeySource } from './options.ts'
import { createPublicKeys } from './public-keys.ts'

const SECOND = 1000
const ISSUER = 'https://login.example'
const URI = 'https://keys.example/jwks'
const METADATA = `${ISSUER}/.well-known/openid-configuration`

interface WorldOptions {
  readonly options?: Parameters<typeof createPublicKeys>[1]
  readonly snapshots?: KeySnapshots
  readonly upstreams?: Pick<Upstreams, 'for'>
}

function createWorld({ options, snapshots, upstreams }: WorldOptions = {}) {
  const clock = { time: 1_800_000_000_000, now: () => clock.time }
  const documents = createFakeJsonDocuments()
  const warnings: string[] = []
  const log = { warn: (_: unknown, message: string) => void warnings.push(message) }
  const deps = { documents, clock, log, snapshots, ...(upstreams && { upstreams }) }
  let publicKeys = createPublicKeys(deps, options)
  const key = newTestKey('ES256', 'k1')
  documents.put(URI, { document: jwksOf(key) })
  documents.put(METADATA, { document: { issuer: ISSUER, jwks_uri: URI } })
  const find = (
    kid: string | undefined = 'k1',
    source: KeySource = { kind: 'jwksUri', uri: URI },
    signal: AbortSignal = new AbortController().signal,
    owner?: KeyOwner,
  ) => publicKeys.keyFor(source, ['ES256'], { alg: 'ES256', kid }, signal, owner)
  const restart = (): void => {
    publicKeys = createPublicKeys(deps, options)
  }
  return { clock, documents, warnings, publicKeys, key, find, restart }
}

/** Lets readings and savings that nobody waits for come to their end. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const isUnknown = (error: unknown): boolean => isRefusal(error, 'invalid_signature')
const isUnavailable = (error: unknown): boolean =>
  isRefusal(error, 'idp_keys_unavailable') && error.retryAfterSeconds === 5

/** A fetch that hangs until it is let go; it heeds its own signal. */
function gate(document: unknown) {
  const { promise, resolve } = Promise.withResolvers<void>()
  return {
    open: resolve,
    answer: async (signal: AbortSignal) => {
      await Promise.race([
        promise,
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(new Error('late'))),
        ),
      ])
      return { document, maxAgeSeconds: undefined }
    },
  }
}

test('keys are fetched once and kept for ten minutes when the source names no max-age', async () => {
  const { clock, documents, find } = createWorld()
  const first = await find()
  clock.time += 599 * SECOND
  assert.equal(await find(), first)
  assert.deepEqual(documents.asked, [URI])
  clock.time += SECOND
  await find()
  assert.equal(documents.asked.length, 2)
})

test('max-age is honoured between one minute and one day', async () => {
  for (const [maxAgeSeconds, kept] of [
    [0, 60],
    [300, 300],
    [10_000_000, 86_400],
  ] as const) {
    const { clock, documents, key, find } = createWorld()
    documents.put(URI, { document: jwksOf(key), maxAgeSeconds })
    await find()
    clock.time += kept * SECOND - 1
    await find()
    assert.equal(documents.asked.length, 1)
    clock.time += 1
    await find()
    assert.equal(documents.asked.length, 2)
  }
})

test('discovery asks the issuer, then exactly its jwks_uri', async () => {
  const { documents, find } = createWorld()
  await find('k1', { kind: 'discovery', issuer: ISSUER })
  assert.deepEqual(documents.asked, [METADATA, URI])
})

test('a slash at the end of an issuer is not doubled, and still part of its name', async () => {
  const { documents, find } = createWorld()
  documents.put(METADATA, { document: { issuer: `${ISSUER}/`, jwks_uri: URI } })
  await find('k1', { kind: 'discovery', issuer: `${ISSUER}/` })
  assert.deepEqual(documents.asked, [METADATA, URI])
})

test('a discovery document that speaks for another issuer, or points away from https, gives no keys', async () => {
  for (const document of [
    { issuer: `${ISSUER}/`, jwks_uri: URI },
    { issuer: ISSUER.toUpperCase(), jwks_uri: URI },
    { jwks_uri: URI },
    { issuer: ISSUER },
    { issuer: ISSUER, jwks_uri: 'http://keys.example/jwks' },
    { issuer: ISSUER, jwks_uri: 'file:///etc/passwd' },
    { issuer: ISSUER, jwks_uri: 'https://user:pw@keys.example/jwks' },
    { issuer: ISSUER, jwks_uri: [URI] },
    [],
  ]) {
    const { documents, find } = createWorld()
    documents.put(METADATA, { document })
    await assert.rejects(find('k1', { kind: 'discovery', issuer: ISSUER }), isUnavailable)
    assert.deepEqual(documents.asked, [METADATA])
  }
})

test('an http issuer, as in the dev profile, may have an http jwks_uri', async () => {
  const { documents, key, find } = createWorld()
  const issuer = 'http://127.0.0.1:4000'
  documents.put(`${issuer}/.well-known/openid-configuration`, {
    document: { issuer, jwks_uri: `${issuer}/jwks` },
  })
  documents.put(`${issuer}/jwks`, { document: jwksOf(key) })
  assert.ok(await find('k1', { kind: 'discovery', issuer }))
})

test('keys written in the configuration cause no request, and an unknown kid neither', async () => {
  const { documents, key, find } = createWorld()
  const source = { kind: 'inline', jwks: jwksOf(key) } as const
  assert.equal(await find('k1', source), await find('k1', source))
  await assert.rejects(find('other', source), isUnknown)
  assert.deepEqual(documents.asked, [])
})

test('a kid published since the last reading is found by one more reading', async () => {
  const { clock, documents, key, find } = createWorld()
  await find()
  documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 10 * SECOND
  assert.equal((await find('k2')).kid, 'k2')
  assert.equal(documents.asked.length, 2)
})

test('a thousand tokens with kids nobody published cause one request in ten seconds', async () => {
  const { clock, documents, find } = createWorld()
  for (let round = 0; round < 1000; round++)
    await assert.rejects(find(`made-up-${round}`), isUnknown)
  assert.equal(documents.asked.length, 1)
  clock.time += 10 * SECOND
  await Promise.all(
    Array.from({ length: 1000 }, (_, n) => assert.rejects(find(`x-${n}`), isUnknown)),
  )
  assert.equal(documents.asked.length, 2)
})

test('concurrent callers share one reading', async () => {
  const { documents, find } = createWorld()
  await Promise.all(Array.from({ length: 50 }, () => find()))
  assert.equal(documents.asked.length, 1)
})

test('a token without kid is refused, even where the source has a single key, and nothing is fetched', async () => {
  const { documents, publicKeys } = createWorld()
  await assert.rejects(
    publicKeys.keyFor(
      { kind: 'jwksUri', uri: URI },
      ['ES256'],
      { alg: 'ES256', kid: undefined },
      AbortSignal.timeout(1000),
    ),
    isUnknown,
  )
  assert.deepEqual(documents.asked, [])
})

test('an algorithm outside the allow-list is refused before anything is fetched', async () => {
  const { documents, publicKeys } = createWorld()
  await assert.rejects(
    publicKeys.keyFor(
      { kind: 'jwksUri', uri: URI },
      ['RS256'],
      { alg: 'ES256', kid: 'k1' },
      AbortSignal.timeout(1000),
    ),
    (error) => isRefusal(error, 'algorithm_not_allowed'),
  )
  assert.deepEqual(documents.asked, [])
})

test('a kid of a key that is tied to another algorithm is refused', async () => {
  const { documents, publicKeys } = createWorld()
  documents.put(URI, { document: jwksOf(newTestKey('PS256', 'rsa')) })
  await assert.rejects(
    publicKeys.keyFor(
      { kind: 'jwksUri', uri: URI },
      ['RS256', 'PS256'],
      { alg: 'RS256', kid: 'rsa' },
      AbortSignal.timeout(1000),
    ),
    (error) => isRefusal(error, 'algorithm_not_allowed'),
  )
})

test('an Ed25519 key serves tokens under either of its algorithm names', async () => {
  const { documents, publicKeys } = createWorld()
  documents.put(URI, { document: jwksOf(newTestKey('EdDSA', 'ed')) })
  for (const alg of ['EdDSA', 'Ed25519'] as const) {
    const key = await publicKeys.keyFor(
      { kind: 'jwksUri', uri: URI },
      ['Ed25519'],
      { alg, kid: 'ed' },
      AbortSignal.timeout(1000),
    )
    assert.equal(key.kid, 'ed')
  }
})

test('an RSA key without alg is pinned to what its issuer says it signs with, not to what a token says', async () => {
  const { documents, publicKeys } = createWorld()
  const { alg: _, ...jwk } = newTestKey('RS256', 'rsa').publicJwk
  documents.put(URI, { document: { keys: [jwk] } })
  documents.put(METADATA, {
    document: {
      issuer: ISSUER,
      jwks_uri: URI,
      id_token_signing_alg_values_supported: ['RS256', 'HS256'],
    },
  })
  const ask = (alg: 'RS256' | 'PS256') =>
    publicKeys.keyFor(
      { kind: 'discovery', issuer: ISSUER },
      ['PS256', 'RS256'],
      { alg, kid: 'rsa' },
      AbortSignal.timeout(1000),
    )
  assert.equal((await ask('RS256')).alg, 'RS256')
  await assert.rejects(ask('PS256'), (error) => isRefusal(error, 'algorithm_not_allowed'))
})

test('while a source is down its keys serve for one more day, and it is asked again every five seconds', async () => {
  const { clock, documents, find, warnings } = createWorld()
  await find()
  documents.put(URI, new Error('answered with status 500'))
  clock.time += 600 * SECOND
  assert.ok(await find())
  for (let round = 0; round < 100; round++) assert.ok(await find())
  assert.equal(documents.asked.length, 2)
  clock.time += 5 * SECOND
  assert.ok(await find())
  assert.equal(documents.asked.length, 3)
  assert.ok(warnings.includes('a key source could not be read'))
  clock.time += 86_400 * SECOND
  await assert.rejects(find(), isUnavailable)
})

test('while a source is down a kid its copy lacks is unavailable rather than wrong, without a request each', async () => {
  const { clock, documents, key, find } = createWorld()
  await find()
  documents.put(URI, new Error('answered with status 500'))
  clock.time += 60 * SECOND
  for (let round = 0; round < 100; round++) await assert.rejects(find('k2'), isUnavailable)
  assert.equal(documents.asked.length, 2)
  documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 10 * SECOND
  assert.equal((await find('k2')).kid, 'k2')
})

test('a source that was never read is unavailable, and asked again after five seconds', async () => {
  const { clock, documents, key, find } = createWorld()
  documents.put(URI, new Error('answered with status 500'))
  for (let round = 0; round < 10; round++) await assert.rejects(find(), isUnavailable)
  assert.equal(documents.asked.length, 1)
  documents.put(URI, { document: jwksOf(key) })
  clock.time += 5 * SECOND
  assert.ok(await find())
})

test('what answers with something that is no key set is as good as down', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  clock.time += 600 * SECOND
  documents.put(URI, { document: { error: 'maintenance' } })
  assert.ok(await find())
})

test('a key that its source withdrew serves until a reading says so, the first one after its life', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  clock.time += 600 * SECOND
  await find()
  await settled()
  await assert.rejects(find(), isUnknown)
})

test('a copy past its life answers at once, and one reading goes on behind it', async () => {
  const { clock, documents, key, find } = createWorld()
  const first = await find()
  const { open, answer } = gate(jwksOf(key))
  documents.put(URI, answer)
  clock.time += 600 * SECOND
  for (let round = 0; round < 100; round++) assert.equal(await find(), first)
  assert.equal(documents.asked.length, 2)
  open()
  await settled()
  clock.time += 599 * SECOND
  await find()
  assert.equal(documents.asked.length, 2)
})

test('a copy long past its life is read anew before it answers: a key may have been withdrawn hours ago', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  clock.time += 661 * SECOND
  await assert.rejects(find(), isUnknown)
})

test('a kid that a copy past its life lacks is looked for before it is refused', async () => {
  const { clock, documents, key, find } = createWorld()
  await find()
  documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 601 * SECOND
  assert.equal((await find('k2')).kid, 'k2')
})

test('a set that is empty, without a usable key, or no set never takes the place of a good one', async () => {
  const { clock, documents, key, find } = createWorld()
  const first = await find()
  const { kid: _, ...nameless } = key.publicJwk
  for (const document of [
    { keys: [] },
    { keys: [{ kty: 'oct', kid: 'k1', k: 'AA' }] },
    { keys: [nameless] },
    { keys: Array.from({ length: 101 }, (__, n) => ({ ...key.publicJwk, kid: `k${n}` })) },
    {},
    '<html>',
    null,
  ]) {
    documents.put(URI, { document })
    clock.time += 700 * SECOND
    assert.equal(await find(), first)
    await assert.rejects(find('k2'), isUnavailable)
  }
})

test('where nothing good is known, a set of unusable keys is what it is, and an empty one no set at all', async () => {
  const { clock, documents, find } = createWorld()
  documents.put(URI, { document: { keys: [] } })
  await assert.rejects(find(), isUnavailable)
  documents.put(URI, { document: jwksOf(newTestKey('RS256', 'k1', 1024)) })
  clock.time += 5 * SECOND
  await assert.rejects(find(), isUnknown)
})

test('a key that is read again is the same object, and one that changed under its kid is another', async () => {
  const { clock, documents, key, find } = createWorld()
  const first = await find()
  documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 10 * SECOND
  await find('k2')
  assert.equal(await find(), first)
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k1'), newTestKey('ES256', 'k3')) })
  clock.time += 10 * SECOND
  await find('k3')
  assert.notEqual(await find(), first)
  await assert.rejects(find('k2'), isUnknown)
})

test('a kid that a reading did not bring causes no other for two minutes, then one', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  clock.time += 10 * SECOND
  await assert.rejects(find('gone'), isUnknown)
  assert.equal(documents.asked.length, 2)
  for (let second = 0; second < 119; second++) {
    clock.time += SECOND
    await assert.rejects(find('gone'), isUnknown)
  }
  assert.equal(documents.asked.length, 2)
  clock.time += SECOND
  await assert.rejects(find('gone'), isUnknown)
  assert.equal(documents.asked.length, 3)
})

test('a key published amid forged kids without end is found by the next reading that is allowed', async () => {
  const { clock, documents, key, find } = createWorld()
  await find()
  let forged = 0
  for (let second = 0; second < 35; second++) {
    clock.time += SECOND
    if (second === 12) documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
    for (let n = 0; n < 50; n++) await assert.rejects(find(`forged-${forged++}`), isUnknown)
    if (second >= 20) assert.equal((await find('k2')).kid, 'k2')
  }
  assert.equal(documents.asked.length, 1 + 3)
})

test('forged kids beyond what is remembered still cause no more than one reading in ten seconds', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  for (let second = 0; second < 60; second++) {
    clock.time += SECOND
    await Promise.all(
      Array.from({ length: 400 }, (_, n) =>
        assert.rejects(find(`${n}`.padStart(n % 200, 'x')), isUnknown),
      ),
    )
  }
  assert.ok(documents.asked.length <= 7, `${documents.asked.length} readings`)
})

test('while a source is down, also a kid that was seen to be absent is unavailable rather than wrong', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  clock.time += 10 * SECOND
  await assert.rejects(find('k2'), isUnknown)
  documents.put(URI, new Error('answered with status 500'))
  clock.time += 10 * SECOND
  await assert.rejects(find('k3'), isUnavailable)
  await assert.rejects(find('k2'), isUnavailable)
})

test('a discovery document has a life of its own: a reading for a new kid asks for the keys only', async () => {
  const { clock, documents, key, find } = createWorld()
  const source = { kind: 'discovery', issuer: ISSUER } as const
  await find('k1', source)
  documents.put(URI, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 10 * SECOND
  await find('k2', source)
  assert.deepEqual(documents.asked, [METADATA, URI, URI])
  clock.time += 590 * SECOND
  await find('k1', source)
  clock.time += 60 * SECOND
  await find('k3', source).catch(() => {})
  assert.deepEqual(documents.asked.slice(3), [METADATA, URI])
})

test('keys go on being read while only the discovery document is down, for a day', async () => {
  const { clock, documents, find } = createWorld()
  const source = { kind: 'discovery', issuer: ISSUER } as const
  await find('k1', source)
  documents.put(METADATA, new Error('answered with status 500'))
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  clock.time += 3600 * SECOND
  assert.ok(await find('k2', source))
  clock.time += 25 * 3600 * SECOND
  await assert.rejects(find('k3', source), isUnavailable)
})

test('an issuer that moved its keys to another address is followed within a minute', async () => {
  const { clock, documents, key, find } = createWorld()
  const source = { kind: 'discovery', issuer: ISSUER } as const
  documents.put(METADATA, { document: { issuer: ISSUER, jwks_uri: URI }, maxAgeSeconds: 86_400 })
  await find('k1', source)
  documents.put(METADATA, { document: { issuer: ISSUER, jwks_uri: `${URI}/2` } })
  documents.put(`${URI}/2`, { document: jwksOf(key, newTestKey('ES256', 'k2')) })
  clock.time += 10 * SECOND
  await assert.rejects(find('k2', source), isUnknown)
  clock.time += 50 * SECOND
  await assert.rejects(find('forged', source), isUnknown)
  assert.ok(await find('k2', source))
})

test('a source that is slow or down delays no other, and an owner delays no other', async () => {
  const { documents, key, find } = createWorld()
  documents.put(URI, () => new Promise(() => {}))
  documents.put(`${URI}/2`, { document: jwksOf(key) })
  const stuck = find('k1', undefined, AbortSignal.timeout(20))
  assert.ok(await find('k1', { kind: 'jwksUri', uri: `${URI}/2` }))
  await assert.rejects(stuck, isUnavailable)
  const other = { kind: 'idp', tenant: 'globex', name: 'login' } as const
  documents.put(URI, { document: jwksOf(key) })
  assert.ok(await find('k1', undefined, undefined, other))
})

test('each owner has an upstream of its own, whose name holds no address', async () => {
  const made: UpstreamOptions[] = []
  const { documents, find, key } = createWorld({
    upstreams: {
      for(options) {
        made.push(options)
        return {
          facts: assert.fail,
          holdOpen: assert.fail,
          reset: assert.fail,
          call: (work) => work(new AbortController().signal, 1),
        }
      },
    },
  })
  documents.put(URI, { document: jwksOf(key) })
  await find('k1', undefined, undefined, { kind: 'idp', tenant: 'acme', name: 'login' })
  await find('k1', undefined, undefined, { kind: 'client', tenant: 'acme', name: 'web' })
  await find('k1')
  assert.deepEqual(
    made.slice(0, 2).map(({ name, kind, tenant }) => [name, kind, tenant]),
    [
      ['idp acme/login', 'idp', 'acme'],
      ['client-keys acme/web', 'client-keys', 'acme'],
    ],
  )
  assert.match(made[2]?.name ?? '', /^idp [0-9a-f]{12}$/)
})

test('a caller whose time is over by a refusal gets that very refusal', async () => {
  const { documents, find } = createWorld()
  documents.put(URI, () => new Promise(() => {}))
  const controller = new AbortController()
  const expired = new Refusal('expired', 'The subject token has expired.')
  const waiting = find('k1', undefined, controller.signal)
  controller.abort(expired)
  await assert.rejects(waiting, (error) => error === expired)
})

test('callers that wait for one reading are counted: of a flood most are sent away at once', async () => {
  const { documents, key, find } = createWorld()
  const { open, answer } = gate(jwksOf(key))
  documents.put(URI, answer)
  const all = Promise.allSettled(Array.from({ length: 1500 }, () => find()))
  await settled()
  open()
  const served = (await all).filter(({ status }) => status === 'fulfilled')
  assert.equal(served.length, 1000)
  assert.equal(documents.asked.length, 1)
})

test('after a restart with its source down, kept keys serve until a day after their life, and not a second more', async () => {
  const { clock, documents, find, restart } = createWorld({ snapshots: createMemoryKeySnapshots() })
  const source = { kind: 'discovery', issuer: ISSUER } as const
  await find('k1', source)
  await settled()
  documents.put(METADATA, new Error('connect ECONNREFUSED'))
  documents.put(URI, new Error('connect ECONNREFUSED'))
  for (const seconds of [0, 600, 3600, 600 + 86_399 - 4200]) {
    clock.time += seconds * SECOND
    restart()
    assert.ok(await find('k1', source), `${seconds}`)
    await assert.rejects(find('k2', source), isUnavailable)
  }
  clock.time += SECOND
  await assert.rejects(find('k1', source), isUnavailable)
  restart()
  await assert.rejects(find('k1', source), isUnavailable)
})

test('kept keys give way to what their source says: read behind the answer, and at once for a kid they lack', async () => {
  const { documents, find, restart } = createWorld({ snapshots: createMemoryKeySnapshots() })
  await find()
  await settled()
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  restart()
  assert.ok(await find('k1'))
  await settled()
  await assert.rejects(find('k1'), isUnknown)
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k3')) })
  restart()
  assert.ok(await find('k3'))
})

test('what is kept passes the same gate again: nothing on disk makes a weak or private key count', async () => {
  const key = newTestKey('ES256', 'k1')
  const weak = newTestKey('RS256', 'k1', 1024)
  const secret = { ...key.publicJwk, d: 'AA' }
  for (const [jwks, over] of [
    [{ keys: [weak.publicJwk] }, {}],
    [{ keys: [secret] }, {}],
    [{ keys: [{ ...key.publicJwk, use: 'enc' }] }, {}],
    [{ keys: [{ kty: 'oct', kid: 'k1', k: 'AAAA', alg: 'HS256' }] }, {}],
    [jwksOf(key), { place: 'jwksUri https://keys.example/other' }],
    [jwksOf(key), { readAt: 1_800_000_000_000 + 61 * SECOND }],
    [jwksOf(key), { readAt: 1_800_000_000_000 - 87_000 * SECOND }],
    ['<html>', {}],
  ] as const) {
    const place = `jwksUri ${URI}`
    const kept = { place, readAt: 1_800_000_000_000, metadata: undefined, jwks, maxAgeSeconds: 600 }
    const { documents, find } = createWorld({
      snapshots: { load: async () => ({ ...kept, ...over }), save: async () => {} },
    })
    documents.put(URI, new Error('connect ECONNREFUSED'))
    await assert.rejects(find('k1'), isUnavailable)
  }
})

test('kept metadata of another issuer brings no keys', async () => {
  const key = newTestKey('ES256', 'k1')
  const place = `discovery ${ISSUER}`
  const metadata = { issuer: 'https://evil.example', jwks_uri: URI }
  const kept = { place, readAt: 1_800_000_000_000, metadata, jwks: jwksOf(key), maxAgeSeconds: 600 }
  const { documents, find } = createWorld({
    snapshots: { load: async () => kept, save: async () => {} },
  })
  documents.put(METADATA, new Error('connect ECONNREFUSED'))
  await assert.rejects(find('k1', { kind: 'discovery', issuer: ISSUER }), isUnavailable)
})

test('a disk that fails or hangs costs nothing but what it would have kept', async () => {
  for (const broken of [
    () => Promise.reject(new Error('EIO')),
    () => new Promise<never>(() => {}),
  ]) {
    const { find, warnings } = createWorld({ snapshots: { load: broken, save: broken } })
    assert.ok(await find())
    assert.ok(warnings.length > 0)
  }
})

test('a caller waits no longer than its own signal, and does not end the reading for the others', async () => {
  const { documents, key, find } = createWorld()
  const { open, answer } = gate(jwksOf(key))
  documents.put(URI, answer)
  const impatient = new AbortController()
  const gaveUp = find('k1', undefined, impatient.signal)
  const patient = find()
  impatient.abort()
  await assert.rejects(gaveUp, isUnavailable)
  open()
  assert.ok(await patient)
  assert.equal(documents.asked.length, 1)
})

test('a source that never answers is given up after the shared deadline', async () => {
  const { documents, find } = createWorld({
    options: { maxSources: 10, fetchTimeoutMilliseconds: 20 },
  })
  documents.put(URI, () => new Promise(() => {}))
  await assert.rejects(find(), isUnavailable)
})

test('a clock that is set back freezes neither the copy nor the wait after a failure', async () => {
  const { clock, documents, key, find } = createWorld()
  documents.put(URI, new Error('answered with status 500'))
  await assert.rejects(find(), isUnavailable)
  documents.put(URI, { document: jwksOf(key) })
  clock.time -= 3600 * SECOND
  assert.ok(await find())
  clock.time -= 3600 * SECOND
  assert.ok(await find())
  assert.equal(documents.asked.length, 3)
})

test('the number of sources kept is bounded', async () => {
  const { documents, key, find } = createWorld({
    options: { maxSources: 2, fetchTimeoutMilliseconds: 2000 },
  })
  for (let round = 0; round < 10; round++) {
    const uri = `${URI}/${round}`
    documents.put(uri, { document: jwksOf(key) })
    await find('k1', { kind: 'jwksUri', uri })
  }
  await find('k1', { kind: 'jwksUri', uri: `${URI}/9` })
  assert.equal(documents.asked.length, 10)
  await find('k1', { kind: 'jwksUri', uri: `${URI}/0` })
  assert.equal(documents.asked.length, 11)
})

test('keys that the gate left out are told to the operator', async () => {
  const { documents, key, find, warnings } = createWorld()
  documents.put(URI, {
    document: { keys: [...jwksOf(key).keys, { kty: 'oct', kid: 'mac', k: 'AA' }] },
  })
  assert.ok(await find())
  await assert.rejects(find('mac'), isUnknown)
  assert.deepEqual(warnings, ['keys of a source were left out'])
})

test('a kid given to another key is found by the token that does not verify, once in ten seconds', async () => {
  const { clock, documents, publicKeys, find } = createWorld()
  const source = { kind: 'jwksUri', uri: URI } as const
  const ask = (refuted: Awaited<ReturnType<typeof find>>) =>
    publicKeys.replacementFor(source, ['ES256'], refuted, AbortSignal.timeout(30_000))
  const first = await find()
  for (let n = 0; n < 100; n++) assert.equal(await ask(first), undefined)
  assert.equal(documents.asked.length, 1)
  clock.time += 10 * SECOND
  for (let n = 0; n < 100; n++) assert.equal(await ask(first), undefined)
  assert.equal(documents.asked.length, 2)
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k1')) })
  clock.time += 10 * SECOND
  const all = await Promise.all(Array.from({ length: 100 }, () => ask(first)))
  assert.equal(documents.asked.length, 3)
  assert.equal(new Set(all).size, 1)
  assert.notEqual(all[0], undefined)
  assert.equal(await find(), all[0])
  // A token of the first key, checked against a copy from before, learns at once that the key is another now.
  assert.equal(await ask(first), all[0])
})

test('a wrong signature while the source is down, or under a key that is gone, finds no other key', async () => {
  const { clock, documents, publicKeys, find } = createWorld()
  const source = { kind: 'jwksUri', uri: URI } as const
  const ask = (refuted: Awaited<ReturnType<typeof find>>) =>
    publicKeys.replacementFor(source, ['ES256'], refuted, AbortSignal.timeout(30_000))
  const first = await find()
  clock.time += 10 * SECOND
  documents.put(URI, new Error('answered with status 500'))
  assert.equal(await ask(first), undefined)
  clock.time += 10 * SECOND
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  assert.equal(await ask(first), undefined)
  await assert.rejects(find(), isUnknown)
})
