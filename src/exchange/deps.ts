import type { AuthenticateClient } from '../client/credentials.ts'
import type { Client } from '../client/options.ts'
import type { Clock } from '../lib/clock.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import type { PolicyRules } from '../policy/rules.ts'
import type { PresentedToken, VerifiedActor, VerifiedSubject } from '../subject/verified.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { Records } from './records.ts'
import type { Issuing } from './response.ts'

/** Per-client limits; both throw `rate_limited`. */
export interface Admission {
  client(tenant: Tenant, clientId: string): void
  subject(tenant: Tenant, clientId: string, sub: string): void
}

/** Finds out whether presented tokens are genuine. */
export interface Subjects {
  subject(
    tenant: Tenant,
    client: Client,
    presented: PresentedToken,
    signal: AbortSignal,
  ): Promise<VerifiedSubject>
  actor(
    tenant: Tenant,
    client: Client,
    presented: PresentedToken,
    signal: AbortSignal,
  ): Promise<VerifiedActor>
}

/** Asks what a user may do; throws `entitlements_unavailable` rather than answer from a part. */
export type LookupEntitlements = (
  tenant: Tenant,
  user: { readonly idp: string; readonly user: string },
  signal: AbortSignal,
) => Promise<EntitlementEvidence>

/** What the exchange is made of. */
export interface ExchangeDeps {
  readonly authenticateClient: AuthenticateClient
  readonly admission: Admission
  readonly rules: (tenant: Tenant, client: Client) => PolicyRules
  readonly subjects: Subjects
  readonly entitlements: LookupEntitlements
  readonly records: Records
  readonly issuing: Issuing
  readonly clock: Clock
}
