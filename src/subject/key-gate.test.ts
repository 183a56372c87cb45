import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newTestKey } from '../../test/fakes/jwt.ts'
import { admitKeys } from './key-gate.ts'
import { ALGORITHM_NAMES } from './options.ts'
import { hasRocaFingerprint } from './roca.ts'

type Jwk = Record<string, unknown>

const ec = (): Jwk => ({ ...newTestKey('ES256', 'k').publicJwk })
const okp = (): Jwk => ({ ...newTestKey('EdDSA', 'k').publicJwk })

/** Why a single key is left out; undefined when it is let in. */
function reason(jwk: unknown): string | undefined {
  const { keys, rejections } = admitKeys({ keys: [jwk] }, ALGORITHM_NAMES)
  assert.equal(keys.length + rejections.length, 1)
  return rejections[0]?.reason
}

function toBase64url(value: bigint): string {
  const hex = value.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex').toString('base64url')
}

/** A modulus with the ROCA structure: the product of two numbers k·M + 65537^a mod M. They need not be prime for the fingerprint. */
function rocaModulus(): bigint {
  let product = 1n
  for (let prime = 2n; prime <= 701n; prime++) if (isPrime(prime)) product *= prime
  const factor = (k: bigint, exponent: number): bigint => {
    let power = 1n
    for (let round = 0; round < exponent; round++) power = (power * 65_537n) % product
    return k * product + power
  }
  // M has 971 bits, so multipliers of 53 bits make factors of 1024 bits.
  return factor(2n ** 53n - 111n, 1234) * factor(2n ** 53n - 55n, 4321)
}

function isPrime(value: bigint): boolean {
  for (let divisor = 2n; divisor * divisor <= value; divisor++)
    if (value % divisor === 0n) return false
  return value > 1n
}

test('sound keys of every kind are let in, each tied to one algorithm', () => {
  const rsa = newTestKey('RS256', 'rsa')
  const set = [rsa, newTestKey('ES384', 'ec'), newTestKey('EdDSA', 'okp')].map(
    (key) => key.publicJwk,
  )
  const { keys, rejections } = admitKeys({ keys: set }, ALGORITHM_NAMES)
  assert.deepEqual(
    keys.map(({ kid, alg }) => [kid, alg]),
    [
      ['rsa', 'RS256'],
      ['ec', 'ES384'],
      ['okp', 'EdDSA'],
    ],
  )
  assert.deepEqual(rejections, [])
})

test('a key without alg is pinned by the allow-list: a curve has one, for RSA the first in the list', () => {
  const { alg: _, ...rsa } = newTestKey('RS256', 'rsa').publicJwk
  const { alg: __, ...curve } = newTestKey('ES256', 'ec').publicJwk
  const pinned = (...algorithms: Parameters<typeof admitKeys>[1]) =>
    admitKeys({ keys: [rsa, curve] }, algorithms).keys.map((key) => key.alg)
  assert.deepEqual(pinned('ES384', 'PS256', 'RS256', 'ES256'), ['PS256', 'ES256'])
  assert.deepEqual(pinned('RS256', 'PS256'), ['RS256'])
})

test('a key whose alg is not allowed, unknown, symmetric, or of another key type or curve is left out', () => {
  const unfit = 'its kty, crv and alg fit no accepted algorithm'
  for (const alg of ['HS256', 'none', 'RS256', 'ES384', 'EdDSA', 'ES521', 7, null, '__proto__'])
    assert.equal(reason({ ...ec(), alg }), unfit)
  assert.deepEqual(
    admitKeys({ keys: [ec()] }, ['RS256']).rejections.map((rejection) => rejection.reason),
    [unfit],
  )
  for (const crv of ['P-384', 'secp256k1', undefined]) assert.equal(reason({ ...ec(), crv }), unfit)
  assert.equal(reason({ ...okp(), crv: 'X25519' }), unfit)
  assert.equal(reason({ kty: 'AKP', alg: 'ML-DSA-44', kid: 'k', pub: 'AA' }), unfit)
})

test('a set with symmetric or unknown keys survives without them', () => {
  const { keys } = admitKeys(
    { keys: [{ kty: 'oct', kid: 'mac', k: 'AAAA' }, null, 7, 'x', [], ec()] },
    ALGORITHM_NAMES,
  )
  assert.equal(keys.length, 1)
})

