import type { Claim } from '../audit/ledger.ts'
import type { Secret } from '../lib/secret.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { Client } from './options.ts'

/** What a request carries to say who asks, exactly as it came; which method that is, `authenticateClient` decides. */
export interface PresentedCredentials {
  /** From `Authorization: Basic`, already form-urldecoded (RFC 6749 §2.3.1). */
  readonly basic?: { readonly id: string; readonly secret: Secret }
  /** `client_id` parameter. */
  readonly clientId?: string
  /** `client_secret` parameter. */
  readonly clientSecret?: Secret
  /** `client_assertion` parameter (RFC 7521 §4.2). */
  readonly assertion?: Secret
  /** `client_assertion_type` parameter. */
  readonly assertionType?: string
  /** Network address that the request came from, as far as it can be believed; absent when that is not known. */
  readonly from?: string
}

/** A client that proved who it is. */
export interface AuthenticatedClient {
  readonly client: Client
  readonly method: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt' | 'public'
  /** The assertion's `jti`, to be made durable before anything is answered. */
  readonly claims: readonly Claim[]
}

/**
 * Finds out who asks.
 *
 * @throws {Refusal} `client_auth_failed`, always the same sentence whatever was wrong; `malformed_request` when more than one method is used
 *   (RFC 6749 §2.3); `idp_keys_unavailable` never: a client whose keys cannot be fetched is `client_auth_failed` with the cause in the log.
 */
export type AuthenticateClient = (
  tenant: Tenant,
  credentials: PresentedCredentials,
  /** The subject token of the request, which names a public client by its `azp`; undefined where there is none. */
  subjectToken: Secret | undefined,
  signal: AbortSignal,
) => Promise<AuthenticatedClient>
