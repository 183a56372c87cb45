import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { newTestKey, signInput } from '../../test/fakes/jwt.ts'
import { ALGORITHM_NAMES, type AlgorithmName } from './options.ts'
import { SIGNATURE_ALGORITHMS, verifySignature } from './signature.ts'

const INPUT = 'eyJhbGciOiJFUzI1NiJ9.e30'

function toPrecise(
  alg: AlgorithmName,
  rounds: number,
  check: (verify: (signature: Buffer) => boolean, sign: () => Buffer) => void,
): void {
  const pair = newTestKey(alg)
  const key = { kid: pair.kid, alg, key: createPublicKey(pair.privateKey) }
  for (let round = 0; round < rounds; round++) {
    check(
      (signature) => verifySignature(key, INPUT, signature),
      () => signInput(alg, pair.privateKey, INPUT),
    )
  }
}

for (const alg of ALGORITHM_NAMES) {
  test(`${alg}: a signature verifies, and not with one bit changed, one byte less or one more`, () => {
    // Enough rounds of ECDSA for R and S with leading zeros and with the sign bit set, where DER differs.
    toPrecise(
      alg,
      alg === 'ES256' ? 400 : SIGNATURE_ALGORITHMS[alg].order ? 40 : 2,
      (verify, sign) => {
        const signature = sign()
        assert.ok(verify(signature))
        const changed = Buffer.from(signature)
        changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1)
        assert.ok(!verify(changed))
        assert.ok(!verify(signature.subarray(1)))
        assert.ok(!verify(Buffer.concat([signature, Buffer.alloc(1)])))
        assert.ok(!verify(Buffer.alloc(0)))
      },
    )
  })
}

for (const alg of ['RS256', 'PS256'] as const) {
  test(`${alg}: a signature without its leading zero is refused, as it is another text for the same token`, () => {
    const pair = newTestKey(alg)
    const key = { kid: pair.kid, alg, key: createPublicKey(pair.privateKey) }
    for (let round = 0; ; round += 1) {
      const input = `${INPUT}${round}`
      const signature = signInput(alg, pair.privateKey, input)
      if (signature[0] !== 0) continue // 255 of 256
      assert.ok(verifySignature(key, input, signature))
      assert.ok(!verifySignature(key, input, signature.subarray(1)))
      break
    }
  })
}

for (const alg of ['ES256', 'ES384', 'ES512'] as const) {
  test(`${alg}: r and s of zero, n and above are refused, and so is DER`, () => {
    const order = SIGNATURE_ALGORITHMS[alg].order
    assert.ok(order)
    const zero = Buffer.alloc(order.length)
    const top = Buffer.alloc(order.length, 0xff)
    toPrecise(alg, 1, (verify, sign) => {
      const good = sign()
      const [r, s] = [good.subarray(0, order.length), good.subarray(order.length)]
      for (const bad of [zero, order, top]) {
        assert.ok(!verify(Buffer.concat([bad, s])))
        assert.ok(!verify(Buffer.concat([r, bad])))
        assert.ok(!verify(Buffer.concat([bad, bad])))
      }
    })
  })
}

test('an ES256 signature is refused with a zero put in or left out, though both numbers stay the same', () => {
  const pair = newTestKey('ES256')
  const key = { kid: 'k', alg: 'ES256', key: createPublicKey(pair.privateKey) } as const
  let signature = signInput('ES256', pair.privateKey, INPUT)
  while (signature[32] !== 0) signature = signInput('ES256', pair.privateKey, INPUT)
  const [zero, r, s] = [Buffer.alloc(1), signature.subarray(0, 32), signature.subarray(32)]
  assert.ok(verifySignature(key, INPUT, signature))
  for (const other of [
    [r, s.subarray(1)],
    [r, zero, s],
    [zero, r, s],
    [r, s, zero],
  ])
    assert.ok(!verifySignature(key, INPUT, Buffer.concat(other)))
})

test('a signature of one algorithm does not verify under another of the same key', () => {
  const pair = newTestKey('RS256')
  const publicKey = createPublicKey(pair.privateKey)
  const family = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const
  for (const signed of family) {
    const signature = signInput(signed, pair.privateKey, INPUT)
    for (const alg of family) {
      assert.equal(
        verifySignature({ kid: 'k', alg, key: publicKey }, INPUT, signature),
        alg === signed,
      )
    }
  }
})

test('a PSS signature whose salt is not as long as the digest is refused', () => {
  const pair = newTestKey('PS256')
  const key = { kid: 'k', alg: 'PS256', key: createPublicKey(pair.privateKey) } as const
  for (const saltLength of [0, 20, 31, 33, 64])
    assert.ok(!verifySignature(key, INPUT, signInput('PS256', pair.privateKey, INPUT, saltLength)))
  assert.ok(verifySignature(key, INPUT, signInput('PS256', pair.privateKey, INPUT, 32)))
})

function littleEndian(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toReversed())
}

test('an Ed25519 signature whose S has the group order added is refused', () => {
  const order = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n
  toPrecise('EdDSA', 20, (verify, sign) => {
    const signature = sign()
    const s = BigInt(`0x${littleEndian(signature.subarray(32)).toString('hex')}`)
    const other = littleEndian(Buffer.from((s + order).toString(16).padStart(64, '0'), 'hex'))
    assert.ok(verify(signature))
    assert.ok(!verify(Buffer.concat([signature.subarray(0, 32), other])))
  })
})
