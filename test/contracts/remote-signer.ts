import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '../../src/adapters/node-crypto/key-pair.ts'
import { exportPublicJwk, thumbprint } from '../../src/keys/jwk.ts'
import { SIGNING_ALGORITHMS } from '../../src/keys/options.ts'
import type { RemoteSigner, SignerKey } from '../../src/keys/signer.ts'
import { isRefusal } from '../../src/lib/refusal.ts'
import { DependencyUnavailable } from '../../src/lib/unavailable.ts'
import { type SignerUnderTest, signerContract } from './signer.ts'

/** A remote signer under test. */
export interface RemoteSignerUnderTest {
  readonly signer: RemoteSigner
  /** Another one on the same keys, as another replica has it. */
  readonly second: RemoteSigner
  close(): Promise<void>
}

/** The public members of a key by its type, in the order of the algorithms. */
const SHAPES = {
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  RS256: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
} as const

const soon = () => AbortSignal.timeout(60_000)
const isUnavailable = (error: unknown): boolean => isRefusal(error, 'signer_unavailable')

/** What every {@link RemoteSigner} must do, the contract of a signer included. */
export function remoteSignerContract(
  name: string,
  open: () => Promise<RemoteSignerUnderTest>,
): void {
  signerContract(name, async () => asSigner(await open()))

  const under = (what: string, body: (given: RemoteSignerUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const given = await open()
      try {
        await body(given)
      } finally {
        await given.close()
      }
    })
  }

  under('makes a key of the right kind for each algorithm, never the same twice', async (given) => {
    const made = new Map<string, string>()
    for (const alg of SIGNING_ALGORITHMS) {
      const { publicKey, handle } = await given.signer.create('acme', alg, soon())
      assert.equal(publicKey.type, 'public')
      const jwk = exportPublicJwk(publicKey)
      assert.deepEqual({ ...jwk, ...SHAPES[alg] }, jwk)
      if (jwk['kty'] === 'RSA') assert.equal(Buffer.from(jwk['n'] ?? '', 'base64url').length, 384)
      made.set(thumbprint(jwk), handle)
    }
    assert.equal(made.size, SIGNING_ALGORITHMS.length)
    assert.equal(new Set(made.values()).size, SIGNING_ALGORITHMS.length)
  })

  under(
    'holds what it made, for every replica, and not under another public half',
    async (given) => {
      for (const alg of ['ES256', 'EdDSA'] as const) {
        const { publicKey, handle } = await given.signer.create('acme', alg, soon())
        assert.equal(await given.signer.holds(handle, publicKey, soon()), true)
        assert.equal(await given.second.holds(handle, publicKey, soon()), true)
        const other = await generateKeyPair(alg)
        other.pkcs8.reveal().fill(0)
        assert.equal(await given.signer.holds(handle, other.publicKey, soon()), false)
      }
    },
  )

  under('a key signs only where it was bound, and no more when it is unbound', async (given) => {
    const key = await makeKey(given.signer, 'acme')
    await given.signer.sign(key, 'a.b')
    await assert.rejects(async () => given.second.sign(key, 'a.b'), isUnavailable)
    given.second.bind(key, key.handle)
    await given.second.sign(key, 'a.b')
    given.second.unbind(key)
    given.second.unbind(key) // and again
    await assert.rejects(async () => given.second.sign(key, 'a.b'), isUnavailable)
    await given.signer.sign(key, 'a.b')
  })

  under('a destroyed key is gone for every replica, and can be destroyed again', async (given) => {
    const [key, stays] = [await makeKey(given.signer, 'acme'), await makeKey(given.signer, 'acme')]
    given.second.bind(key, key.handle)
    await given.signer.destroy(key.handle, soon())
    await given.second.destroy(key.handle, soon())
    assert.equal(await given.signer.holds(key.handle, key.publicKey, soon()), false)
    await assert.rejects(async () => given.signer.sign(key, 'a.b'), isUnavailable)
    await assert.rejects(async () => given.second.sign(key, 'a.b'), isUnavailable)
    assert.equal(await given.signer.holds(stays.handle, stays.publicKey, soon()), true)
    await given.signer.sign(stays, 'a.b')
  })

  under('replicas that destroy a key at the same time all succeed', async (given) => {
    const { handle } = await makeKey(given.signer, 'acme')
    const signers = [given.signer, given.second, given.signer, given.second]
    await Promise.all(signers.map((signer) => signer.destroy(handle, soon())))
  })

  under('with no time left, nothing is known', async (given) => {
    const { handle, publicKey } = await makeKey(given.signer, 'acme')
    const over = AbortSignal.abort()
    await assert.rejects(given.signer.create('acme', 'ES256', over), DependencyUnavailable)
    await assert.rejects(given.signer.holds(handle, publicKey, over), DependencyUnavailable)
    await assert.rejects(given.signer.destroy(handle, over), DependencyUnavailable)
    await assert.rejects(given.signer.check(over), DependencyUnavailable)
  })

  under('a check of a signer that works resolves', ({ signer }) => signer.check(soon()))
}

async function makeKey(signer: RemoteSigner, tenant: string, alg: SignerKey['alg'] = 'ES256') {
  const { publicKey, handle } = await signer.create(tenant, alg, soon())
  const key = { tenant, kid: thumbprint(exportPublicJwk(publicKey)), alg, publicKey, handle }
  signer.bind(key, handle)
  return key
}

function asSigner(given: RemoteSignerUnderTest): SignerUnderTest {
  const { signer } = given
  return {
    signer,
    async makeKey(tenant, alg) {
      const { publicKey, ...key } = await makeKey(signer, tenant, alg)
      return [key, publicKey]
    },
    async takeAway(key) {
      signer.unbind(key)
    },
    close: () => given.close(),
  }
}
