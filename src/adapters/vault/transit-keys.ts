import { createPublicKey, type KeyObject } from 'node:crypto'
import type { SigningAlgorithm } from '../../keys/options.ts'
import type { Random } from '../../lib/id.ts'
import { isJsonObject } from '../../lib/strict-json.ts'
import type { BatchLimits } from './transit-batches.ts'

/** How Transit makes and uses a key for one of our algorithms. */
interface TransitRecipe {
  readonly type: 'ecdsa-p256' | 'ecdsa-p384' | 'rsa-3072' | 'ed25519'
  /** What a request to sign says besides the input. */
  readonly sign: Readonly<Record<string, string>>
  /** Of a JWS signature: R‖S, the RSA modulus, Ed25519 (RFC 7518 §3.3-3.5, RFC 8037 §3.1). */
  readonly signatureBytes: number
  readonly limits: BatchLimits
}

/**
 * The longest batch is 180 KiB (64 signing inputs of 2 KiB). OpenBao took 10 ms for it with ES256 and 25 ms with ES384, on two cores.
 * What may wait is what those sign well within the time limit of a second: more would time out, and look like an outage.
 */
const FAST: BatchLimits = { perBatch: 64, waiting: 512 }
/** One signature of 3072 bits takes 3 ms: in a batch of 64 the first would wait 200 ms for the last. */
const SLOW: BatchLimits = { perBatch: 16, waiting: 128 }

/** Every parameter is said, also where Transit's default is the same: its default for RSA is PSS, for salt "auto". */
export const TRANSIT_RECIPES: Readonly<Record<SigningAlgorithm, TransitRecipe>> = {
  ES256: {
    type: 'ecdsa-p256',
    sign: { hash_algorithm: 'sha2-256' },
    signatureBytes: 64,
    limits: FAST,
  },
  ES384: {
    type: 'ecdsa-p384',
    sign: { hash_algorithm: 'sha2-384' },
    signatureBytes: 96,
    limits: FAST,
  },
  RS256: {
    type: 'rsa-3072',
    sign: { hash_algorithm: 'sha2-256', signature_algorithm: 'pkcs1v15' },
    signatureBytes: 384,
    limits: SLOW,
  },
  PS256: {
    type: 'rsa-3072',
    // The salt is as long as the hash (RFC 7518 §3.5).
    sign: { hash_algorithm: 'sha2-256', signature_algorithm: 'pss', salt_length: 'hash' },
    signatureBytes: 384,
    limits: SLOW,
  },
  EdDSA: { type: 'ed25519', sign: {}, signatureBytes: 64, limits: FAST },
}

/** We never rotate within a Transit key: a new key of ours is a new one there. Should somebody else do it, version 1 goes on signing. */
export const KEY_VERSION = 1

const SUFFIX_BYTES = 16

/** Name of a new Transit key: nobody can foresee it, so none is there already. */
export function newHandle(prefix: string, tenant: string, random: Random): string {
  return `${prefix}-${tenant}-${random.bytes(SUFFIX_BYTES).toString('hex')}`
}

/**
 * Whether `handle` could be a name that {@link newHandle} made. Handles come back out of the key ring in the database; without this, whoever can
 * write there could have us sign with, or delete, any other key of the mount: the key-encryption key for one.
 */
export function isHandle(prefix: string, handle: string): boolean {
  if (!handle.startsWith(`${prefix}-`)) return false
  return /^[a-z0-9][a-z0-9-]{0,62}-[0-9a-f]{32}$/.test(handle.slice(prefix.length + 1))
}

/** What Transit tells about a key that can sign for us. */
export interface TransitKey {
  readonly type: string
  /** Of {@link KEY_VERSION}. */
  readonly publicKey: KeyObject
  /** False when Transit would hand out the private half to whoever has the right. */
  readonly staysThere: boolean
}

/** @returns undefined when the key is not to be signed with: deleted softly, or its first version is gone. @throws {TypeError} when it is no signing key. */
export function readTransitKey(data: Readonly<Record<string, unknown>>): TransitKey | undefined {
  const { type, keys, exportable, allow_plaintext_backup: backup } = data
  if (typeof type !== 'string' || !isJsonObject(keys)) throw new TypeError('not a Transit key')
  // OpenBao can mark a key as deleted and keep it.
  if (data['soft_deleted'] === true) return undefined
  const version = keys[`${KEY_VERSION}`]
  if (version === undefined) return undefined
  const publicHalf = isJsonObject(version) ? version['public_key'] : undefined
  if (typeof publicHalf !== 'string') throw new TypeError('a Transit key without a public half')
  return {
    type,
    publicKey: type === 'ed25519' ? fromRawEd25519(publicHalf) : createPublicKey(publicHalf),
    staysThere: exportable === false && backup === false,
  }
}

/** Transit gives Ed25519 keys as 32 bytes in base64, all others as PEM. */
function fromRawEd25519(base64: string): KeyObject {
  const x = Buffer.from(base64, 'base64').toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}

const SIGNATURE = /^vault:v([1-9][0-9]{0,8}):([A-Za-z0-9_-]+)$/

/**
 * The signature of one result of a batch (`vault:v1:` and base64url).
 * @throws {TypeError} when it is by another version of the key, of another length or not canonical base64url: no verifier would accept it.
 */
export function readSignature(result: Readonly<Record<string, unknown>>, bytes: number): Buffer {
  const { signature } = result
  const [, version, text = ''] =
    SIGNATURE.exec(typeof signature === 'string' ? signature : '') ?? []
  if (version !== `${KEY_VERSION}`) throw new TypeError('no signature by version 1 of the key')
  const decoded = Buffer.from(text, 'base64url')
  if (decoded.length !== bytes || decoded.toString('base64url') !== text)
    throw new TypeError(`a signature that is not ${bytes} bytes in base64url`)
  return decoded
}
