import type { Admission } from '../admission/admit.ts'
import type { AuthenticateClient } from '../client/credentials.ts'
import type { Client } from '../client/options.ts'
import type { LookupEntitlements } from '../entitlement/lookup.ts'
import type { PolicyRules } from '../policy/rules.ts'
import type { SubjectVerifier } from '../subject/verify.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { Records } from './records.ts'
import type { Issuing, Validity } from './response.ts'

/** What the exchange is made of. */
export interface ExchangeDeps extends Validity {
  readonly authenticateClient: AuthenticateClient
  readonly admission: Admission
  readonly rules: (tenant: Tenant, client: Client) => PolicyRules
  readonly subjects: Pick<SubjectVerifier, 'subject' | 'actor'>
  readonly entitlements: LookupEntitlements
  readonly records: Records
  readonly issuing: Issuing
}
