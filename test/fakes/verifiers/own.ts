import { createHttpJsonDocuments } from '../../../src/adapters/http/json-documents.ts'
import { parseCompactJws } from '../../../src/subject/jws.ts'
import { createPublicKeys } from '../../../src/subject/public-keys.ts'
import { verifySignature } from '../../../src/subject/signature.ts'
import {
  byIssuer,
  refusalOf,
  type Trusted,
  type Verifier,
  type VerifierOptions,
} from './verifier.ts'

/** Our own key cache keeps a set for no less than this, however small its `max-age` is. */
const LEAST_LIFE_SECONDS = 60
const ALGORITHMS = ['ES256'] as const
const DEADLINE_MILLISECONDS = 20_000

/**
 * What rolemint itself does with the tokens of an issuer, as another rolemint or the verifier library would. Its key cache is given a
 * clock that runs faster: its least life, its wait after an unknown kid and `max-age` then have the proportions they have in use.
 */
export function createOwnVerifier(
  trusted: readonly Trusted[],
  { maxAgeSeconds, leewaySeconds }: VerifierOptions,
): Verifier {
  let fetches = 0
  const documents = createHttpJsonDocuments({ allowHttp: true })
  const rate = LEAST_LIFE_SECONDS / maxAgeSeconds
  const publicKeys = createPublicKeys({
    clock: { now: () => Date.now() * rate },
    documents: {
      fetch(url, signal) {
        fetches += 1
        return documents.fetch(url, signal)
      },
    },
  })

  async function verify({ issuer, jwksUri, audience }: Trusted, token: string): Promise<void> {
    const { payload, signingInput, signature, ...hint } = parseCompactJws(token, {
      tokenBytes: 16 * 1024,
    })
    const source = { kind: 'jwksUri', uri: jwksUri } as const
    const signal = AbortSignal.timeout(DEADLINE_MILLISECONDS)
    const key = await publicKeys.keyFor(source, ALGORITHMS, hint, signal)
    if (!verifySignature(key, signingInput, signature)) throw new Error('the signature is wrong')
    if (hint.typ !== 'at+jwt') throw new Error('it is no access token')
    if (payload['iss'] !== issuer) throw new Error('it is of another issuer')
    if (payload['aud'] !== audience) throw new Error('it is for another audience')
    const { exp } = payload
    const now = Date.now() / 1000
    if (typeof exp !== 'number' || exp + leewaySeconds <= now) throw new Error('it has expired')
  }

  const trustedOf = byIssuer(trusted, (one) => one)
  return {
    kind: 'rolemint',
    verify: (issuer, token) => refusalOf(() => verify(trustedOf(issuer), token)),
    fetches: () => fetches,
    close: () => documents.close(),
  }
}
