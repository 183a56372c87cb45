import type { AdminRole } from './options.ts'

/** A break-glass token as it is stored: its hash, never itself. */
export interface AdminTokenRecord {
  /** SHA-256 of the token. */
  readonly hash: Buffer
  readonly role: AdminRole
  readonly by: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Remembers break-glass tokens. Every adapter passes `test/contracts/admin-token-store.ts`. */
export interface AdminTokenStore {
  /** Durable on resolve. */
  add(record: AdminTokenRecord, signal: AbortSignal): Promise<void>
  /** The record with this hash, expired or not; undefined when there is none. A record added by another process is found. */
  find(hash: Buffer, signal: AbortSignal): Promise<AdminTokenRecord | undefined>
  /** Forgets records that expired before `now` (milliseconds). */
  expire(now: number, signal: AbortSignal): Promise<void>
}
