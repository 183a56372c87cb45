import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import {
  byIssuer,
  refusalOf,
  type Trusted,
  type Verifier,
  type VerifierOptions,
} from './verifier.ts'

/**
 * jose with a remote key set. Its cooldown keeps the default of 30 s, longer than any `max-age` here: so an unknown kid in a key set
 * that is still fresh is refused, without another fetch that would hide a key published too late.
 */
export function createJoseVerifier(
  trusted: readonly Trusted[],
  { maxAgeSeconds, leewaySeconds }: VerifierOptions,
): Verifier {
  let fetches = 0
  const verifierOf = byIssuer(trusted, ({ issuer, jwksUri, audience }) => {
    const keys = createRemoteJWKSet(new URL(jwksUri), {
      cacheMaxAge: maxAgeSeconds * 1000,
      [customFetch]: (url, init) => {
        fetches += 1
        return fetch(url, init)
      },
    })
    const claims = { issuer, audience, typ: 'at+jwt', clockTolerance: leewaySeconds }
    return (token: string) => jwtVerify(token, keys, { ...claims, algorithms: ['ES256'] })
  })
  return {
    kind: 'jose',
    verify: (issuer, token) => refusalOf(() => verifierOf(issuer)(token)),
    fetches: () => fetches,
    close: () => Promise.resolve(),
  }
}
