import { createHash, createPublicKey, type KeyObject } from 'node:crypto'

/**
 * The public members of each key type, in the order RFC 7638 §3.2 (RFC 8037 §2 for OKP) hashes them. Only what stands
 * here is ever copied, so a private member (`d`, `p`, `q`, `k` …) cannot get into JWKS or into the ring by any way.
 */
const PUBLIC_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}

/**
 * The public half of a JWK and nothing else: no `kid`, `use` or `alg` either (RFC 7517 §4).
 *
 * @throws {TypeError} when it is no EC, OKP or RSA key, or a member is missing.
 */
export function publicJwk(jwk: Readonly<Record<string, unknown>>): Record<string, string> {
  const members = typeof jwk['kty'] === 'string' ? PUBLIC_MEMBERS[jwk['kty']] : undefined
  if (!members) throw new TypeError('not a JWK of type EC, OKP or RSA')
  return Object.fromEntries(
    members.map((name) => {
      const value = jwk[name]
      if (typeof value !== 'string') throw new TypeError(`the JWK has no member ${name}`)
      return [name, value]
    }),
  )
}

/** The public JWK of a key, whichever half is given. */
export function exportPublicJwk(key: KeyObject): Record<string, string> {
  return publicJwk({ ...key.export({ format: 'jwk' }) })
}

/** The public key of a JWK, as `node:crypto` uses it. */
export function importPublicJwk(jwk: Readonly<Record<string, string>>): KeyObject {
  return createPublicKey({ key: publicJwk(jwk), format: 'jwk' })
}

/**
 * SHA-256 thumbprint of a JWK, base64url: our `kid`. Two keys never share it, and nobody has to think one up.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc7638.html#section-3 RFC 7638 §3}
 */
export function thumbprint(jwk: Readonly<Record<string, unknown>>): string {
  return createHash('sha256')
    .update(JSON.stringify(publicJwk(jwk)))
    .digest('base64url')
}
