import { createPublicKey, type KeyObject } from 'node:crypto'
import { isJsonObject } from '../lib/strict-json.ts'
import type { VerificationKey } from './keys.ts'
import { ALGORITHM_NAMES, type AlgorithmName } from './options.ts'
import { hasRocaFingerprint } from './roca.ts'
import { allowsAlgorithm, SIGNATURE_ALGORITHMS, type SignatureAlgorithm } from './signature.ts'

/** A key that was left out, and why; for the log. */
export interface KeyRejection {
  /** Position in the set. */
  readonly index: number
  readonly kid: string | undefined
  readonly reason: string
}

/** What is usable of a key set. */
export interface AdmittedKeys {
  readonly keys: readonly VerificationKey[]
  readonly rejections: readonly KeyRejection[]
}

type Jwk = Readonly<Record<string, unknown>>

const MAX_KEYS = 100
const RSA_BITS = { least: 2048, most: 8192 }
const LEAST_RSA_EXPONENT = 65_537n
/** Above this every verification gets slow (OpenSSL draws the same line for large moduli). */
const MOST_RSA_EXPONENT = 2n ** 64n

/** Members that only a private or symmetric key has (RFC 7518 §6.2.2, §6.3.2, §6.4.1; `priv`: ML-DSA). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'] as const

/** The members that are the public key (RFC 7518 §6.2.1, §6.3.1, RFC 8037 §2). */
const PUBLIC_MEMBERS = { RSA: ['n', 'e'], EC: ['x', 'y'], OKP: ['x'] } as const

/** Exact length of a coordinate in bytes (RFC 7518 §6.2.1.2, RFC 8037 §2). */
const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48, 'P-521': 66, Ed25519: 32 } as const

/** Points of Ed25519 with small order, y coordinate with the sign bit cleared: under such a key one signature fits many texts. */
const ED25519_SMALL_ORDER: ReadonlySet<string> = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

/**
 * Lets the sound public signature keys of a JWK Set through, each tied to exactly one algorithm (RFC 8725 §3.1): its own
 * `alg`, else one pinned by `algorithms`, in whose order the first that fits wins. The token has no say.
 *
 * A key of an unknown type is left out and the set survives (RFC 7517 §5).
 * @throws {Error} when it is no key set at all, or one of more than 100 keys.
 */
export function admitKeys(jwks: unknown, algorithms: readonly AlgorithmName[]): AdmittedKeys {
  if (!isJsonObject(jwks) || !Array.isArray(jwks['keys'])) throw new Error('not a JWK Set')
  const entries: readonly unknown[] = jwks['keys']
  if (entries.length > MAX_KEYS) throw new Error(`a JWK Set of more than ${MAX_KEYS} keys`)
  const kids = countKids(entries)
  const keys: VerificationKey[] = []
  const rejections: KeyRejection[] = []
  for (const [index, entry] of entries.entries()) {
    const kid = isJsonObject(entry) && typeof entry['kid'] === 'string' ? entry['kid'] : undefined
    const result = admitKey(entry, algorithms, kid !== undefined && (kids.get(kid) ?? 0) > 1)
    if (typeof result === 'string') rejections.push({ index, kid, reason: result })
    else keys.push(result)
  }
  return { keys, rejections }
}

function countKids(entries: readonly unknown[]): ReadonlyMap<string, number> {
  const kids = new Map<string, number>()
  for (const entry of entries) {
    if (!isJsonObject(entry) || typeof entry['kid'] !== 'string') continue
    kids.set(entry['kid'], (kids.get(entry['kid']) ?? 0) + 1)
  }
  return kids
}

/** The key, or the reason why not. */
function admitKey(
  entry: unknown,
  algorithms: readonly AlgorithmName[],
  kidIsShared: boolean,
): VerificationKey | string {
  if (!isJsonObject(entry)) return 'not a JSON object'
  const { kid } = entry
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) return 'kid is no text'
  if (kidIsShared) return 'kid is used by more than one key'
  if (PRIVATE_MEMBERS.some((member) => member in entry)) return 'has private or symmetric members'
  const purpose = purposeFault(entry)
  if (purpose !== undefined) return purpose
  const alg = pinAlgorithm(entry, algorithms)
  if (alg === undefined) return 'its kty, crv and alg fit no accepted algorithm'
  const key = importKey(entry, SIGNATURE_ALGORITHMS[alg])
  if (typeof key === 'string') return key
  return { kid, alg, key }
}

