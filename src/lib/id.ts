import type { Random } from './random.ts'

const TOKEN_ID_BYTES = 20

/** A `jti`: 160 random bits, base64url (RFC 7519 §4.1.7). UUIDs are too short on randomness for an unguessable id (ASVS 5.0, 11.5.1). */
export function newTokenId(random: Random): string {
  return random.bytes(TOKEN_ID_BYTES).toString('base64url')
}

/** A request id: 128 random bits in hex, the shape of a W3C trace id, so the two can be one. */
export function newTraceId(random: Random): string {
  return random.bytes(16).toString('hex')
}
