/** Every reason rolemint has for saying no. The codes are stable: clients, dashboards and runbooks are written against them. */
export type RefusalCode =
  | 'malformed_token'
  | 'token_too_large'
  | 'invalid_signature'
  | 'algorithm_not_allowed'
  | 'expired'
  | 'not_yet_valid'
  | 'untrusted_issuer'
  | 'wrong_audience'
  | 'wrong_presenter'
  | 'wrong_type'
  | 'missing_claim'
  | 'invalid_upn'
  | 'upn_conflict'
  | 'replayed'
  | 'revoked'
  | 'unknown_user'
  | 'no_roles'
  | 'actor_not_allowed'
  | 'proof_required'
  | 'malformed_request'
  | 'refresh_invalid'
  | 'unsupported_grant'
  | 'target_not_allowed'
  | 'scope_not_allowed'
  | 'client_auth_failed'
  | 'grant_not_allowed'
  | 'rate_limited'
  | 'unknown_tenant'
  | 'method_not_allowed'
  | 'body_too_large'
  | 'unsupported_media_type'
  | 'entitlements_unavailable'
  | 'idp_keys_unavailable'
  | 'signer_unavailable'
  | 'ledger_unavailable'
  | 'overloaded'
  | 'internal'

/** What a refusal may carry besides its code and its public sentence. */
export interface RefusalDetails {
  /** For the log only; never rendered to a caller. */
  readonly cause?: unknown
  /** Request parameter the refusal is about, when one can be named. */
  readonly param?: string
  /** Seconds after which trying again makes sense; rendered as `Retry-After` (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds?: number
  /** Rendered as response headers, e.g. `Allow` with `method_not_allowed`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * A decision not to do what was asked, thrown so that no later step can run by mistake.
 *
 * `message` is safe for the caller: it holds no token text, no upstream address and no stack. What only
 * the operator may see travels as `cause`.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly code: RefusalCode
  readonly param: string | undefined
  readonly retryAfterSeconds: number | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(code: RefusalCode, publicMessage: string, details: RefusalDetails = {}) {
    super(publicMessage, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.param = details.param
    this.retryAfterSeconds = details.retryAfterSeconds
    this.headers = details.headers ?? {}
  }
}

/** True when `error` is a refusal, of the given code if one is named. */
export function isRefusal(error: unknown, code?: RefusalCode): error is Refusal {
  return error instanceof Refusal && (code === undefined || error.code === code)
}
