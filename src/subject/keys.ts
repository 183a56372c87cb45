import type { KeyObject } from 'node:crypto'
import type { AlgorithmName, KeySource } from './options.ts'

/** A public key that passed the key gate, tied to exactly one algorithm (RFC 8725 §3.1). */
export interface VerificationKey {
  readonly kid: string | undefined
  readonly alg: AlgorithmName
  readonly key: KeyObject
}

/** What a token's header says about its key. */
export interface KeyHint {
  readonly alg: AlgorithmName
  readonly kid: string | undefined
}

/** Finds the public keys of issuers and clients, only where the configuration says they are (RFC 8725 §3.8, §3.10). */
export interface PublicKeys {
  /**
   * The key of this source for this header.
   * @throws {Refusal} `invalid_signature` when the source, read after the token came, has no such key; `algorithm_not_allowed` when
   *   `hint.alg` is not in `algorithms`; `idp_keys_unavailable` when the source cannot be read and no usable copy has the key.
   */
  keyFor(
    source: KeySource,
    algorithms: readonly AlgorithmName[],
    hint: KeyHint,
    signal: AbortSignal,
  ): Promise<VerificationKey>
}

/**
 * Fetches JSON documents of IdPs and clients. Every adapter passes `test/contracts/json-documents.ts`.
 */
export interface JsonDocuments {
  /**
   * The parsed document at `url` and how long it may be reused. Follows no redirect, reads at most 512 KiB, gives up with `signal`.
   * @throws {Error} when there is no usable document; the message names the reason and holds no body text.
   */
  fetch(
    url: string,
    signal: AbortSignal,
  ): Promise<{ readonly document: unknown; readonly maxAgeSeconds: number | undefined }>
}
