import type { Generated } from 'kysely'
import type { LedgerEvent } from '../../audit/ledger.ts'
import type { CutoffKind } from '../../cutoff/store.ts'
import type { AdminRole } from '../../http/options.ts'
import type { RefusalCode } from '../../lib/refusal.ts'

/** Blobs come back as `Uint8Array` from node:sqlite and as `Buffer` from pg. */
type Blob = Uint8Array

/** One row per entry of the ledger; `details` is JSON text, so that both engines give back the same characters. */
export interface LedgerTable {
  readonly position: Generated<number>
  readonly tenant: string
  readonly id: string
  readonly event: LedgerEvent
  readonly at: number
  readonly digest: Blob | null
  readonly kid: string | null
  readonly client: string | null
  readonly sub: string | null
  readonly upn: string | null
  readonly exp: number | null
  readonly code: RefusalCode | null
  readonly trace_id: string | null
  readonly details: string
}

/** `kind` is `pin`, or the scope of a once-only claim; `owner` belongs to pins, `expires_at` to the others. */
export interface ClaimsTable {
  readonly kind: string
  readonly tenant: string
  readonly key: string
  readonly owner: string | null
  readonly expires_at: number | null
}

/** `document` is the ring as JSON text. */
export interface KeyRingsTable {
  readonly tenant: string
  readonly version: number
  readonly document: string
}

/** Private halves: `sealed` under a data key of their own, `wrapped_key` is that data key under the KEK. */
export interface PrivateKeysTable {
  readonly tenant: string
  readonly kid: string
  readonly sealed: Blob
  readonly wrapped_key: Blob
}

export interface AdminTokensTable {
  readonly hash: Blob
  readonly role: AdminRole
  readonly by: string
  readonly expires_at: number
}

/** Cut-off rules; `seq` has no gap. */
export interface CutoffsTable {
  readonly seq: number
  readonly tenant: string
  readonly kind: CutoffKind
  readonly id: string
  readonly not_before: number
  readonly reason: string
  readonly by: string
  readonly at: number
}

/** Numbers that only grow; taking one locks its row until the commit, so that numbers are seen in their order. */
export interface CountersTable {
  readonly name: string
  readonly value: number
}

export interface KeyUsageTable {
  readonly tenant: string
  readonly kid: string
  readonly signatures: number
  readonly last_signed_at: number
}

/** `kids` is a JSON list of texts. */
export interface ConsumersTable {
  readonly tenant: string
  readonly consumer: string
  readonly etag: string
  readonly kids: string
  readonly first_at: number
  readonly last_at: number
  readonly fetches: number
}

/** The tables of rolemint, the same on SQLite and on PostgreSQL. Times are milliseconds since the epoch. */
export interface Schema {
  ledger: LedgerTable
  claims: ClaimsTable
  key_rings: KeyRingsTable
  private_keys: PrivateKeysTable
  admin_tokens: AdminTokensTable
  cutoffs: CutoffsTable
  counters: CountersTable
  key_usage: KeyUsageTable
  consumers: ConsumersTable
}

/** The engines the schema is kept on. */
export type Engine = 'sqlite' | 'postgres'
