import type { KeyObject } from 'node:crypto'
import { importPublicJwk } from './jwk.ts'
import { type RenderedJwks, renderJwks } from './jwks.ts'
import type { SigningAlgorithm } from './options.ts'
import { activeKey, algorithmsOf, type Ring } from './ring.ts'
import type { SignerKey } from './signer.ts'

/** A public key of ours, tied to exactly one algorithm (RFC 8725 §3.1). */
export interface VerificationKey {
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly key: KeyObject
}

/** A ring made ready for requests: everything they ask for is computed once for each version. */
export interface RingView {
  readonly ring: Ring
  readonly jwks: RenderedJwks
  readonly signing: ReadonlyMap<SigningAlgorithm, SignerKey>
  readonly verification: ReadonlyMap<string, VerificationKey>
}

/** Prepares a ring of `tenant`. */
export function viewRing(tenant: string, ring: Ring): RingView {
  const signing = new Map<SigningAlgorithm, SignerKey>()
  for (const alg of algorithmsOf(ring)) {
    const active = activeKey(ring, alg)
    if (active) signing.set(alg, { tenant, kid: active.kid, alg })
  }

  // A published key is in JWKS but has signed nothing: a token that carries its signature was made by somebody who holds
  // the private half and is not us. It is therefore no key to verify with.
  const verification = new Map<string, VerificationKey>()
  for (const { kid, alg, state, publicJwk } of ring.keys) {
    if (state !== 'active' && state !== 'verify-only') continue
    verification.set(kid, { kid, alg, key: importPublicJwk(publicJwk) })
  }
  return { ring, jwks: renderJwks(ring), signing, verification }
}
