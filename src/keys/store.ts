import type { Secret } from '../lib/secret.ts'
import type { Ring } from './ring.ts'

/**
 * Holds the key ring of each tenant: one versioned document, changed by compare-and-set only.
 * Every adapter passes `test/contracts/ring-store.ts`. Every call settles before `signal` fires or rejects.
 */
export interface RingStore {
  /** The ring of the tenant, or undefined when none was ever written. Never older than an earlier answer of this store to the same process. */
  load(tenant: string, signal: AbortSignal): Promise<Ring | undefined>
  /**
   * Replaces the ring if its stored version is still `expectedVersion` (0: none stored); of concurrent callers exactly one gets `true`.
   * Durable on resolve. `next.version` must be `expectedVersion + 1`.
   */
  compareAndSet(
    tenant: string,
    expectedVersion: number,
    next: Ring,
    signal: AbortSignal,
  ): Promise<boolean>
}

/**
 * Holds the private halves, one per kid. Every adapter passes `test/contracts/private-key-store.ts`.
 */
export interface PrivateKeyStore {
  /**
   * Keeps the PKCS#8 DER of a key. Durable on resolve. A kid is never overwritten: a second `put` of it rejects.
   * The buffer stays the caller's, who overwrites it with zeros afterwards: an adapter keeps a copy, never the buffer.
   * @throws {DependencyUnavailable} when the store gave no answer; the key may have been kept all the same.
   */
  put(tenant: string, kid: string, pkcs8: Secret<Buffer>, signal: AbortSignal): Promise<void>
  /**
   * The PKCS#8 DER of a key, or undefined when it was never kept or was destroyed. Rejects when it is there but cannot be opened.
   * Every call gives a buffer of its own, which the caller overwrites with zeros.
   * @throws {DependencyUnavailable} when the store gave no answer.
   */
  get(tenant: string, kid: string, signal: AbortSignal): Promise<Secret<Buffer> | undefined>
  /**
   * Makes the key unrecoverable from this store. Resolves also when it was already gone.
   * @throws {DependencyUnavailable} when the store gave no answer.
   */
  destroy(tenant: string, kid: string, signal: AbortSignal): Promise<void>
  /**
   * Resolves when keys could be read and written now; it touches none. Operators are alarmed when it rejects.
   * @throws {DependencyUnavailable} when the store gave no answer.
   */
  check(signal: AbortSignal): Promise<void>
}

/** What the signatures of one key amount to. Times are milliseconds since the epoch. */
export interface KeyUsage {
  readonly kid: string
  /** Tokens signed, as far as replicas have reported it; the ledger has the exact number. */
  readonly signatures: number
  /** To the minute. */
  readonly lastSignedAt: number
}

/**
 * Holds how often each key signed. Replicas report what they added; nothing depends on it but what operators see.
 * Every adapter passes `test/contracts/usage-store.ts`.
 */
export interface UsageStore {
  /** Adds `signatures` to what is kept and moves `lastSignedAt` forward, never back. Durable on resolve. */
  add(tenant: string, usage: KeyUsage, signal: AbortSignal): Promise<void>
  /** What is known of the tenant's keys; a key that never signed is left out. */
  list(tenant: string, signal: AbortSignal): Promise<readonly KeyUsage[]>
}

/** One verifier and one version of the key set that it fetched. Times are milliseconds since the epoch. */
export interface ConsumerFetch {
  /** A name that the tenant's configuration knows. */
  readonly consumer: string
  /** The key ids of the set that was sent. */
  readonly kids: readonly string[]
  /** Entity tag of the set. */
  readonly etag: string
  readonly firstAt: number
  readonly lastAt: number
  /** How often this set was fetched, 304 answers included. */
  readonly fetches: number
}

/**
 * Holds who fetched which key set: evidence for operators, never a proof.
 * Every adapter passes `test/contracts/consumer-store.ts`.
 */
export interface ConsumerStore {
  /** Adds to what is kept of the same consumer and key set. Keeps the newest 20 key sets of a consumer. Durable on resolve. */
  add(tenant: string, fetched: ConsumerFetch, signal: AbortSignal): Promise<void>
  /** All that is kept, the latest fetch first. */
  list(tenant: string, signal: AbortSignal): Promise<readonly ConsumerFetch[]>
}
