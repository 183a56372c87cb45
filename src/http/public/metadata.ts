import { TOKEN_EXCHANGE_GRANT } from '../../exchange/request.ts'
import type { Tenant } from '../../tenant/tenant.ts'

/** What the documents say that is not the tenant's. */
export interface MetadataOptions {
  /** Algorithms that tokens may be signed with here: the usual one and those of single targets. */
  readonly signingAlgorithms: readonly string[]
  /** Algorithms of client assertions that are accepted. */
  readonly assertionAlgorithms: readonly string[]
}

/**
 * Authorization server metadata of a tenant: what is advertised works, and what does not work is not advertised.
 *
 * `response_types_supported` must be there and must not be empty; `none` is the registered name of having none.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8414.html#section-2 RFC 8414 §2}
 */
export function serverMetadata(
  tenant: Tenant,
  options: MetadataOptions,
): Readonly<Record<string, unknown>> {
  const { issuer } = tenant
  const proving = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
  const hasPublicClient = [...tenant.clients.values()].some(({ auth }) => auth.method === 'public')
  return {
    issuer,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    introspection_endpoint: `${issuer}/introspect`,
    grant_types_supported: [TOKEN_EXCHANGE_GRANT],
    response_types_supported: ['none'],
    token_endpoint_auth_methods_supported: hasPublicClient ? [...proving, 'none'] : proving,
    token_endpoint_auth_signing_alg_values_supported: options.assertionAlgorithms,
    introspection_endpoint_auth_methods_supported: proving,
    introspection_endpoint_auth_signing_alg_values_supported: options.assertionAlgorithms,
  }
}

/**
 * The same for verifiers that read nothing but OpenID discovery (Kubernetes, Envoy, Vault). Its three REQUIRED members
 * have no meaning without logins; the values are those that Kubernetes uses for its own issuer.
 *
 * @see {@link https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata OpenID Connect Discovery 1.0 §3}
 */
export function openidConfiguration(
  tenant: Tenant,
  options: MetadataOptions,
): Readonly<Record<string, unknown>> {
  return {
    ...serverMetadata(tenant, options),
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: options.signingAlgorithms,
  }
}
