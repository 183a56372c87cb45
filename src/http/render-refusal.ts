/** How every error looks on the wire: one object for OAuth clients (RFC 6749 §5.2) and for problem readers (RFC 9457). */
import { isRefusal, Refusal, type RefusalCode } from '../lib/refusal.ts'
import { prefers } from './accept.ts'
import { type EdgeCode, EdgeError } from './edge-error.ts'
import { ERROR_CATALOGUE } from './error-catalogue.ts'
import { type Answer, type ErrorStyle, NO_STORE } from './route.ts'

/** `error` values (RFC 6749 §5.2, RFC 8693 §2.2.2); the last two are RFC 6749 §4.1.2.1's, used here for want of others. */
type OAuthError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'temporarily_unavailable'
  | 'server_error'

/** How one code looks. */
export interface Rendering {
  readonly status: number
  readonly error: OAuthError
  /** Status at `/token` and `/introspect`, where OAuth knows nothing but 400 and 401. */
  readonly oauthStatus?: number
}

const BAD_REQUEST = { status: 400, error: 'invalid_request' } as const
const UNAVAILABLE = { status: 503, error: 'temporarily_unavailable' } as const

/** How each refusal looks; the compiler checks that none is missing. */
export const RENDERINGS = {
  // RFC 8693 §2.2.2: a token that is invalid "for any reason", or unacceptable by policy, is invalid_request. Peers say invalid_grant.
  malformed_token: BAD_REQUEST,
  token_too_large: BAD_REQUEST,
  invalid_signature: BAD_REQUEST,
  algorithm_not_allowed: BAD_REQUEST,
  expired: BAD_REQUEST,
  not_yet_valid: BAD_REQUEST,
  untrusted_issuer: BAD_REQUEST,
  wrong_audience: BAD_REQUEST,
  wrong_presenter: BAD_REQUEST,
  wrong_type: BAD_REQUEST,
  missing_claim: BAD_REQUEST,
  invalid_upn: BAD_REQUEST,
  upn_conflict: BAD_REQUEST,
  replayed: BAD_REQUEST,
  revoked: BAD_REQUEST,
  unknown_user: BAD_REQUEST,
  no_roles: BAD_REQUEST,
  actor_not_allowed: BAD_REQUEST,
  proof_required: BAD_REQUEST,
  malformed_request: BAD_REQUEST,
  refresh_invalid: { status: 400, error: 'invalid_grant' },
  unsupported_grant: { status: 400, error: 'unsupported_grant_type' },
  target_not_allowed: { status: 400, error: 'invalid_target' }, // RFC 8693 §2.2.2, RFC 8707 §2
  scope_not_allowed: { status: 400, error: 'invalid_scope' },
  client_auth_failed: { status: 401, error: 'invalid_client' },
  grant_not_allowed: { status: 400, error: 'unauthorized_client' },
  rate_limited: { status: 429, error: 'temporarily_unavailable' }, // RFC 6585 §4
  unknown_tenant: { status: 404, error: 'invalid_request' },
  method_not_allowed: { status: 405, error: 'invalid_request' },
  body_too_large: { status: 413, error: 'invalid_request' },
  unsupported_media_type: { status: 415, error: 'invalid_request', oauthStatus: 400 },
  entitlements_unavailable: UNAVAILABLE,
  idp_keys_unavailable: UNAVAILABLE,
  signer_unavailable: UNAVAILABLE,
  ledger_unavailable: UNAVAILABLE,
  overloaded: UNAVAILABLE,
  internal: { status: 500, error: 'server_error' },
} as const satisfies Record<RefusalCode, Rendering>

/** How the errors of the edge itself look. */
export const EDGE_RENDERINGS = {
  not_found: { status: 404, error: 'invalid_request' },
  conflict: { status: 409, error: 'invalid_request' },
  admin_unauthenticated: { status: 401, error: 'invalid_client' },
  admin_forbidden: { status: 403, error: 'unauthorized_client' },
} as const satisfies Record<EdgeCode, Rendering>

const ALL_RENDERINGS: Readonly<Record<RefusalCode | EdgeCode, Rendering>> = {
  ...RENDERINGS,
  ...EDGE_RENDERINGS,
}

/** What an error's looks depend on besides the error. */
export interface ErrorContext {
  readonly style: ErrorStyle
  readonly accept: string | undefined
  /** Where `/errors/<code>` is found; empty when no issuer of ours is known. */
  readonly issuer: string
  readonly requestId: string
  /** The caller used HTTP authentication or none at all, so a 401 names the scheme to use (RFC 6749 §5.2). */
  readonly challenge: boolean
}

const RETRY_AFTER_SECONDS = 1

/** The answer for an error: whatever is neither a refusal nor an error of the edge is a bug, and says nothing about itself. */
export function renderError(error: unknown, context: ErrorContext): Answer {
  const known = isRefusal(error) || error instanceof EdgeError ? error : internal(error)
  const rendering = ALL_RENDERINGS[known.code]
  const status =
    context.style === 'oauth' ? (rendering.oauthStatus ?? rendering.status) : rendering.status
  const detail = publicText(known.message)
  const body = {
    error: rendering.error,
    error_description: detail,
    type: `${context.issuer}/errors/${known.code}`,
    title: ERROR_CATALOGUE[known.code].title,
    status,
    detail,
    error_code: known.code,
    ...(known.param === undefined ? {} : { param: known.param }),
    request_id: context.requestId,
    retryable: isRetryable(status),
  }
  return { status, headers: errorHeaders(known, status, context), body: JSON.stringify(body) }
}

/** What a caller is told of a bug: a constant sentence; the request id leads the operator to the rest. */
export function internal(cause: unknown): Refusal {
  return new Refusal(
    'internal',
    'Something failed on our side; quote the request_id to the operator.',
    { cause },
  )
}

function errorHeaders(
  error: Refusal | EdgeError,
  status: number,
  context: ErrorContext,
): Record<string, string> {
  const headers: Record<string, string> = {
    'content-type': mediaType(context),
    ...NO_STORE,
    ...error.headers,
  }
  if (context.style === 'oauth') headers['vary'] = 'Accept'
  if (isRetryable(status)) {
    const wait = isRefusal(error) ? error.retryAfterSeconds : undefined
    headers['retry-after'] = String(Math.max(1, Math.ceil(wait ?? RETRY_AFTER_SECONDS)))
  }
  if (error.code === 'client_auth_failed' && context.challenge)
    headers['www-authenticate'] = 'Basic realm="rolemint"'
  return headers
}

/** 429 and 503 end by themselves; everything else needs another request or another configuration. */
function isRetryable(status: number): boolean {
  return status === 429 || status === 503
}

function mediaType({ style, accept }: ErrorContext): string {
  // Unmodified OAuth clients read an error only from application/json (RFC 6749 §5.2), so a problem is what must be asked for.
  const problem = style === 'api' || prefers(accept, 'application/problem+json', 'application/json')
  return problem ? 'application/problem+json' : 'application/json'
}

const LONGEST_DESCRIPTION = 300
const NOT_IN_A_DESCRIPTION = /[^\x20-\x21\x23-\x5B\x5D-\x7E]/g

/** A text with only the characters of an `error_description` (RFC 6749 §5.2): quotes become apostrophes, the rest question marks. */
export function publicText(text: string): string {
  return text.slice(0, LONGEST_DESCRIPTION).replaceAll('"', "'").replace(NOT_IN_A_DESCRIPTION, '?')
}
