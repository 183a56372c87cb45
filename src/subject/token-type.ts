import { Refusal } from '../lib/refusal.ts'
import { type Claims, foldMediaType } from './jws.ts'
import type { DeclaredTokenType } from './verified.ts'

/** Claims that OpenID Connect puts into ID tokens and nowhere else (Core §2, §3.3.2.11; FAPI `s_hash`). */
const ID_TOKEN_CLAIMS = ['nonce', 'at_hash', 'c_hash', 's_hash'] as const

/** What Keycloak says a token is, in a claim named `typ`, for the kinds that are no identity at all. */
const KEYCLOAK_NEVER: ReadonlySet<unknown> = new Set(['Refresh', 'Offline', 'Logout'])

/**
 * Checks that a token is of a kind that can be a subject or actor token, and of the kind its caller declared (RFC 8725 §3.11 and §3.12,
 * RFC 8693 §3).
 *
 * The list is of what is allowed: logout tokens, security events, DPoP proofs, client assertions, introspection answers, status lists
 * and transaction tokens carry a `typ` of their own and are refused by not being on it (GHSA-7fpj-9hr8-28vh).
 * @throws {Refusal} `wrong_type`
 */
export function checkTokenType(
  typ: string | undefined,
  payload: Claims,
  declared: DeclaredTokenType,
): void {
  const folded = typ === undefined ? 'jwt' : foldMediaType(typ)
  if (folded !== 'jwt' && folded !== 'at+jwt') throw neverExchanged()
  // Older issuers send logout tokens and security events without a typ; both have `events` (RFC 8417 §2.2).
  if (KEYCLOAK_NEVER.has(payload['typ']) || 'events' in payload) throw neverExchanged()
  if (declared === 'id_token' && (folded === 'at+jwt' || payload['typ'] === 'Bearer')) {
    throw new Refusal(
      'wrong_type',
      'The token was declared an ID token but is an access token. Declare what it is.',
    )
  }
  if (declared === 'access_token' && isIdToken(payload)) {
    throw new Refusal(
      'wrong_type',
      'The token was declared an access token but is an ID token. Declare what it is.',
    )
  }
}

function isIdToken(payload: Claims): boolean {
  return payload['typ'] === 'ID' || ID_TOKEN_CLAIMS.some((claim) => claim in payload)
}

function neverExchanged(): Refusal {
  return new Refusal(
    'wrong_type',
    'The token was of a type that is never exchanged. Bring an access or ID token.',
  )
}
