import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { Random } from './id.ts'

/** NIST SP 800-38D §8.2: a 96-bit nonce drawn at random, so a key may encrypt up to 2^32 times; ours do far less. */
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** AES-256-GCM: nonce, ciphertext and tag in one piece. `aad` is bound in and not stored. */
export function encrypt(key: Buffer, plain: Buffer, aad: Buffer, random: Random): Buffer {
  const nonce = random.bytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(aad)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Opens what {@link encrypt} made. @throws {Error} when the key, the context or the bytes are not those of the encryption. */
export function decrypt(key: Buffer, stored: Uint8Array, aad: Buffer): Buffer {
  if (stored.length < NONCE_BYTES + TAG_BYTES) throw new Error('too short')
  const decipher = createDecipheriv('aes-256-gcm', key, stored.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(aad)
  decipher.setAuthTag(stored.subarray(-TAG_BYTES))
  const plain = decipher.update(stored.subarray(NONCE_BYTES, -TAG_BYTES))
  try {
    decipher.final()
    return plain
  } catch (error) {
    plain.fill(0) // GCM has decrypted before it knows whether it may
    throw error
  }
}
