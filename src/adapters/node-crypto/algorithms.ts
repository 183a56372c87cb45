import { constants, type KeyObject, type SignKeyObjectInput } from 'node:crypto'
import type { SigningAlgorithm } from '../../keys/options.ts'

/** RSA keys below this are refused, and new ones have exactly this many bits (architecture §7). */
export const RSA_BITS = 3072

/** How `node:crypto` makes a signature of an algorithm. */
export interface Recipe {
  /** Digest name for `crypto.sign`; null where the algorithm brings its own (Ed25519). */
  readonly digest: string | null
  /** For ECDSA: bytes of `r` and of `s`. */
  readonly coordinateBytes?: number
  /**
   * True where one signature holds the loop for more than 0.3 ms: it is then made in the libuv pool. The cheap ones are
   * not, because the pool costs 1.5 times their CPU.
   */
  readonly slow: boolean
  /** What `crypto.sign` is given. The bare key where possible: an options object adds 14 µs to a signature on Node 24. */
  input(key: KeyObject): KeyObject | SignKeyObjectInput
  /** Whether a private key is one of this algorithm; each key serves exactly one (RFC 8725 §3.1). */
  fits(key: KeyObject): boolean
}

const bare = (key: KeyObject): KeyObject => key
const onCurve = (name: string) => (key: KeyObject) =>
  key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === name
const strongRsa = (key: KeyObject): boolean =>
  key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= RSA_BITS

/** Every algorithm we sign with (RFC 7518 §3.1, RFC 8037 §3.1). */
export const RECIPES: Readonly<Record<SigningAlgorithm, Recipe>> = {
  ES256: {
    digest: 'sha256',
    coordinateBytes: 32,
    slow: false,
    input: bare,
    fits: onCurve('prime256v1'),
  },
  ES384: {
    digest: 'sha384',
    coordinateBytes: 48,
    slow: true,
    input: bare,
    fits: onCurve('secp384r1'),
  },
  RS256: { digest: 'sha256', slow: true, input: bare, fits: strongRsa },
  PS256: {
    digest: 'sha256',
    slow: true,
    input: (key) => ({
      key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      // RFC 7518 §3.5: the salt is as long as the hash. OpenSSL's own choice would be the longest that fits.
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    }),
    fits: strongRsa,
  },
  EdDSA: {
    digest: null,
    slow: false,
    input: bare,
    fits: (key) => key.asymmetricKeyType === 'ed25519',
  },
}
