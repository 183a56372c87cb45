import { decrypt, encrypt } from '../../lib/aead.ts'
import type { Random } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'

const KEY_BYTES = 32

/** Which key something belongs to. */
export interface KeyName {
  readonly tenant: string
  readonly kid: string
}

/** A sealed private key as it is stored: nonce, ciphertext and tag, each in one piece. */
export interface SealedKey {
  /** PKCS#8 DER under the data key. */
  readonly sealed: Uint8Array
  /** The data key under the KEK. */
  readonly wrappedKey: Uint8Array
}

/** Envelope encryption of private keys: AES-256-GCM, a data key of its own for each, wrapped by the KEK. */
export interface Seal {
  close(name: KeyName, pkcs8: Secret<Buffer>): SealedKey
  /** @throws {Error} naming the kid when the KEK is another one, or when what is stored was changed or belongs to another key. */
  open(name: KeyName, stored: SealedKey): Secret<Buffer>
}

/** Bound into both ciphertexts, so that a row copied to another tenant or kid does not open; JSON keeps the parts apart. */
function context(layer: 'data key' | 'private key', { tenant, kid }: KeyName): Buffer {
  return Buffer.from(JSON.stringify(['rolemint', 1, layer, tenant, kid]))
}

/** The seal of a database under one KEK. */
export function createSeal({
  kek,
  random,
}: {
  readonly kek: Secret<Buffer>
  readonly random: Random
}): Seal {
  return {
    close(name, pkcs8) {
      const dataKey = random.bytes(KEY_BYTES)
      try {
        return {
          sealed: encrypt(dataKey, pkcs8.reveal(), context('private key', name), random),
          wrappedKey: encrypt(kek.reveal(), dataKey, context('data key', name), random),
        }
      } finally {
        dataKey.fill(0)
      }
    },

    open(name, { sealed, wrappedKey }) {
      let dataKey: Buffer
      try {
        dataKey = decrypt(kek.reveal(), wrappedKey, context('data key', name))
      } catch (error) {
        throw new Error(
          `The private key ${name.kid} could not be opened: it was sealed under another KEK, or its data key was changed.`,
          { cause: error },
        )
      }
      try {
        return new Secret(decrypt(dataKey, sealed, context('private key', name)))
      } catch (error) {
        throw new Error(
          `The private key ${name.kid} could not be opened: what is stored was changed.`,
          { cause: error },
        )
      } finally {
        dataKey.fill(0)
      }
    },
  }
}

const HEX = /^[0-9A-Fa-f]{64}$/
/** 43 characters of either base64 alphabet, the last with two zero bits, padded or not. */
const BASE64 = /^(?:[0-9A-Za-z+/]{42}|[0-9A-Za-z_-]{42})[AEIMQUYcgkosw048]=?$/

/**
 * The key-encryption key of a configuration: 32 bytes as hex, base64 or base64url; blanks and line ends around it are ignored.
 * @throws {Error} when it is anything else. A passphrase is refused: it would be guessed at leisure from a stolen database.
 */
export function parseKek(text: Secret): Secret<Buffer> {
  return text.map((given) => {
    const trimmed = given.trim()
    if (HEX.test(trimmed)) return Buffer.from(trimmed, 'hex')
    if (BASE64.test(trimmed)) return Buffer.from(trimmed, 'base64') // reads both alphabets
    throw new Error(
      'The KEK was not 32 bytes in hex, base64 or base64url; make one with 32 random bytes.',
    )
  })
}
