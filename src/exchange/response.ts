import type { Secret } from '../lib/secret.ts'
import type { Grant } from '../policy/decision.ts'

/** What an exchange answers (RFC 8693 §2.2.1), still before it is written as JSON. */
export interface ExchangeResponse {
  readonly accessToken: Secret
  readonly issuedTokenType: string
  readonly expiresIn: number
  /** The granted scopes; absent when none were granted. */
  readonly scope: string | undefined
}

/** The successful response of RFC 8693 §2.2.1 for this grant. */
export function exchangeResponse(
  token: Secret,
  grant: Grant,
  requestedTokenType: string | undefined,
): ExchangeResponse {
  return {
    accessToken: token,
    issuedTokenType: requestedTokenType ?? 'urn:ietf:params:oauth:token-type:access_token',
    expiresIn: grant.exp - grant.iat,
    scope: grant.scopes.length > 0 ? grant.scopes.join(' ') : undefined,
  }
}

/** The members of the JSON answer. `token_type` is Bearer: sender constraint comes later. */
export function responseBody(response: ExchangeResponse): Record<string, unknown> {
  return {
    access_token: response.accessToken.reveal(),
    issued_token_type: response.issuedTokenType,
    token_type: 'Bearer',
    expires_in: response.expiresIn,
    ...(response.scope === undefined ? {} : { scope: response.scope }),
  }
}
