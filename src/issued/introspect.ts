import type { Ledger } from '../audit/ledger.ts'
import type { AuthenticateClient, PresentedCredentials } from '../client/credentials.ts'
import { notAuthenticated } from '../client/failure.ts'
import type { Client } from '../client/options.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { Secret } from '../lib/secret.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Tenant } from '../tenant/tenant.ts'

/** What introspection answers: `{ active: false }` and not a word more, or the members of RFC 7662 §2.2 with our claims. */
export type Introspection = Readonly<Record<string, unknown>> & { readonly active: boolean }

/**
 * Tells a resource server whether a token is good now.
 *
 * @throws {Refusal} `client_auth_failed`, `grant_not_allowed`; `ledger_unavailable` rather than an answer that might be wrong.
 */
export type Introspect = (
  tenant: Tenant,
  credentials: PresentedCredentials,
  token: Secret,
  signal: AbortSignal,
) => Promise<Introspection>

/** Checks a token of ours as far as it can be checked without asking who wants to know. */
export type VerifyIssued = (
  tenant: Tenant,
  token: Secret,
  signal: AbortSignal,
) => Promise<Readonly<Record<string, unknown>>>

/** What introspection is made of. */
export interface IntrospectDeps {
  readonly authenticateClient: AuthenticateClient
  /** Signature, times, type, issuer, and that the ledger holds its digest. */
  readonly verifyIssued: VerifyIssued
  readonly ledger: Ledger
  readonly metrics: Metrics
}

const INACTIVE: Introspection = { active: false }

/** Reasons why the answer cannot be known now; everything else about a token makes it inactive. */
const UNKNOWN = new Set(['ledger_unavailable', 'signer_unavailable', 'overloaded', 'internal'])

/** Introspects tokens that the tenant issued (RFC 7662). */
export function createIntrospect(deps: IntrospectDeps): Introspect {
  return async (tenant, credentials, token, signal) => {
    const { client, claims } = await deps.authenticateClient(tenant, credentials, undefined, signal)
    await spend(deps.ledger, claims, signal)
    if (!client.grants.has('introspect') && !client.grants.has('introspect-any')) {
      throw new Refusal('grant_not_allowed', 'The client may not introspect tokens.')
    }
    const answer = await active(deps, tenant, client, token, signal)
    deps.metrics.introspection(tenant.name, answer.active)
    return answer
  }
}

async function spend(
  ledger: Ledger,
  claims: Parameters<Ledger['append']>[1],
  signal: AbortSignal,
): Promise<void> {
  if (claims.length === 0) return
  const result = await ledger.append(undefined, claims, signal).catch((cause: unknown) => {
    throw new Refusal('ledger_unavailable', 'The assertion could not be recorded; retry later.', {
      cause,
      retryAfterSeconds: 2,
    })
  })
  if (!result.recorded) throw notAuthenticated('assertion replayed')
}

async function active(
  deps: IntrospectDeps,
  tenant: Tenant,
  client: Client,
  token: Secret,
  signal: AbortSignal,
): Promise<Introspection> {
  let claims: Readonly<Record<string, unknown>>
  try {
    claims = await deps.verifyIssued(tenant, token, signal)
  } catch (error) {
    if (isRefusal(error) && !UNKNOWN.has(error.code)) return INACTIVE
    throw error
  }
  // RFC 7662 §4: a caller that the token is not meant for learns nothing of it, not even that it is good.
  if (!mayKnow(client, claims['aud'])) return INACTIVE
  return {
    active: true,
    // Claims of our own making, verified: none of them is called `active` (policy/claims.ts names them all).
    ...claims,
    token_type: 'Bearer',
    ...(typeof claims['upn'] === 'string' ? { username: claims['upn'] } : {}),
  }
}

function mayKnow(client: Client, aud: unknown): boolean {
  if (client.grants.has('introspect-any')) return true
  const audiences = Array.isArray(aud) ? aud : [aud]
  return client.resourceFor.some((resource) => audiences.includes(resource))
}
