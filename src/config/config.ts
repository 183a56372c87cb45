import type { RateLimits } from '../admission/options.ts'
import type { ListenOptions } from '../http/options.ts'
import type { KeyOptions } from '../keys/options.ts'
import type { TokenLimits } from '../subject/options.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { CacheOptions, StoreOptions } from './options.ts'

/** A configuration that was checked whole: syntax, meaning, secrets. */
export interface Config {
  /** `dev` allows plain http to loopback addresses and refuses to listen elsewhere. */
  readonly profile: 'production' | 'dev'
  readonly listen: ListenOptions
  readonly store: StoreOptions
  readonly cache: CacheOptions
  /** Private networks that may be called, as `address/prefix`. */
  readonly outboundAllow: readonly string[]
  /** Folder for the last good key sets of IdPs and clients; undefined means none. */
  readonly keySnapshots: string | undefined
  readonly keys: KeyOptions
  readonly tokenLimits: TokenLimits
  readonly rateLimits: RateLimits
  readonly tenants: ReadonlyMap<string, Tenant>
  /** SHA-256 of the effective configuration without secrets, hex; equal on replicas with equal configuration. */
  readonly hash: string
}
