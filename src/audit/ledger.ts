import type { RefusalCode } from '../lib/refusal.ts'
import type { Evidence, TraceStep } from '../policy/decision.ts'

/** What an entry says happened. */
export type LedgerEvent = 'issued' | 'refused' | 'key' | 'admin'

/**
 * One fact worth proving later. Never holds a token, an assertion or a secret, whole or in part.
 */
export interface LedgerEntry {
  /** Unguessable id of the entry: the `jti` for an issued token, the decision id for a refusal. */
  readonly id: string
  readonly event: LedgerEvent
  readonly tenant: string
  /** Milliseconds since the epoch. */
  readonly at: number
  /** SHA-256 of the exact `header.payload` that is signed next; only with `issued`. */
  readonly digest?: Buffer
  /** Key that signs; only with `issued` and `key`. */
  readonly kid?: string
  readonly client?: string
  readonly sub?: string
  readonly upn?: string
  /** Last second in which the issued token is valid (NumericDate). */
  readonly exp?: number
  readonly code?: RefusalCode
  readonly traceId?: string
  /** Everything else an auditor asks for, as JSON-serialisable data. */
  readonly details: LedgerDetails
}

/** The part of an entry that is read, never searched by. */
export interface LedgerDetails {
  /** Payload of the issued token (claims, not the token). */
  readonly claims?: Readonly<Record<string, unknown>>
  /** What `decide` was given, so that the decision can be made again under another configuration. */
  readonly evidence?: Evidence
  readonly trace?: readonly TraceStep[]
  /** Key and admin events: who did what to which key, and why. */
  readonly action?: string
  readonly by?: string
  readonly reason?: string
}

/**
 * A fact that may become true once: an id is used (`once`), or a name belongs to somebody (`pin`).
 *
 * `once` conflicts with any earlier claim of the same key that has not expired. `pin` conflicts with an earlier claim
 * of the same key by another owner; the same owner may claim again.
 */
export type Claim =
  | {
      readonly kind: 'once'
      readonly scope: 'assertion' | 'subject'
      readonly tenant: string
      readonly key: string
      readonly expiresAt: number
    }
  | { readonly kind: 'pin'; readonly tenant: string; readonly key: string; readonly owner: string }

/** How an append ended: recorded, or not recorded because somebody else holds this claim. */
export type AppendResult =
  | { readonly recorded: true }
  | { readonly recorded: false; readonly conflict: Claim }

/** An entry as it is read back. */
export type StoredEntry = LedgerEntry & {
  /** Position in the store's own order; not yet the index of a tree. */
  readonly position: number
}

/**
 * The durable record of what was decided. Every adapter passes `test/contracts/ledger.ts`.
 *
 * Every call settles before `signal` fires or rejects. A rejection means "not known to be durable": the caller must not
 * sign. It may have been recorded all the same, which is harmless: a record without a token grants nothing.
 */
export interface Ledger {
  /**
   * Makes `entry` and its `claims` durable in one commit.
   *
   * Resolves `recorded: true` only when both survive a power cut. With a conflict the entry is not written; claims that
   * were free stay taken. Of concurrent callers with the same `once` key exactly one is recorded, across replicas.
   * Without an entry only the claims are made durable.
   * @throws {Error} when durability could not be established in time.
   */
  append(
    entry: LedgerEntry | undefined,
    claims: readonly Claim[],
    signal: AbortSignal,
  ): Promise<AppendResult>

  /** True when a token whose signing input has this SHA-256 was recorded for the tenant. A fresh record is visible at once. */
  holds(tenant: string, digest: Buffer, signal: AbortSignal): Promise<boolean>

  /** The entry with this id, or undefined. */
  find(tenant: string, id: string, signal: AbortSignal): Promise<StoredEntry | undefined>

  /** Entries of the tenant, newest first, at most `limit`, before `before` if given. */
  recent(
    tenant: string,
    limit: number,
    before: number | undefined,
    signal: AbortSignal,
  ): Promise<readonly StoredEntry[]>

  /** Forgets `once` claims that expired before `now` (milliseconds); returns how many. */
  expireClaims(now: number, signal: AbortSignal): Promise<number>
}
