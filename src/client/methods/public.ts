import type { Secret } from '../../lib/secret.ts'
import type { Tenant } from '../../tenant/tenant.ts'
import { notAuthenticated } from '../failure.ts'
import type { Client } from '../options.ts'

/** What identifying a public client needs from the subject room. */
export interface PresenterPeek {
  /**
   * The presenter (`azp`, else `client_id`) that a token names, read without checking the token. Reads no further than
   * the size limit of tokens; undefined when it names none or is no token.
   */
  readonly peekPresenter: (token: Secret) => string | undefined
}

/**
 * Names a public client: the presenter of the subject token it brings (RFC 6749 §2.1; OIDC Core §2, `azp`).
 *
 * This proves nothing yet, as the token has not been verified. It decides only whose rules the request is held to; the
 * same token must then pass verification with this client as its presenter, or nothing is issued.
 * @throws {Refusal} `client_auth_failed`.
 */
export function identifyPublicClient(
  { peekPresenter }: PresenterPeek,
  tenant: Tenant,
  clientId: string | undefined,
  subjectToken: Secret | undefined,
): Client {
  if (!subjectToken) throw notAuthenticated('no credential and no subject token')

  const presenter = peekPresenter(subjectToken)
  if (presenter === undefined)
    throw notAuthenticated('no credential, and the subject token names no presenter')
  if (clientId !== undefined && clientId !== presenter)
    throw notAuthenticated('client_id is not the presenter of the subject token')
  const client = tenant.clients.get(presenter)
  if (!client) throw notAuthenticated('the presenter of the subject token is no client')
  if (client.disabled) throw notAuthenticated(`the client ${client.id} is disabled`)
  if (client.auth.method !== 'public')
    throw notAuthenticated(
      `no credential for the client ${client.id}, which uses ${client.auth.method}`,
    )
  return client
}
