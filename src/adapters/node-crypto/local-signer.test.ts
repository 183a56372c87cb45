import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from '../../keys/options.ts'
import { Secret } from '../../lib/secret.ts'
import { generateKeyPair } from './key-pair.ts'
import { createLocalSigner } from './local-signer.ts'

const der = (key: KeyObject): Buffer => key.export({ type: 'pkcs8', format: 'der' })
const named = (alg: SigningAlgorithm) => ({ tenant: 'acme', kid: 'k1', alg })

test('the private half that was loaded is overwritten with zeros, also when it is refused', () => {
  const signer = createLocalSigner()
  const good = der(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  signer.load(named('ES256'), new Secret(good))
  assert.ok(good.every((byte) => byte === 0))
  assert.equal(Buffer.from(signer.sign(named('ES256'), 'a.b') as Buffer).length, 64)

  const wrong = der(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)
  assert.throws(() => signer.load(named('ES256'), new Secret(wrong)), TypeError)
  assert.ok(wrong.every((byte) => byte === 0))

  const garbage = Buffer.from('not a key')
  assert.throws(() => signer.load(named('ES256'), new Secret(garbage)), TypeError)
  assert.ok(garbage.every((byte) => byte === 0))
})

test('a key of another kind, curve or strength is refused for every algorithm it does not fit', () => {
  const make: Record<string, () => KeyObject> = {
    'P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    'P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    secp256k1: () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey,
    Ed25519: () => generateKeyPairSync('ed25519').privateKey,
    X25519: () => generateKeyPairSync('x25519').privateKey,
    'RSA 2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  }
  const fits: Record<string, string> = { ES256: 'P-256', ES384: 'P-384', EdDSA: 'Ed25519' }
  for (const [kind, newKey] of Object.entries(make)) {
    const bytes = der(newKey())
    for (const alg of SIGNING_ALGORITHMS) {
      const load = () => createLocalSigner().load(named(alg), new Secret(Buffer.from(bytes)))
      if (fits[alg] === kind) load()
      else assert.throws(load, /^TypeError: key k1 is no \w+ private key$/, `${kind} for ${alg}`)
    }
  }
})

test('the error about a private half that cannot be read shows nothing of it', () => {
  const bytes = der(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
  const cut = Buffer.from(bytes.subarray(0, -10))
  const shown = bytes.subarray(40, 60).toString('hex')
  assert.throws(
    () => createLocalSigner().load(named('ES256'), new Secret(cut)),
    (error: unknown) => {
      const text = inspect(error, { depth: 10 })
      assert.ok(!text.includes(shown))
      return error instanceof TypeError && error.cause === undefined
    },
  )
})

test('the cheap algorithms are signed at once, the dear ones off the loop', async () => {
  for (const alg of SIGNING_ALGORITHMS) {
    const signer = createLocalSigner()
    const { pkcs8 } = await generateKeyPair(alg)
    signer.load(named(alg), pkcs8)
    const signature = signer.sign(named(alg), 'a.b')
    assert.equal(Buffer.isBuffer(signature), alg === 'ES256' || alg === 'EdDSA', alg)
    await signature
  }
})

test('new RSA keys have 3072 bits and the usual exponent', async () => {
  const { publicKey, pkcs8 } = await generateKeyPair('PS256')
  assert.equal(publicKey.asymmetricKeyDetails?.modulusLength, 3072)
  assert.equal(publicKey.asymmetricKeyDetails?.publicExponent, 65537n)
  assert.equal(String(pkcs8), '[redacted]')
})

test('a signer shows none of its keys when it is printed', async () => {
  const signer = createLocalSigner()
  const { pkcs8 } = await generateKeyPair('ES256')
  signer.load(named('ES256'), pkcs8)
  assert.ok(!inspect(signer, { depth: 10, showHidden: true }).includes('PrivateKeyObject'))
})
