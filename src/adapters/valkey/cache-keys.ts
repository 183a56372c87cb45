import { hkdfSync } from 'node:crypto'
import { Secret } from '../../lib/secret.ts'

/** Shortest `cache.seal`, in bytes: what AES-256 and HMAC-SHA256 can make use of. */
export const LEAST_SEAL_BYTES = 32

/** One key for each use, all of the configured secret, so that no use tells anything about another. */
export interface CacheKeys {
  /** Hides names of tenants, sources, clients and users in key names. */
  readonly names: Secret<Buffer>
  /** Seals answers of entitlement sources. */
  readonly answers: Secret<Buffer>
  /** Seals what replicas tell each other. */
  readonly purges: Secret<Buffer>
}

/** Derives the keys by HKDF (RFC 5869) from `cache.seal`, which all replicas share. @throws {TypeError} when it is too short. */
export function deriveCacheKeys(seal: Secret): CacheKeys {
  const secret = Buffer.from(seal.reveal())
  if (secret.length < LEAST_SEAL_BYTES)
    throw new TypeError(`cache.seal is shorter than ${LEAST_SEAL_BYTES} bytes`)
  const derive = (use: string): Secret<Buffer> =>
    new Secret(Buffer.from(hkdfSync('sha256', secret, '', `rolemint cache v1 ${use}`, 32)))
  const keys = { names: derive('names'), answers: derive('answers'), purges: derive('purges') }
  secret.fill(0)
  return keys
}
