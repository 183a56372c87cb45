import { hash, timingSafeEqual } from 'node:crypto'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { Secret } from '../lib/secret.ts'
import type { TokenLimits } from '../subject/options.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { AuthenticateClient, PresentedCredentials } from './credentials.ts'
import { notAuthenticated } from './failure.ts'
import {
  type AssertionDeps,
  createAssertionCheck,
  type PresentedAssertion,
} from './methods/private-key-jwt.ts'
import { identifyPublicClient, type PresenterPeek } from './methods/public.ts'
import type { Client } from './options.ts'

/** What authenticating clients needs. */
export interface ClientAuthenticationDeps extends AssertionDeps, PresenterPeek {
  /** Told of each request whose client did not prove who it is. */
  readonly failed?: (tenant: Tenant, credentials: PresentedCredentials) => void
}

/** The one method a request uses, with what that method needs. */
type Attempt =
  | {
      readonly method: 'client_secret_basic' | 'client_secret_post'
      readonly id: string
      readonly secret: Secret
    }
  | ({ readonly method: 'private_key_jwt' } & PresentedAssertion)
  | { readonly method: 'public'; readonly clientId: string | undefined }

/** Authentication of clients, by whichever one method the request uses. */
export function createClientAuthentication(
  deps: ClientAuthenticationDeps,
  limits: () => Pick<TokenLimits, 'skewSeconds'>,
): AuthenticateClient {
  const checkAssertion = createAssertionCheck(deps, limits)
  return async (tenant, credentials, subjectToken, signal) => {
    const attempt = chooseMethod(credentials)
    try {
      if (attempt.method === 'private_key_jwt')
        return { ...(await checkAssertion(tenant, attempt, signal)), method: attempt.method }
      const client =
        attempt.method === 'public'
          ? identifyPublicClient(deps, tenant, attempt.clientId, subjectToken)
          : checkClientSecret(tenant.clients.get(attempt.id), attempt.secret)
      return { client, method: attempt.method, claims: [] }
    } catch (error) {
      if (isRefusal(error, 'client_auth_failed')) deps.failed?.(tenant, credentials)
      throw error
    }
  }
}

/**
 * Which method a request uses, decided by what it carries and never by what the client is registered for.
 *
 * Two at once are refused (RFC 6749 §2.3), even where both would succeed: a proxy in front may have checked the other one.
 * @throws {Refusal} `malformed_request`.
 */
function chooseMethod(credentials: PresentedCredentials): Attempt {
  const { basic, clientId, clientSecret, assertion, assertionType } = credentials
  const asserts = assertion !== undefined || assertionType !== undefined
  if ([basic !== undefined, clientSecret !== undefined, asserts].filter(Boolean).length > 1)
    throw malformed('More than one client authentication method was used. Use one.')

  if (basic) {
    if (clientId !== undefined && clientId !== basic.id)
      throw malformed('client_id was not the one in the Authorization header. Send one of them.')
    return { method: 'client_secret_basic', id: basic.id, secret: basic.secret }
  }
  if (clientSecret) {
    if (clientId === undefined)
      throw malformed('client_secret was sent without client_id. Send both.', 'client_id')
    return { method: 'client_secret_post', id: clientId, secret: clientSecret }
  }
  if (asserts) {
    if (assertion === undefined || assertionType === undefined)
      throw malformed('Only one of client_assertion and client_assertion_type was sent. Send both.')
    return { method: 'private_key_jwt', assertion, type: assertionType, clientId }
  }
  return { method: 'public', clientId }
}

/** Digests a client may have at once; an unknown client is compared with as many. */
const LIVE_SECRETS = 2
/** The digest of no text that anybody knows. */
const NO_DIGEST = Buffer.alloc(32)

/**
 * Checks a secret (RFC 6749 §2.3.1), whichever of the two ways it was sent.
 *
 * An unknown client, a disabled one, one of another method and a wrong secret cost the same hash and the same
 * comparisons, and all digests are compared even after a match: time tells neither which clients exist nor which secret fitted.
 * @param client as registered, or undefined when there is no such client
 * @throws {Refusal} `client_auth_failed`.
 */
function checkClientSecret(client: Client | undefined, presented: Secret): Client {
  const digest = hash('sha256', presented.reveal(), 'buffer')
  const live = client?.auth.method === 'client_secret' ? client.auth.sha256 : []
  let matches = 0
  for (let i = 0; i < Math.max(LIVE_SECRETS, live.length); i += 1) {
    if (timingSafeEqual(digest, live[i] ?? NO_DIGEST)) matches += 1
  }
  if (!client) throw notAuthenticated('a secret for an unknown client')
  if (client.disabled) throw notAuthenticated(`the client ${client.id} is disabled`)
  if (client.auth.method !== 'client_secret')
    throw notAuthenticated(`a secret for the client ${client.id}, which uses ${client.auth.method}`)
  if (matches === 0) throw notAuthenticated(`a wrong secret for the client ${client.id}`)
  return client
}

function malformed(message: string, param?: string): Refusal {
  return new Refusal('malformed_request', message, param === undefined ? {} : { param })
}
