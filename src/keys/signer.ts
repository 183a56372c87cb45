import type { SigningAlgorithm } from './options.ts'

/** A private key as a signer names it. */
export interface SignerKey {
  readonly tenant: string
  readonly kid: string
  readonly alg: SigningAlgorithm
}

/**
 * Computes JWS signatures with private keys it holds. Every adapter passes `test/contracts/signer.ts`.
 */
export interface Signer {
  /**
   * Signs `signingInput` (`header.payload`, ASCII) with the named key. ECDSA results are `R‖S` of fixed length (RFC 7518 §3.4).
   * A local signer answers at once, a remote one with a promise.
   * @throws {Refusal} `signer_unavailable` when the key cannot be used now.
   */
  sign(key: SignerKey, signingInput: string): Buffer | Promise<Buffer>
}
