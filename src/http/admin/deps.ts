import type { Ledger } from '../../audit/ledger.ts'
import type { EntitlementLookup } from '../../entitlement/lookup.ts'
import type { Preview } from '../../exchange/preview.ts'
import type { ConsumerReport } from '../../keys/census.ts'
import type { RecordedKeys } from '../../keys/recorded.ts'
import type { RingKey } from '../../keys/ring.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { Log } from '../../observe/log.ts'
import type { Metrics } from '../../observe/metrics.ts'
import type { Upstreams } from '../../resilience/upstream.ts'
import type { Tenants } from '../../tenant/resolve.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import type { AdminTokenStore } from '../admin-tokens.ts'
import type { SocketBounds, TlsMaterial } from '../fastify-server.ts'
import type { ProbeDeps } from '../probes.ts'
import type { HealthParts } from './health.ts'

/** The key rings, as operators see and change them. */
export interface AdminKeys extends Omit<RecordedKeys, 'cutOffKilled'> {
  /** What each configured verifier has fetched. */
  consumers(tenant: Tenant, signal: AbortSignal): Promise<readonly ConsumerReport[]>
  /** Tells of a key in JWKS whether every configured verifier has fetched it; undefined where that says nothing. */
  seenByAll(tenant: Tenant, signal: AbortSignal): Promise<(key: RingKey) => boolean | undefined>
}

/** What the admin listener serves. */
export interface AdminDeps extends ProbeDeps {
  readonly tokens: Pick<AdminTokenStore, 'find'>
  readonly tenants: Tenants
  readonly keys: AdminKeys
  readonly preview: Preview
  readonly ledger: Pick<Ledger, 'find' | 'recent' | 'append'>
  readonly upstreams: Pick<Upstreams, 'list' | 'named'>
  readonly entitlements: Pick<EntitlementLookup, 'facts' | 'purge'>
  readonly health: HealthParts
  /** What `GET /admin/v1/status` answers besides the tenants: version, configuration hash, store, uptime. No secret. */
  readonly status: (signal: AbortSignal) => Promise<Readonly<Record<string, unknown>>>
  /** The effective configuration as JSON-serialisable data, secrets replaced. */
  readonly describeConfig: () => unknown
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Pick<Metrics, 'httpRequest' | 'text' | 'contentType'>
}

/** How the admin listener serves it. */
export interface AdminOptions {
  /** Of the product, for `/openapi.json`. */
  readonly version: string
  /** Probes are on this port too. */
  readonly probes: boolean
  readonly tls?: TlsMaterial | undefined
  /** Where they differ from the defaults of the listener. */
  readonly bounds?: Partial<SocketBounds>
}
