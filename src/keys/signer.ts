import type { KeyObject } from 'node:crypto'
import type { Secret } from '../lib/secret.ts'
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

/** A signer that is given its private keys and keeps them in the memory of this process. */
export interface LocalSigner extends Signer {
  /**
   * Takes the private half (PKCS#8 DER) and overwrites the buffer with zeros, also when it refuses it.
   * @throws {TypeError} when it is no private key fit for `key.alg`; the message says why and holds no key material.
   */
  load(key: SignerKey, pkcs8: Secret<Buffer>): void
  /** Forgets the key; signing with it is refused from now on. Nothing happens when it was never loaded. */
  unload(key: Pick<SignerKey, 'tenant' | 'kid'>): void
}

/** A signer whose private keys never leave it. Every adapter passes `test/contracts/remote-signer.ts`. */
export interface RemoteSigner extends Signer {
  /**
   * Makes a key that never leaves the signer.
   * @returns its public half, and the handle by which the signer finds it again.
   * @throws {DependencyUnavailable} when the signer gave no answer; a key may have been made all the same.
   */
  create(
    tenant: string,
    alg: SigningAlgorithm,
    signal: AbortSignal,
  ): Promise<{ readonly publicKey: KeyObject; readonly handle: string }>
  /** Whether the key behind `handle` is there and has this public half. @throws {DependencyUnavailable} */
  holds(handle: string, publicKey: KeyObject, signal: AbortSignal): Promise<boolean>
  /** Tells the signer which handle a kid has. No I/O. */
  bind(key: SignerKey, handle: string): void
  /** Forgets the handle of a kid; signing with it is refused from now on. No I/O. */
  unbind(key: Pick<SignerKey, 'tenant' | 'kid'>): void
  /** Deletes the key. Resolves also when it was gone. @throws {DependencyUnavailable} */
  destroy(handle: string, signal: AbortSignal): Promise<void>
  /** Resolves when the signer could sign now. Touches no key. @throws {DependencyUnavailable} */
  check(signal: AbortSignal): Promise<void>
}

/** A fresh key pair. The caller owns the buffer and overwrites it when the private half is in safe keeping. */
export interface KeyPair {
  readonly publicKey: KeyObject
  readonly pkcs8: Secret<Buffer>
}

/** Makes a key pair for this algorithm from the system's randomness; RSA keys have 3072 bits. */
export type GenerateKeyPair = (alg: SigningAlgorithm) => Promise<KeyPair>