test('a private or symmetric member keeps a key out: somebody published what they must not', () => {
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'])
    assert.equal(reason({ ...ec(), [member]: 'AAAA' }), 'has private or symmetric members')
})

test('use and key_ops must allow verifying', () => {
  for (const use of ['enc', 'SIG', '', null])
    assert.equal(reason({ ...ec(), use }), 'use is not sig')
  for (const operations of [[], ['encrypt'], ['sign'], 'verify', null])
    assert.equal(reason({ ...ec(), key_ops: operations }), 'key_ops does not hold verify')
  assert.equal(
    reason({ ...ec(), key_ops: ['verify', 'verify'] }),
    'key_ops holds an operation twice',
  )
  assert.equal(
    reason({ ...ec(), key_ops: ['verify', 'encrypt'] }),
    'key_ops mixes signing with other purposes',
  )
  assert.equal(reason({ ...ec(), use: undefined, key_ops: ['verify'] }), undefined)
})

test('all keys that share a kid are left out, whatever else they are', () => {
  const { keys, rejections } = admitKeys(
    { keys: [ec(), { ...ec(), kid: 'other' }, { kty: 'oct', kid: 'k', k: 'AA' }] },
    ALGORITHM_NAMES,
  )
  assert.deepEqual(
    keys.map((key) => key.kid),
    ['other'],
  )
  assert.deepEqual(
    rejections.map((rejection) => rejection.reason),
    Array(2).fill('kid is used by more than one key'),
  )
})

test('a point that is not on its curve, or coordinates of the wrong length or spelling, are refused', () => {
  assert.equal(reason({ ...ec(), x: ec()['y'] }), 'the point is not on the curve')
  const jwk = ec()
  assert.equal(
    reason({ ...jwk, x: Buffer.alloc(31, 1).toString('base64url') }),
    'x has the wrong length',
  )
  assert.equal(reason({ ...jwk, x: `${String(jwk['x'])}=` }), 'x is not canonical base64url')
  assert.equal(reason({ ...jwk, y: undefined }), 'y is not canonical base64url')
  assert.equal(reason({ ...jwk, y: 7 }), 'y is not canonical base64url')
})

test('Ed25519 points of small order are refused, with either sign', () => {
  for (const hex of [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  ])
    assert.equal(
      reason({ ...okp(), x: Buffer.from(hex, 'hex').toString('base64url') }),
      'the point has small order',
    )
})

test('RSA keys that are too short, or with an exponent that is small, even or huge, are refused', () => {
  assert.equal(reason(newTestKey('RS256', 'k', 1024).publicJwk), 'RSA key shorter than 2048 bits')
  const sound = newTestKey('RS256', 'k').publicJwk
  assert.equal(reason(sound), undefined)
  for (const e of [1n, 3n, 17n, 65_535n])
    assert.equal(reason({ ...sound, e: toBase64url(e) }), 'RSA exponent below 65537')
  assert.equal(reason({ ...sound, e: toBase64url(65_538n) }), 'RSA exponent is even')
  assert.equal(reason({ ...sound, e: toBase64url(2n ** 65n + 1n) }), 'RSA exponent too large')
  const n = toBase64url(2n ** 8192n + 1n)
  assert.equal(reason({ ...sound, n }), 'RSA key longer than 8192 bits')
  assert.equal(reason({ ...sound, n: toBase64url(2n ** 2047n) }), 'RSA modulus is even')
})

test('an RSA key of the weak Infineon generator is refused by its fingerprint', () => {
  const n = rocaModulus()
  assert.equal(n.toString(2).length, 2048)
  assert.ok(hasRocaFingerprint(n))
  assert.ok(!hasRocaFingerprint(n + 2n))
  assert.equal(
    reason({ kty: 'RSA', alg: 'RS256', n: toBase64url(n), e: 'AQAB' }),
    'RSA key made by a generator with the ROCA weakness',
  )
})

test('what is no key set, or one of more than a hundred keys, is an error', () => {
  for (const jwks of [null, [], 'x', {}, { keys: {} }, { keys: null }])
    assert.throws(() => admitKeys(jwks, ['ES256']))
  assert.throws(() => admitKeys({ keys: Array.from({ length: 101 }, ec) }, ['ES256']))
  assert.equal(
    admitKeys({ keys: Array.from({ length: 100 }, () => ({})) }, ['ES256']).keys.length,
    0,
  )
})
