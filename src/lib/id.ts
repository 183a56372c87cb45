import { randomFillSync } from 'node:crypto'

/** Cryptographic randomness, passed in so that a run can be replayed from a seed. */
export interface Random {
  /** `length` fresh random bytes. */
  bytes(length: number): Buffer
}

const POOL_BYTES = 4096

/**
 * The operating system's CSPRNG, drawn in blocks: one call for 4 KiB costs about as much as one for 16 bytes.
 * No byte is handed out twice.
 */
export function createSystemRandom(): Random {
  const pool = Buffer.alloc(POOL_BYTES)
  let used = POOL_BYTES
  return {
    bytes(length) {
      if (length > POOL_BYTES) return randomFillSync(Buffer.alloc(length))
      if (used + length > POOL_BYTES) {
        randomFillSync(pool)
        used = 0
      }
      const fresh = Buffer.from(pool.subarray(used, used + length))
      pool.fill(0, used, used + length)
      used += length
      return fresh
    },
  }
}

const TOKEN_ID_BYTES = 20

/** A `jti`: 160 random bits, base64url (RFC 7519 §4.1.7). UUIDs are too short on randomness for an unguessable id (ASVS 5.0, 11.5.1). */
export function newTokenId(random: Random): string {
  return random.bytes(TOKEN_ID_BYTES).toString('base64url')
}

/** A request id: 128 random bits in hex, the shape of a W3C trace id, so the two can be one. */
export function newTraceId(random: Random): string {
  return random.bytes(16).toString('hex')
}
