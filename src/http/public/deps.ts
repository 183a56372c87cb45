import type { Door } from '../../admission/admit.ts'
import type { LoadGate } from '../../admission/load.ts'
import type { EntitlementLookup } from '../../entitlement/lookup.ts'
import type { Exchange } from '../../exchange/exchange.ts'
import type { Introspect } from '../../issued/introspect.ts'
import type { ServedJwks } from '../../keys/timetable.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { Refusal } from '../../lib/refusal.ts'
import type { Log } from '../../observe/log.ts'
import type { Metrics } from '../../observe/metrics.ts'
import type { Tenants } from '../../tenant/resolve.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import type { SocketBounds, TlsMaterial } from '../fastify-server.ts'
import type { MetadataOptions } from './metadata.ts'

/** What the public listener serves. */
export interface PublicDeps {
  readonly tenants: Tenants
  readonly exchange: Exchange
  readonly introspect: Introspect
  /** What a source's word of a change makes us forget. */
  readonly entitlements: Pick<EntitlementLookup, 'purge'>
  readonly clock: Clock
  /** Refuses before anything is verified what is known to be refused: a full limit, too many failures of an address. No I/O. @throws {Refusal} */
  readonly door: Door
  /** The refusal of a tenant, or of all, known to be over the limit; asked before a request is read. No I/O. */
  readonly full?: (tenant: Tenant) => Refusal | undefined
  /** Decides whether there is room for what can wait; left out: there always is. */
  readonly load?: LoadGate
  /** The JWK Set of the tenant, already rendered; asked at every request, so it answers from memory. */
  readonly jwks: (tenant: Tenant) => ServedJwks | Promise<ServedJwks>
  /** Told who fetched which key set; a name that the tenant does not know is ignored. No I/O. */
  readonly jwksFetched: (tenant: Tenant, consumer: string, set: ServedJwks) => void
  readonly random: Random
  readonly log: Log
  /** Only requests are counted here; outcomes of exchanges and introspections are counted where they are decided. */
  readonly metrics: Pick<Metrics, 'httpRequest'>
}

/** How the public listener serves it. */
export interface PublicOptions {
  /** Of the product, for `/openapi.json`. */
  readonly version: string
  readonly metadata: MetadataOptions
  readonly tls?: TlsMaterial | undefined
  /** Networks whose `X-Forwarded-Host` is believed. */
  readonly trustedProxies?: readonly string[]
  /** Left out: 5000. */
  readonly requestBudgetMilliseconds?: number
  /** Where they differ from the defaults of the listener. */
  readonly bounds?: Partial<SocketBounds>
}
