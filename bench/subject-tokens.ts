import {
  createPrivateKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import { derToJose } from './ecdsa.ts'

export const BENCH_ISSUER = 'https://idp.bench.example'
export const BENCH_AUDIENCE = 'rolemint'
export const BENCH_CLIENT = 'bench-web'
export const BENCH_TARGET = 'https://api.bench.example'
const KID = 'bench-idp-1'
const TOKEN_SECONDS = 3600

/** The key of an IdP that exists only as an inline JWKS. */
export interface IdpKey {
  readonly privateJwk: JsonWebKey
  /** As it goes into a JWKS. */
  readonly publicJwk: Readonly<Record<string, unknown>>
}

/** A fresh ES256 key for the bench's IdP. */
export function createIdpKey(): IdpKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return {
    privateJwk: privateKey.export({ format: 'jwk' }),
    publicJwk: { ...publicKey.export({ format: 'jwk' }), kid: KID, alg: 'ES256', use: 'sig' },
  }
}

/** The UPN of the bench's n-th user. */
export function upnOf(user: number): string {
  return `user${user}@bench.example`
}

/** Signs access tokens of the bench's users, no two of them alike. */
export function createMinter(
  privateJwk: JsonWebKey,
  now: () => number,
  audience: string | readonly string[] = BENCH_AUDIENCE,
): (user: number) => string {
  const key = createPrivateKey({ key: privateJwk, format: 'jwk' })
  const header = base64url({ alg: 'ES256', typ: 'at+jwt', kid: KID })
  return (user) => mint(key, header, user, audience, Math.floor(now() / 1000))
}

/** About 800 bytes, as an access token of a corporate IdP is. */
function mint(
  key: KeyObject,
  header: string,
  user: number,
  audience: string | readonly string[],
  now: number,
): string {
  const claims = {
    iss: BENCH_ISSUER,
    aud: audience,
    sub: `u-${user}`,
    upn: upnOf(user),
    email: upnOf(user),
    name: `Bench User ${user}`,
    preferred_username: upnOf(user),
    client_id: BENCH_CLIENT,
    azp: BENCH_CLIENT,
    scope: 'openid profile email',
    acr: 'urn:bench:loa:2',
    amr: ['pwd', 'otp'],
    sid: randomBytes(16).toString('hex'),
    auth_time: now - 60,
    iat: now,
    nbf: now,
    exp: now + TOKEN_SECONDS,
    jti: randomBytes(16).toString('base64url'),
  }
  const signingInput = `${header}.${base64url(claims)}`
  return `${signingInput}.${derToJose(sign('sha256', Buffer.from(signingInput), key))}`
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
