import {
  constants,
  generateKeyPairSync,
  hash,
  type JsonWebKey,
  type KeyObject,
  sign,
} from 'node:crypto'
import type { AlgorithmName } from '../../src/subject/options.ts'

/** A key pair of a test issuer. */
export interface TestKey {
  readonly kid: string
  readonly alg: AlgorithmName
  readonly privateKey: KeyObject
  /** With `kid`, `alg` and `use`, as an issuer publishes it. */
  readonly publicJwk: JsonWebKey & { readonly kid: string }
}

/** What a minted token is made of; everything can be wrong on purpose. */
export interface Minted {
  readonly key: TestKey
  /** Added to `alg` and `kid`; an undefined member is left out. */
  readonly header?: Readonly<Record<string, unknown>>
  readonly payload?: Readonly<Record<string, unknown>>
  /** Replaces the whole header or payload, byte for byte. */
  readonly rawHeader?: string | Buffer
  readonly rawPayload?: string | Buffer
  /** Signs as this algorithm, whatever the header says. */
  readonly signAs?: AlgorithmName
  readonly saltLength?: number
}

/** Makes a key pair. RSA takes a tenth of a second: ask once and pass it on. */
export function newTestKey(
  alg: AlgorithmName = 'ES256',
  kid = `${alg}-1`,
  modulusLength = 2048,
): TestKey {
  const { privateKey, publicKey } = generate(alg, modulusLength)
  return {
    kid,
    alg,
    privateKey,
    publicJwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' },
  }
}

const CURVES: Partial<Record<AlgorithmName, string>> = {
  ES256: 'P-256',
  ES384: 'P-384',
  ES512: 'P-521',
}

function generate(alg: AlgorithmName, modulusLength: number) {
  const namedCurve = CURVES[alg]
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve })
  if (alg === 'EdDSA' || alg === 'Ed25519') return generateKeyPairSync('ed25519')
  return generateKeyPairSync('rsa', { modulusLength })
}

/** The public halves as a JWK Set. */
export function jwksOf(...keys: readonly TestKey[]): { keys: JsonWebKey[] } {
  return { keys: keys.map((key) => key.publicJwk) }
}

/** A signed compact JWS. */
export function mint(minted: Minted): string {
  const { key, header = {}, payload = {} } = minted
  const headerText = minted.rawHeader ?? JSON.stringify({ alg: key.alg, kid: key.kid, ...header })
  const input = `${base64url(headerText)}.${base64url(minted.rawPayload ?? JSON.stringify(payload))}`
  const alg = minted.signAs ?? key.alg
  return `${input}.${signInput(alg, key.privateKey, input, minted.saltLength).toString('base64url')}`
}

/** Base64url of a text or of bytes. */
export function base64url(value: string | Buffer): string {
  return Buffer.from(value).toString('base64url')
}

/** The JWS signature over `input`, computed apart from the code under test. */
export function signInput(
  alg: AlgorithmName,
  key: KeyObject,
  input: string,
  saltLength?: number,
): Buffer {
  const bytes = Buffer.from(input)
  if (alg === 'EdDSA' || alg === 'Ed25519') return sign(null, bytes, key)
  const digest = `sha${alg.slice(2)}`
  if (alg.startsWith('ES')) return sign(digest, bytes, { key, dsaEncoding: 'ieee-p1363' })
  if (alg.startsWith('RS')) return sign(digest, bytes, key)
  return sign(digest, bytes, {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: saltLength ?? constants.RSA_PSS_SALTLEN_DIGEST,
  })
}

/** The other valid signature of an ES256 token: (r, n - s). */
export function otherEs256Signature(token: string): string {
  const end = token.lastIndexOf('.')
  const signature = Buffer.from(token.slice(end + 1), 'base64url')
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const s = order - BigInt(`0x${signature.subarray(32).toString('hex')}`)
  const flipped = Buffer.from(s.toString(16).padStart(64, '0'), 'hex')
  return `${token.slice(0, end)}.${Buffer.concat([signature.subarray(0, 32), flipped]).toString('base64url')}`
}

/** SHA-256 of the signing input, as the ledger keeps it. */
export function digestOf(token: string): Buffer {
  return hash('sha256', token.slice(0, token.lastIndexOf('.')), 'buffer')
}