/** `use` and `key_ops`, where given, must allow verifying and must not contradict each other (RFC 7517 §4.2, §4.3). */
function purposeFault({ use, key_ops: operations }: Jwk): string | undefined {
  if (use !== undefined && use !== 'sig') return 'use is not sig'
  if (operations === undefined) return undefined
  if (!Array.isArray(operations) || !operations.includes('verify'))
    return 'key_ops does not hold verify'
  if (new Set(operations).size !== operations.length) return 'key_ops holds an operation twice'
  // A public key that also encrypts or wraps serves two purposes, against RFC 7517 §4.3.
  if (operations.some((operation) => operation !== 'verify' && operation !== 'sign'))
    return 'key_ops mixes signing with other purposes'
  return undefined
}

function pinAlgorithm(jwk: Jwk, algorithms: readonly AlgorithmName[]): AlgorithmName | undefined {
  const fits = (alg: AlgorithmName): boolean => {
    const { kty, crv } = SIGNATURE_ALGORITHMS[alg]
    return jwk['kty'] === kty && (crv === undefined || jwk['crv'] === crv)
  }
  const declared = jwk['alg']
  if (declared === undefined) return algorithms.find(fits)
  const known = ALGORITHM_NAMES.find((name) => name === declared)
  return known !== undefined && fits(known) && allowsAlgorithm(algorithms, known)
    ? known
    : undefined
}

/** The key itself, or the reason why not. */
function importKey(jwk: Jwk, { kty, crv }: SignatureAlgorithm): KeyObject | string {
  const length = crv === undefined ? undefined : COORDINATE_BYTES[crv]
  // Only the checked members go on to OpenSSL.
  const members: Record<string, string> = crv === undefined ? { kty } : { kty, crv }
  for (const name of PUBLIC_MEMBERS[kty]) {
    const value = jwk[name]
    const bytes = decode(value)
    if (typeof value !== 'string' || bytes === undefined)
      return `${name} is not canonical base64url`
    if (length !== undefined && bytes.length !== length) return `${name} has the wrong length`
    if (kty === 'OKP' && isSmallOrder(bytes)) return 'the point has small order'
    members[name] = value
  }
  let key: KeyObject
  try {
    key = createPublicKey({ key: members, format: 'jwk' })
  } catch {
    // OpenSSL refuses points that are not on the curve, and so do we by asking it.
    return kty === 'EC' ? 'the point is not on the curve' : 'not a valid public key'
  }
  return (kty === 'RSA' ? rsaFault(key, decode(jwk['n'])) : undefined) ?? key
}

function decode(value: unknown): Buffer | undefined {
  if (typeof value !== 'string' || value === '') return undefined
  const bytes = Buffer.from(value, 'base64url')
  return bytes.toString('base64url') === value ? bytes : undefined
}

function isSmallOrder(point: Buffer): boolean {
  const y = Buffer.from(point)
  y.writeUInt8(y.readUInt8(31) & 0x7f, 31)
  return ED25519_SMALL_ORDER.has(y.toString('hex'))
}

function rsaFault(key: KeyObject, modulus: Buffer | undefined): string | undefined {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < RSA_BITS.least) return `RSA key shorter than ${RSA_BITS.least} bits`
  if (modulusLength > RSA_BITS.most) return `RSA key longer than ${RSA_BITS.most} bits`
  if (publicExponent < LEAST_RSA_EXPONENT) return 'RSA exponent below 65537'
  if (publicExponent > MOST_RSA_EXPONENT) return 'RSA exponent too large'
  if (publicExponent % 2n === 0n) return 'RSA exponent is even'
  const n = BigInt(`0x${modulus?.toString('hex') ?? '0'}`)
  if (n % 2n === 0n) return 'RSA modulus is even'
  if (hasRocaFingerprint(n)) return 'RSA key made by a generator with the ROCA weakness'
  return undefined
}
