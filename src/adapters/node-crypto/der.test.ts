import assert from 'node:assert/strict'
import { generateKeyPairSync, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { derToRaw } from './local-signer.ts'

/** DER INTEGER of a big-endian number, minimal and positive; written apart from the code under test. */
function integer(number: Uint8Array): Buffer {
  const digits = Buffer.from(number)
  const first = digits.findIndex((byte) => byte !== 0)
  const minimal = first === -1 ? Buffer.from([0]) : digits.subarray(first)
  const positive = (minimal[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.from([0]), minimal]) : minimal
  return Buffer.concat([Buffer.from([0x02, positive.length]), positive])
}
function sequence(...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([0x30, content.length]), content])
}

for (const size of [32, 48]) {
  /** Numbers with up to `size - 1` leading zero bytes, and with high bits that DER must pad. */
  const number = fc
    .tuple(
      fc.integer({ min: 0, max: size - 1 }),
      fc.uint8Array({ minLength: size, maxLength: size }),
    )
    .map(([zeros, bytes]) => {
      const padded = Uint8Array.from(bytes, (byte, index) => (index < zeros ? 0 : byte))
      if (padded.every((byte) => byte === 0)) padded[size - 1] = 1
      return padded
    })

  test(`r and s of ${size} bytes keep their fixed length whatever zeros they begin with`, () => {
    fc.assert(
      fc.property(number, number, (r, s) => {
        const joined = derToRaw(sequence(integer(r), integer(s)), size)
        assert.deepEqual(joined, Buffer.concat([r, s]))
      }),
      { numRuns: 500 },
    )
  })

  test(`only the one right DER spelling of r and s is accepted, whatever byte is changed (${size} bytes)`, () => {
    let refused = 0
    fc.assert(
      fc.property(number, number, fc.nat(), fc.integer({ min: 1, max: 255 }), (r, s, at, flip) => {
        const der = sequence(integer(r), integer(s))
        const framing = [0, 1, 2, 3, 4 + (der[3] ?? 0), 5 + (der[3] ?? 0), at % der.length]
        for (const position of framing) {
          const broken = Buffer.from(der)
          broken[position] = (broken[position] ?? 0) ^ flip
          try {
            const raw = derToRaw(broken, size)
            // A changed byte may give other numbers; their spelling must be right all the same.
            const again = sequence(integer(raw.subarray(0, size)), integer(raw.subarray(size)))
            assert.deepEqual(again, broken)
          } catch (error) {
            if (!(error instanceof TypeError)) throw error
            refused += 1
          }
        }
        assert.throws(() => derToRaw(der.subarray(0, -1), size), TypeError)
        assert.throws(() => derToRaw(Buffer.concat([der, Buffer.from([0])]), size), TypeError)
      }),
      { numRuns: 300 },
    )
    assert.ok(refused > 1000)
  })
}

/** An INTEGER of exactly these content bytes, right or wrong. */
const integerOf = (...bytes: number[]): Buffer => Buffer.from([0x02, bytes.length, ...bytes])

test('numbers that no signature has are refused: negative, zero, needlessly padded, too long', () => {
  const one = integer(Uint8Array.of(1))
  assert.deepEqual(derToRaw(sequence(one, one), 2), Buffer.from([0, 1, 0, 1]))
  for (const bad of [[], [0], [0x80], [0, 0x7f], [0, 0, 0x80], [1, 2, 3]].map((content) =>
    integerOf(...content),
  )) {
    assert.throws(() => derToRaw(sequence(bad, one), 2), TypeError)
    assert.throws(() => derToRaw(sequence(one, bad), 2), TypeError)
  }
  assert.throws(() => derToRaw(Buffer.alloc(0), 32), TypeError)
  assert.throws(() => derToRaw(Buffer.from([0x30, 0]), 32), TypeError)
  assert.throws(() => derToRaw(sequence(one), 32), TypeError)
  assert.throws(() => derToRaw(sequence(one, one, one), 32), TypeError)
})

test('what OpenSSL signs converts to what OpenSSL verifies as R and S of fixed length', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const lengths = new Set<number>()
  for (let index = 0; index < 400; index += 1) {
    const input = Buffer.from(`message ${index}`)
    const der = sign('sha256', input, privateKey)
    lengths.add(der.length)
    const raw = derToRaw(der, 32)
    // The slow encoding is the oracle here and only here.
    const oracle = { key: publicKey, dsaEncoding: 'ieee-p1363' as const }
    assert.ok(verify('sha256', input, oracle, raw))
  }
  assert.ok(lengths.size > 1, 'signatures of several lengths were seen')
})
