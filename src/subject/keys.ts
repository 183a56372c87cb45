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

/** Whose keys they are, for operators: metrics and breakers go by these names, which come from the configuration. */
export interface KeyOwner {
  readonly kind: 'idp' | 'client'
  readonly tenant: string
  readonly name: string
}

/** Finds the public keys of issuers and clients, only where the configuration says they are (RFC 8725 §3.8, §3.10). */
export interface PublicKeys {
  /**
   * The key of this source for this header. Every owner has a copy of its own, so that nobody's forgeries delay another's keys.
   * @throws {Refusal} `invalid_signature` when the source, read a moment ago, has no such key; `algorithm_not_allowed` when
   *   `hint.alg` is not in `algorithms`; `idp_keys_unavailable` when the source cannot be read and no usable copy has the key; the
   *   reason of `signal` when that is a refusal and fires first.
   */
  keyFor(
    source: KeySource,
    algorithms: readonly AlgorithmName[],
    hint: KeyHint,
    signal: AbortSignal,
    owner?: KeyOwner,
  ): Promise<VerificationKey>
  /**
   * The key that this source has now in the place of `refuted`, under which the token's signature did not verify; undefined when there is
   * no other. An issuer may use a kid for a second key, and a copy has the first one until it is read anew. Asked for by wrong signatures
   * as readings for unknown kids are: the same one for all, and one in a while.
   * @throws {Refusal} the reason of `signal` when that is a refusal and fires first.
   */
  replacementFor(
    source: KeySource,
    algorithms: readonly AlgorithmName[],
    refuted: VerificationKey,
    signal: AbortSignal,
    owner?: KeyOwner,
  ): Promise<VerificationKey | undefined>
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
