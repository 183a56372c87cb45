import { createHash } from 'node:crypto'
import { publicJwk } from './jwk.ts'
import type { KeyState, Ring } from './ring.ts'

/** A JWK Set ready to be sent: nothing is computed for a request. */
export interface RenderedJwks {
  /** JSON, media type `application/jwk-set+json` (RFC 7517 §8.5.1). */
  readonly body: string
  /** Strong entity tag, quotes included (RFC 9110 §8.8.3). */
  readonly etag: string
  /** The key ids it names, for the census of verifiers. */
  readonly kids: readonly string[]
}

/** Which keys verifiers get, those that sign now first: some verifiers try keys in order. */
const SHOWN = ['active', 'published', 'verify-only'] as const satisfies readonly KeyState[]

/** The JWK Set of a ring: every key that signs, will sign, or signed a token that may still be valid. */
export function renderJwks(ring: Ring): RenderedJwks {
  const shown = SHOWN.flatMap((state) => ring.keys.filter((key) => key.state === state))
  const keys = shown.map((key) => ({
    kid: key.kid,
    use: 'sig',
    alg: key.alg,
    ...publicJwk(key.publicJwk),
  }))
  const body = JSON.stringify({ keys })
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
  return { body, etag, kids: keys.map(({ kid }) => kid) }
}
