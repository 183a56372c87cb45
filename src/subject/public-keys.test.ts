import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFakeJsonDocuments } from '../../test/fakes/json-documents.ts'
import { jwksOf, newTestKey } from '../../test/fakes/jwt.ts'
import { isRefusal } from '../lib/refusal.ts'
import type { KeySource } from './options.ts'
import { createPublicKeys } from './public-keys.ts'

const SECOND = 1000
const ISSUER = 'https://login.example'
const URI = 'https://keys.example/jwks'
const METADATA = `${ISSUER}/.well-known/openid-configuration`

function createWorld(options?: Parameters<typeof createPublicKeys>[1]) {
  const clock = { time: 1_800_000_000_000, now: () => clock.time }
  const documents = createFakeJsonDocuments()
  const warnings: string[] = []
  const log = { warn: (_: unknown, message: string) => void warnings.push(message) }
  const publicKeys = createPublicKeys({ documents, clock, log }, options)
  const key = newTestKey('ES256', 'k1')
  documents.put(URI, { document: jwksOf(key) })
  documents.put(METADATA, { document: { issuer: ISSUER, jwks_uri: URI } })
  const find = (
    kid: string | undefined = 'k1',
    source: KeySource = { kind: 'jwksUri', uri: URI },
    signal: AbortSignal = new AbortController().signal,
  ) => publicKeys.keyFor(source, ['ES256'], { alg: 'ES256', kid }, signal)
  return { clock, documents, warnings, publicKeys, key, find }
}

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
  clock.time += 30 * SECOND
  assert.equal((await find('k2')).kid, 'k2')
  assert.equal(documents.asked.length, 2)
})

test('a thousand tokens with kids nobody published cause one request in thirty seconds', async () => {
  const { clock, documents, find } = createWorld()
  for (let round = 0; round < 1000; round++)
    await assert.rejects(find(`made-up-${round}`), isUnknown)
  assert.equal(documents.asked.length, 1)
  clock.time += 30 * SECOND
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
  clock.time += 5 * SECOND
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

test('a key that its source withdrew is gone when the copy expires', async () => {
  const { clock, documents, find } = createWorld()
  await find()
  documents.put(URI, { document: jwksOf(newTestKey('ES256', 'k2')) })
  clock.time += 600 * SECOND
  await assert.rejects(find(), isUnknown)
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
  const { documents, find } = createWorld({ maxSources: 10, fetchTimeoutMilliseconds: 20 })
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
  const { documents, key, find } = createWorld({ maxSources: 2, fetchTimeoutMilliseconds: 2000 })
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
