import { hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Upstream, UpstreamOptions, Upstreams, Verdict } from '../resilience/upstream.ts'
import { KeySourceFault, placeOf, type RemoteKeySource } from './key-documents.ts'
import { createKeyFetch, type KeyFetch } from './key-fetch.ts'
import { type AdmittedKeys, admitKeys } from './key-gate.ts'
import { createKeySetReader, type KeyLog } from './key-read.ts'
import type { KeySnapshots } from './key-snapshots.ts'
import type { JsonDocuments, KeyHint, KeyOwner, PublicKeys, VerificationKey } from './keys.ts'
import type { AlgorithmName } from './options.ts'
import { allowsAlgorithm, isSameAlgorithm } from './signature.ts'

/** Bounds on the key cache. */
export interface PublicKeyOptions {
  /** Sources kept in memory, across all tenants; beyond that the one unused for longest is dropped. */
  readonly maxSources: number
  /** Deadline of one shared fetch, discovery and key set together, with all attempts. */
  readonly fetchTimeoutMilliseconds: number
}

/** What {@link createPublicKeys} needs. */
export interface PublicKeysDeps {
  readonly documents: JsonDocuments
  readonly clock: Clock
  /** Left out: a reading is one attempt under its deadline, without a breaker. */
  readonly upstreams?: Pick<Upstreams, 'for'>
  /** What an error of `documents` says about its host. Left out: that it failed, and not to try again at once. */
  readonly judge?: (error: unknown) => Verdict
  /** Last good sets on disk; left out: a restart with an IdP down does not know its keys. */
  readonly snapshots?: KeySnapshots | undefined
  readonly log?: KeyLog
}

export const PUBLIC_KEY_DEFAULTS: PublicKeyOptions = {
  maxSources: 4096,
  fetchTimeoutMilliseconds: 2000,
}

/** One reading at a time makes one call at a time; the second place is for one that a deadline has ended and that is not gone yet. */
const CONCURRENCY = 2

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
  // By owner, source and allow-list, since the list pins the algorithm of keys that name none.
  const fetched = new LRUCache<string, KeyFetch>({ max: options.maxSources })
  // Keys written in the configuration live as long as that configuration does.
  const inline = new WeakMap<object, Map<string, AdmittedKeys>>()

  function fetchOf(
    source: RemoteKeySource,
    algorithms: readonly AlgorithmName[],
    owner: KeyOwner | undefined,
  ): KeyFetch {
    const place = placeOf(source)
    const ours = owner === undefined ? '' : `${owner.kind} ${owner.tenant} ${owner.name}`
    const name = `${ours} ${place} ${algorithms.join()}`
    let known = fetched.get(name)
    if (known === undefined) {
      const { documents, clock, snapshots, log } = deps
      const upstream = upstreamOf(place, owner)
      const parts = { documents, clock, upstream, snapshots, log }
      const reader = createKeySetReader(parts, source, algorithms)
      known = createKeyFetch({ reader, clock, log, place })
      fetched.set(name, known)
    }
    return known
  }

  function upstreamOf(place: string, owner: KeyOwner | undefined): Pick<Upstream, 'call'> {
    const { upstreams, judge } = deps
    const totalMilliseconds = options.fetchTimeoutMilliseconds
    if (upstreams === undefined)
      return { call: (work) => withDeadline(totalMilliseconds, (signal) => work(signal, 1)) }
    const kind = owner?.kind === 'client' ? 'client-keys' : 'idp'
    // No address becomes a name: names are labels of metrics.
    const name = owner ? `${owner.tenant}/${owner.name}` : hash('sha256', place, 'hex').slice(0, 12)
    const upstream: UpstreamOptions = {
      name: `${kind} ${name}`,
      tenant: owner?.tenant,
      kind,
      totalMilliseconds,
      concurrency: CONCURRENCY,
      judge: (error) =>
        error instanceof KeySourceFault || judge === undefined
          ? { kind: 'failure', retryable: false, summary: summaryOf(error) }
          : judge(error),
    }
    return { call: (work) => upstreams.for(upstream).call(work) }
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
    async keyFor(source, algorithms, hint, signal, owner) {
      // The other spelling of an algorithm is looked for only where the plain one is not listed.
      if (!algorithms.includes(hint.alg) && !allowsAlgorithm(algorithms, hint.alg)) {
        throw new Refusal(
          'algorithm_not_allowed',
          'The token was signed by an algorithm that is not accepted from its issuer.',
        )
      }
      const { kid } = hint
      if (kid === undefined)
        throw new Refusal('invalid_signature', 'The token named no key: its header needs a kid.')
      const key =
        source.kind === 'inline'
          ? inlineKeys(source.jwks, algorithms).keys.find((one) => one.kid === kid)
          : await fetchOf(source, algorithms, owner).find(kid, signal)
      return fitting(key, hint)
    },

    async replacementFor(source, algorithms, refuted, signal, owner) {
      if (source.kind === 'inline' || refuted.kid === undefined) return undefined
      const other = await fetchOf(source, algorithms, owner).findOther(refuted.kid, refuted, signal)
      // A key that is tied to another algorithm says nothing about this token.
      return other && isSameAlgorithm(other.alg, refuted.alg) ? other : undefined
    },
  }
}

/** Our own messages name a rule; others may name an address. */
function summaryOf(error: unknown): string {
  return error instanceof KeySourceFault ? error.message : 'it could not be read'
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
