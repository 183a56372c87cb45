import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { createSystemRandom } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { createSeal, parseKek } from './seal.ts'

const random = createSystemRandom()
const kekOf = (byte: number) => new Secret(Buffer.alloc(32, byte))
const name = { tenant: 'acme', kid: 'k1' }
const der = () => new Secret(Buffer.from('a private key in DER'))

test('what is sealed opens to the same bytes and holds none of them in clear', () => {
  const seal = createSeal({ kek: kekOf(1), random })
  const stored = seal.close(name, der())
  assert.deepEqual(seal.open(name, stored).reveal(), der().reveal())
  assert.ok(!Buffer.from(stored.sealed).includes('private'))
})

test('the same key sealed twice shares no bytes: each has a data key and nonces of its own', () => {
  const seal = createSeal({ kek: kekOf(1), random })
  const [a, b] = [seal.close(name, der()), seal.close(name, der())]
  assert.notDeepEqual(a.sealed, b.sealed)
  assert.notDeepEqual(a.wrappedKey, b.wrappedKey)
})

test('another KEK opens nothing, and the error names the kid and no key material', () => {
  const stored = createSeal({ kek: kekOf(1), random }).close(name, der())
  assert.throws(
    () => createSeal({ kek: kekOf(2), random }).open(name, stored),
    (error: Error) => {
      assert.match(error.message, /k1 could not be opened: it was sealed under another KEK/)
      assert.ok(!inspect(error, { depth: 9 }).includes(Buffer.alloc(32, 1).toString('hex')))
      return true
    },
  )
})

test('a row moved to another tenant or kid by someone who can write to the database does not open', () => {
  const seal = createSeal({ kek: kekOf(1), random })
  const stored = seal.close(name, der())
  assert.throws(() => seal.open({ tenant: 'other', kid: 'k1' }, stored), /k1/)
  assert.throws(() => seal.open({ tenant: 'acme', kid: 'k2' }, stored), /k2/)
  // The parts of the name cannot be shifted into one another.
  const joined = seal.close({ tenant: 'a', kid: '","b' }, der())
  assert.throws(() => seal.open({ tenant: 'a","', kid: 'b' }, joined))
})

test('the sealed key of one kid with the data key of another does not open', () => {
  const seal = createSeal({ kek: kekOf(1), random })
  const one = seal.close(name, der())
  const two = seal.close(name, der())
  assert.throws(() => seal.open(name, { ...one, wrappedKey: two.wrappedKey }), /was changed/)
})

test('any changed, missing or added byte is refused', () => {
  const seal = createSeal({ kek: kekOf(1), random })
  const stored = seal.close(name, der())
  for (const part of ['sealed', 'wrappedKey'] as const) {
    for (let index = 0; index < stored[part].length; index += 1) {
      const changed = Buffer.from(stored[part])
      changed[index] = (changed[index] ?? 0) ^ 1
      assert.throws(() => seal.open(name, { ...stored, [part]: changed }), /k1/)
      const cut = Buffer.from(stored[part].subarray(0, index))
      assert.throws(() => seal.open(name, { ...stored, [part]: cut }), /k1/)
    }
    const longer = Buffer.concat([stored[part], Buffer.alloc(1)])
    assert.throws(() => seal.open(name, { ...stored, [part]: longer }), /k1/)
  }
})

test('sealing leaves the key of the caller as it was', () => {
  const key = der()
  createSeal({ kek: kekOf(1), random }).close(name, key)
  assert.deepEqual(key.reveal(), der().reveal())
})

test('a KEK is read from hex, base64 and base64url, whatever stands around it', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const kek = Buffer.from(bytes)
      const hex = kek.toString('hex')
      const spellings = [hex, hex.toUpperCase(), kek.toString('base64'), kek.toString('base64url')]
      for (const text of [...spellings, `${kek.toString('base64')}\n`]) {
        assert.deepEqual(parseKek(new Secret(text)).reveal(), kek)
      }
    }),
  )
})

test('a passphrase, a key of another length and a base64 text with stray bits are refused without being repeated', () => {
  const short = Buffer.alloc(31, 9)
  const stray = `${Buffer.alloc(32).toString('base64url').slice(0, 42)}B`
  const refused = [
    '',
    'correct horse battery staple',
    short.toString('base64'),
    short.toString('hex'),
    stray,
  ]
  for (const text of [...refused, Buffer.alloc(33).toString('base64'), 'g'.repeat(64)]) {
    assert.throws(
      () => parseKek(new Secret(text)),
      (error: Error) =>
        error.message.startsWith('The KEK') && !(text !== '' && error.message.includes(text)),
    )
  }
})
