import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { createKeyFetch, type KeyFetch, type KeyFetchLog } from './key-fetch.ts'
import { type AdmittedKeys, admitKeys } from './key-gate.ts'
import type { JsonDocuments, KeyHint, PublicKeys, VerificationKey } from './keys.ts'
import type { AlgorithmName, KeySource } from './options.ts'
import { allowsAlgorithm, isSameAlgorithm } from './signature.ts'

/** Bounds on the key cache. */
export interface PublicKeyOptions {
  /** Sources kept in memory, across all tenants; beyond that the one unused for longest is dropped. */
  readonly maxSources: number
  /** Deadline of one shared fetch, discovery and key set together. */
  readonly fetchTimeoutMilliseconds: number
}

/** What {@link createPublicKeys} needs. */
export interface PublicKeysDeps {
  readonly documents: JsonDocuments
  readonly clock: Clock
  readonly log?: KeyFetchLog
}

export const PUBLIC_KEY_DEFAULTS: PublicKeyOptions = {
  maxSources: 1000,
  fetchTimeoutMilliseconds: 2000,
}

/**
 * Keys of issuers and clients, from where the configuration says and from nowhere a token says.
 *
 * A key is found by the token's `kid`, always: a token without one is refused even where the source has a single key, so that adding
 * a second key never changes what an old token means.
 */
export function createPublicKeys(
  deps: PublicKeysDeps,
  options: PublicKeyOptions = PUBLIC_KEY_DEFAULTS,
): PublicKeys {
  // By source and allow-list, since the list pins the algorithm of keys that name none. Public data: no tenant can learn from another.
  const fetched = new LRUCache<string, KeyFetch>({ max: options.maxSources })
  // Keys written in the configuration live as long as that configuration does.
  const inline = new WeakMap<object, Map<string, AdmittedKeys>>()

  function fetchOf(
    source: Exclude<KeySource, { kind: 'inline' }>,
    algorithms: readonly AlgorithmName[],
  ): KeyFetch {
    const place = source.kind === 'discovery' ? source.issuer : source.uri
    const name = `${source.kind} ${place} ${algorithms.join()}`
    let known = fetched.get(name)
    if (known === undefined) {
      known = createKeyFetch(deps, source, algorithms, options.fetchTimeoutMilliseconds)
      fetched.set(name, known)
    }
    return known
  }

  function inlineKeys(jwks: unknown, algorithms: readonly AlgorithmName[]): AdmittedKeys {
    if (typeof jwks !== 'object' || jwks === null) throw new TypeError('inline keys are no JWK Set')
    const byAlgorithms = inline.get(jwks) ?? new Map<string, AdmittedKeys>()
    inline.set(jwks, byAlgorithms)
    const name = algorithms.join()
    let keys = byAlgorithms.get(name)
    if (keys === undefined) {
      keys = admitKeys(jwks, algorithms)
      byAlgorithms.set(name, keys)
      if (keys.rejections.length > 0)
        deps.log?.warn({ rejections: keys.rejections }, 'configured keys were left out')
    }
    return keys
  }

  return {
    async keyFor(source, algorithms, hint, signal) {
      // The other spelling of an algorithm is looked for only where the plain one is not listed.
      if (!algorithms.includes(hint.alg) && !allowsAlgorithm(algorithms, hint.alg)) {
        throw new Refusal(
          'algorithm_not_allowed',
          'The token was signed by an algorithm that is not accepted from its issuer.',
        )
      }
      if (hint.kid === undefined)
        throw new Refusal('invalid_signature', 'The token named no key: its header needs a kid.')
      const key =
        source.kind === 'inline'
          ? keyNamed(inlineKeys(source.jwks, algorithms), hint.kid)
          : await fetchOf(source, algorithms).find((keys) => keyNamed(keys, hint.kid), signal)
      return fitting(key, hint)
    },
  }
}

function keyNamed(keys: AdmittedKeys, kid: string | undefined): VerificationKey | undefined {
  return keys.keys.find((key) => key.kid === kid)
}

function fitting(key: VerificationKey | undefined, hint: KeyHint): VerificationKey {
  if (key === undefined) {
    throw new Refusal(
      'invalid_signature',
      'The token named a key that its issuer does not publish for signatures.',
    )
  }
  // Each key has exactly one algorithm; a token that names another is refused before any cryptography (RFC 8725 §3.1).
  if (key.alg !== hint.alg && !isSameAlgorithm(key.alg, hint.alg))
    throw new Refusal(
      'algorithm_not_allowed',
      'The token named a key that is tied to another algorithm.',
    )
  return key
}
