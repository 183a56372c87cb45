import type { RateLimits } from '../admission/options.ts'
import type { Client } from '../client/options.ts'
import type { Source } from '../entitlement/options.ts'
import type { GrantRules } from '../policy/options.ts'
import type { Idp } from '../subject/options.ts'
import type { ConsumerOptions } from './options.ts'

/** One isolated customer of this deployment: an issuer of ours with its own IdPs, sources, clients, rules and keys. */
export interface Tenant {
  readonly name: string
  /** Our `iss`, byte for byte as configured; no trailing slash. */
  readonly issuer: string
  readonly idps: ReadonlyMap<string, Idp>
  readonly sources: readonly Source[]
  readonly clients: ReadonlyMap<string, Client>
  readonly rules: GrantRules
  readonly corsOrigins: readonly string[]
  /** Everybody's rate limits, with those of this tenant in their place. */
  readonly limits: RateLimits
  /** Verifiers that name themselves when they fetch our JWK Set (`?consumer=`), by name. */
  readonly consumers: ReadonlyMap<string, ConsumerOptions>
  /** Where a setting of this tenant was written, e.g. `at('clients.orders-web.roles')` gives `tenants/acme.yaml:38`. */
  at(path: string): string
}
