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
   */
  put(tenant: string, kid: string, pkcs8: Secret<Buffer>, signal: AbortSignal): Promise<void>
  /**
   * The PKCS#8 DER of a key, or undefined when it was never kept or was destroyed. Rejects when it is there but cannot be opened.
   * Every call gives a buffer of its own, which the caller overwrites with zeros.
   */
  get(tenant: string, kid: string, signal: AbortSignal): Promise<Secret<Buffer> | undefined>
  /** Makes the key unrecoverable from this store. Resolves also when it was already gone. */
  destroy(tenant: string, kid: string, signal: AbortSignal): Promise<void>
}
