import type { Client } from '../client/options.ts'
import { Refusal } from '../lib/refusal.ts'
import { wrongType } from './claims.ts'
import type { Claims } from './jws.ts'
import type { Idp } from './options.ts'

/**
 * Checks that this client may bring this token: that the token was issued to it, or to a presenter its IdP is configured with.
 *
 * Without this a client that receives other clients' tokens, as every resource server does, could exchange them as its own
 * (CVE-2026-56668).
 * @throws {Refusal} `wrong_presenter`, or `malformed_token` where `azp` or `client_id` is no text.
 */
export function checkPresenter(
  payload: Claims,
  audience: readonly string[],
  idp: Idp,
  client: Client,
): void {
  const azp = readParty(payload, 'azp')
  const clientId = readParty(payload, 'client_id')
  // A public client has proved nothing: being named by the token is all that makes it the one it says it is.
  if (client.auth.method === 'public' && (azp ?? clientId) !== client.id) throw wrongPresenter()
  if (idp.presenters === 'any') return
  const allowed = idp.presenters ?? [client.id]
  // Every name the token gives must be allowed: taking the better of two would let the other one through.
  const named = [azp, clientId].filter((party) => party !== undefined)
  if (
    named.length === 0
      ? audience.some((value) => allowed.includes(value))
      : named.every((party) => allowed.includes(party))
  )
    return
  throw wrongPresenter()
}

/** Whom the token was issued to, as far as it says: `azp` (OpenID Connect Core §2), else `client_id` (RFC 9068 §2.2). */
export function readPresenter(payload: Claims): string | undefined {
  return readParty(payload, 'azp') ?? readParty(payload, 'client_id')
}

function readParty(payload: Claims, name: 'azp' | 'client_id'): string | undefined {
  const value = payload[name]
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value === '') throw wrongType(name, 'a text')
  return value
}

/** The refusal for a token that was issued to somebody else. */
export function wrongPresenter(): Refusal {
  return new Refusal(
    'wrong_presenter',
    'The token was issued to another client. Bring one that was issued to you, or have your client allowed as its presenter.',
  )
}
