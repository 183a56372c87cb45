import type { SigningAlgorithm } from './options.ts'

/** Where a key is in its life. A private half exists up to `active`. */
export type KeyState = 'staged' | 'published' | 'active' | 'verify-only' | 'retired' | 'compromised'

/** One key of a ring: its public half and its history. Times are milliseconds since the epoch. */
export interface RingKey {
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly state: KeyState
  /** Public JWK without `kid`, `use`, `alg` (RFC 7517 §4). */
  readonly publicJwk: Readonly<Record<string, string>>
  readonly createdAt: number
  readonly publishedAt?: number
  readonly activatedAt?: number
  /** When it stopped signing. */
  readonly verifyOnlyAt?: number
  readonly retiredAt?: number
  readonly reason: string
  readonly by: string
}

/** All keys of one tenant: an immutable value, replaced whole. */
export interface Ring {
  /** Grows by one with every change. */
  readonly version: number
  readonly keys: readonly RingKey[]
}
