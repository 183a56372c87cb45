/** Key rings broken on purpose, to show that the rotation load would notice. */
import { generateKeyPair } from '../../src/adapters/node-crypto/key-pair.ts'
import type { Ring, RingKey } from '../../src/keys/ring.ts'
import { ACCELERATED, type Rotating } from './rotating.ts'

/**
 * `unpublished`: a key signs that was in no key set before. `retired-early`: a key leaves the key set while tokens that it signed
 * are valid. `unguarded`: a key signs as soon as an operator wants it, without the wait after it was published.
 */
export type Fault = 'unpublished' | 'retired-early' | 'unguarded'

const STORE_MILLISECONDS = 20_000
/** Verifiers get so long to have a sound key set in their caches. */
const QUIET_MILLISECONDS = 3000

/** What plants the fault: called again and again with the milliseconds that have passed. */
export function breakRing(fault: Fault, rotating: Rotating): (passed: number) => Promise<void> {
  const tenants = [...rotating.trusted.keys()]
  const broken = new Set<number>()
  return async (passed) => {
    for (const tenant of tenants) {
      if (passed < QUIET_MILLISECONDS) return
      if (fault === 'retired-early') {
        const spent = rotating.keys(tenant).some(({ state }) => state === 'verify-only')
        if (spent) await rotating.doctor(tenant, withoutVerifyOnly)
      } else if (fault === 'unpublished' && !broken.has(tenant)) {
        broken.add(tenant)
        await signUnpublished(rotating, tenant)
      }
    }
  }
}

function withoutVerifyOnly(ring: Ring): Ring {
  const keys = ring.keys.map(
    (key): RingKey =>
      key.state === 'verify-only' ? { ...key, state: 'retired', retiredAt: Date.now() } : key,
  )
  return { ...ring, keys }
}

async function signUnpublished(rotating: Rotating, tenant: number): Promise<void> {
  const { publicKey, pkcs8 } = await generateKeyPair('ES256')
  const { crv = '', kty = '', x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const kid = `unpublished-${tenant}`
  const { privateKeys } = rotating.sts.deployment.stores
  await privateKeys?.put(`t${tenant}`, kid, pkcs8, AbortSignal.timeout(STORE_MILLISECONDS))
  const now = Date.now()
  const planted: RingKey = {
    kid,
    alg: 'ES256',
    state: 'active',
    publicJwk: { crv, kty, x, y },
    createdAt: now,
    publishedAt: now,
    activatedAt: now,
    signUntil: now + (ACCELERATED.rotateEverySeconds + ACCELERATED.publishAheadSeconds) * 1000,
    reason: 'planted fault',
    by: 'test',
  }
  await rotating.doctor(tenant, (ring) => {
    const keys = ring.keys.map(
      (key): RingKey =>
        key.state === 'active' ? { ...key, state: 'verify-only', verifyOnlyAt: now } : key,
    )
    return { ...ring, keys: [...keys, planted] }
  })
}
