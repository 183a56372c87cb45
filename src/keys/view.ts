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

/** The key that signs a token; the same object as long as the ring does not change. */
export interface SigningKey extends SignerKey {
  /** When this process stops signing with it by itself (milliseconds since the epoch). */
  readonly signUntil: number
  /** What was signed with it here and not yet reported. */
  readonly unreported: { signatures: number; lastAt: number }
}

/** A ring made ready for requests: everything they ask for is computed once for each version. */
export interface RingView {
  readonly ring: Ring
  readonly jwks: RenderedJwks
  readonly signing: ReadonlyMap<SigningAlgorithm, SigningKey>
  readonly verification: ReadonlyMap<string, VerificationKey>
}

/** Prepares a ring of `tenant`; what did not change since `before` stays the same object. */
export function viewRing(tenant: string, ring: Ring, before?: RingView): RingView {
  const signing = new Map<SigningAlgorithm, SigningKey>()
  for (const alg of algorithmsOf(ring)) {
    const active = activeKey(ring, alg)
    if (!active) continue
    const { kid, signUntil = 0 } = active
    const known = before?.signing.get(alg)
    const unreported = { signatures: 0, lastAt: 0 }
    // The same object while the key stays: the header of its tokens is kept by it, and so is its count.
    signing.set(alg, known?.kid === kid ? known : { tenant, kid, alg, signUntil, unreported })
  }

  // A published key is in JWKS but has signed nothing: a token that carries its signature was made by somebody who holds
  // the private half and is not us. It is therefore no key to verify with.
  const verification = new Map<string, VerificationKey>()
  for (const { kid, alg, state, publicJwk } of ring.keys) {
    if (state !== 'active' && state !== 'verify-only') continue
    const known = before?.verification.get(kid)
    verification.set(kid, known ?? { kid, alg, key: importPublicJwk(publicJwk) })
  }
  return { ring, jwks: renderJwks(ring), signing, verification }
}
