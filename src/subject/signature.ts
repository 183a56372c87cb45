import { constants, verify } from 'node:crypto'
import type { VerificationKey } from './keys.ts'
import type { AlgorithmName } from './options.ts'

/** How one JWS algorithm is verified, and which JWKs fit it. */
export interface SignatureAlgorithm {
  /** JWK key type (RFC 7517 §4.1). */
  readonly kty: 'EC' | 'RSA' | 'OKP'
  /** JWK curve, where the key type has one. */
  readonly crv?: 'P-256' | 'P-384' | 'P-521' | 'Ed25519'
  /** Digest; null where the algorithm does its own hashing. */
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null
  /** PSS salt, as long as the digest (RFC 7518 §3.5); absent with PKCS#1 v1.5. */
  readonly saltBytes?: number
  /** ECDSA: the group order as fixed-length big-endian bytes, whose length is also that of R and of S (RFC 7518 §3.4). */
  readonly order?: Buffer
}

const P256_ORDER = Buffer.from(
  'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
  'hex',
)
const P384_ORDER = Buffer.from(
  'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
  'hex',
)
const P521_ORDER = Buffer.from(
  '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
  'hex',
)
const ED25519 = { kty: 'OKP', crv: 'Ed25519', hash: null } as const

/** Every algorithm accepted from outside, as data. `Ed25519` (RFC 9864) is `EdDSA` (RFC 8037) under its precise name. */
export const SIGNATURE_ALGORITHMS: Readonly<Record<AlgorithmName, SignatureAlgorithm>> = {
  ES256: { kty: 'EC', crv: 'P-256', hash: 'sha256', order: P256_ORDER },
  ES384: { kty: 'EC', crv: 'P-384', hash: 'sha384', order: P384_ORDER },
  ES512: { kty: 'EC', crv: 'P-521', hash: 'sha512', order: P521_ORDER },
  RS256: { kty: 'RSA', hash: 'sha256' },
  RS384: { kty: 'RSA', hash: 'sha384' },
  RS512: { kty: 'RSA', hash: 'sha512' },
  PS256: { kty: 'RSA', hash: 'sha256', saltBytes: 32 },
  PS384: { kty: 'RSA', hash: 'sha384', saltBytes: 48 },
  PS512: { kty: 'RSA', hash: 'sha512', saltBytes: 64 },
  EdDSA: ED25519,
  Ed25519: ED25519,
}

/** True when two names mean one algorithm: equal, or the two names of Ed25519. */
export function isSameAlgorithm(one: AlgorithmName, other: AlgorithmName): boolean {
  return (
    one === other ||
    (SIGNATURE_ALGORITHMS[one] === ED25519 && SIGNATURE_ALGORITHMS[other] === ED25519)
  )
}

/** True when the allow-list has this algorithm, under either of its names. */
export function allowsAlgorithm(allowed: readonly AlgorithmName[], alg: AlgorithmName): boolean {
  return allowed.some((name) => isSameAlgorithm(name, alg))
}

/**
 * True when `signature` is this key's over `signingInput` (ASCII).
 *
 * Which algorithm that is, the key says and never the token (RFC 8725 §3.1). Synchronous: a verification costs 20 to 75 µs,
 * less than handing it to another thread.
 */
export function verifySignature(
  key: VerificationKey,
  signingInput: string,
  signature: Buffer,
): boolean {
  const { kty, hash, saltBytes, order } = SIGNATURE_ALGORITHMS[key.alg]
  const input = Buffer.from(signingInput, 'latin1')
  if (order !== undefined) {
    const der = toDer(signature, order)
    return der !== undefined && verify(hash, input, key.key, der)
  }
  if (kty === 'OKP') return signature.length === 64 && verify(null, input, key.key, signature)
  // RFC 8017 §8.1.2, §8.2.2: exactly as long as the modulus. OpenSSL also takes one that lost its leading zeros.
  const bits = key.key.asymmetricKeyDetails?.modulusLength ?? 0
  if (signature.length !== Math.ceil(bits / 8)) return false
  const padding =
    saltBytes === undefined
      ? { padding: constants.RSA_PKCS1_PADDING }
      : { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: saltBytes }
  return verify(hash, input, { key: key.key, ...padding }, signature)
}

/**
 * An ECDSA signature as DER, from the fixed-length `R‖S` of JWS; undefined unless 1 ≤ R, S < n (CVE-2022-21449).
 *
 * Node could take `R‖S` itself (`dsaEncoding: 'ieee-p1363'`), at nearly twice the cost of the whole verification on Node 24.
 */
function toDer(signature: Buffer, order: Buffer): Buffer | undefined {
  const length = order.length
  if (signature.length !== 2 * length) return undefined
  const r = signature.subarray(0, length)
  const s = signature.subarray(length)
  if (!isScalar(r, order) || !isScalar(s, order)) return undefined
  const rBytes = integerBytes(r)
  const sBytes = integerBytes(s)
  const content = 2 + rBytes + 2 + sBytes
  // Lengths from 128 on take a second byte (X.690 §8.1.3.5); only P-521 gets there.
  const headerBytes = content < 128 ? 2 : 3
  const der = Buffer.alloc(headerBytes + content)
  der[0] = 0x30
  if (headerBytes === 3) der[1] = 0x81
  der[headerBytes - 1] = content
  writeInteger(der, headerBytes, r, rBytes)
  writeInteger(der, headerBytes + 2 + rBytes, s, sBytes)
  return der
}

function isScalar(value: Buffer, order: Buffer): boolean {
  return value.compare(order) < 0 && firstNonZero(value) < value.length
}

/** Bytes of a positive DER INTEGER: without leading zeros, but with one where the top bit would read as a sign. */
function integerBytes(value: Buffer): number {
  const start = firstNonZero(value)
  return value.length - start + (value.readUInt8(start) >> 7)
}

function firstNonZero(value: Buffer): number {
  let start = 0
  while (value[start] === 0) start++
  return start
}

/** Writes tag, length and value; the buffer is zeroed, so a sign byte needs no writing. */
function writeInteger(der: Buffer, at: number, value: Buffer, size: number): void {
  der[at] = 0x02
  der[at + 1] = size
  value.copy(der, at + 2 + size - (value.length - firstNonZero(value)), firstNonZero(value))
}
