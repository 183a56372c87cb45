import assert from 'node:assert/strict'
import { constants, type KeyObject, verify } from 'node:crypto'
import { test } from 'node:test'
import { compactVerify } from 'jose'
import { SIGNING_ALGORITHMS, type SigningAlgorithm } from '../../src/keys/options.ts'
import type { Signer, SignerKey } from '../../src/keys/signer.ts'
import { isRefusal } from '../../src/lib/refusal.ts'

/** A signer under test. */
export interface SignerUnderTest {
  readonly signer: Signer
  /** Makes a key that the signer can use from now on; gives its public half. */
  makeKey(tenant: string, alg: SigningAlgorithm): Promise<[SignerKey, KeyObject]>
  /** Makes a key unusable for the signer. */
  takeAway(key: SignerKey): Promise<void>
  close(): Promise<void>
}

/** Length of a JWS signature in bytes: R‖S, the RSA modulus of 3072 bits, Ed25519 (RFC 7518 §3.3-3.5, RFC 8037 §3.1). */
const LENGTHS: Readonly<Record<SigningAlgorithm, number>> = {
  ES256: 64,
  ES384: 96,
  RS256: 384,
  PS256: 384,
  EdDSA: 64,
}

/** How Node itself checks each algorithm; written apart from the adapters. */
const VERIFIERS: Readonly<
  Record<SigningAlgorithm, (input: Buffer, key: KeyObject, signature: Buffer) => boolean>
> = {
  ES256: (input, key, signature) =>
    verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature),
  ES384: (input, key, signature) =>
    verify('sha384', input, { key, dsaEncoding: 'ieee-p1363' }, signature),
  RS256: (input, key, signature) => verify('sha256', input, key, signature),
  PS256: (input, key, signature) => {
    const padding = constants.RSA_PKCS1_PSS_PADDING
    return verify('sha256', input, { key, padding, saltLength: 32 }, signature)
  },
  EdDSA: (input, key, signature) => verify(null, input, key, signature),
}

const isUnavailable = (error: unknown): boolean => isRefusal(error, 'signer_unavailable')

/** What every {@link Signer} must do. */
export function signerContract(name: string, open: () => Promise<SignerUnderTest>): void {
  const under = (what: string, body: (given: SignerUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const given = await open()
      try {
        await body(given)
      } finally {
        await given.close()
      }
    })
  }

  for (const alg of SIGNING_ALGORITHMS) {
    under(
      `${alg} signatures verify in node:crypto and in jose and have a fixed length`,
      async (given) => {
        const [key, publicKey] = await given.makeKey('acme', alg)
        const rounds = alg === 'ES256' ? 300 : 5 // about two of them have an r or s with a leading zero byte
        for (let round = 0; round < rounds; round += 1) {
          const header = Buffer.from(JSON.stringify({ alg, typ: 'at+jwt', kid: key.kid }))
          const payload = Buffer.from(JSON.stringify({ sub: 'ada', round }))
          const input = `${header.toString('base64url')}.${payload.toString('base64url')}`
          const signature = await given.signer.sign(key, input)

          assert.equal(signature.length, LENGTHS[alg])
          assert.ok(VERIFIERS[alg](Buffer.from(input), publicKey, signature))
          assert.ok(!VERIFIERS[alg](Buffer.from(`${input}x`), publicKey, signature))
          if (round < 20) {
            const token = `${input}.${signature.toString('base64url')}`
            await compactVerify(token, publicKey, { algorithms: [alg] })
          }
        }
      },
    )
  }

  under('many signatures at once do not get mixed up', async (given) => {
    for (const alg of ['ES256', 'ES384'] as const) {
      const [key, publicKey] = await given.makeKey('acme', alg)
      const inputs = Array.from({ length: 20 }, (_, index) => `header.payload-${index}`)
      const signatures = await Promise.all(
        inputs.map(async (input) => given.signer.sign(key, input)),
      )
      for (const [index, signature] of signatures.entries())
        assert.ok(VERIFIERS[alg](Buffer.from(inputs[index] ?? ''), publicKey, signature))
    }
  })

  under('a kid that the signer does not hold is refused as signer_unavailable', async (given) => {
    const key = { tenant: 'acme', kid: 'unknown', alg: 'ES256' } as const
    await assert.rejects(async () => given.signer.sign(key, 'a.b'), isUnavailable)
    const [known] = await given.makeKey('acme', 'ES256')
    await assert.rejects(
      async () => given.signer.sign({ ...known, kid: 'other' }, 'a.b'),
      isUnavailable,
    )
  })

  under('a key of one tenant does not sign in the name of another', async (given) => {
    const [key] = await given.makeKey('acme', 'ES256')
    await given.makeKey('globex', 'ES256')
    await assert.rejects(
      async () => given.signer.sign({ ...key, tenant: 'globex' }, 'a.b'),
      isUnavailable,
    )
  })

  under('a key signs for its own algorithm only', async (given) => {
    const [key] = await given.makeKey('acme', 'ES256')
    await assert.rejects(
      async () => given.signer.sign({ ...key, alg: 'ES384' }, 'a.b'),
      isUnavailable,
    )
  })

  under('a key that was taken away signs no more', async (given) => {
    const [key] = await given.makeKey('acme', 'EdDSA')
    await given.signer.sign(key, 'a.b')
    await given.takeAway(key)
    await assert.rejects(async () => given.signer.sign(key, 'a.b'), isUnavailable)
  })
}
