import jsonwebtoken from 'jsonwebtoken'
import jwksRsa from 'jwks-rsa'
import {
  byIssuer,
  refusalOf,
  type Trusted,
  type Verifier,
  type VerifierOptions,
} from './verifier.ts'

/**
 * jsonwebtoken with jwks-rsa, the usual pair in Express. It keeps single keys, not the set: a kid that it does not know is always
 * fetched, and one that it knows is believed for max-age from its own fetch on.
 */
export function createJsonwebtokenVerifier(
  trusted: readonly Trusted[],
  { maxAgeSeconds, leewaySeconds }: VerifierOptions,
): Verifier {
  let fetches = 0
  const verifierOf = byIssuer(trusted, ({ issuer, jwksUri, audience }) => {
    const client = jwksRsa({
      jwksUri,
      cache: true,
      cacheMaxAge: maxAgeSeconds * 1000,
      rateLimit: false,
    })
    const getKeys = client.getKeys.bind(client)
    client.getKeys = () => {
      fetches += 1
      return getKeys()
    }
    const rules = { issuer, audience, clockTolerance: leewaySeconds }
    return (token: string) =>
      new Promise<void>((resolve, reject) => {
        jsonwebtoken.verify(
          token,
          ({ kid }, done) => {
            client.getSigningKey(kid, (error, key) => done(error, key?.getPublicKey()))
          },
          { ...rules, algorithms: ['ES256'] },
          (error) => (error ? reject(error) : resolve()),
        )
      })
  })
  return {
    kind: 'jsonwebtoken + jwks-rsa',
    verify: (issuer, token) => refusalOf(() => verifierOf(issuer)(token)),
    fetches: () => fetches,
    close: () => Promise.resolve(),
  }
}
