import type { PresentedCredentials } from '../client/credentials.ts'
import type { Client } from '../client/options.ts'
import type { Clock } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import type { EntitlementEvidence, Evidence, RequestEvidence } from '../policy/decision.ts'
import type {
  DeclaredTokenType,
  PresentedToken,
  VerifiedActor,
  VerifiedSubject,
} from '../subject/verified.ts'

/** `grant_type` of a token exchange (RFC 8693 §2.1). */
export const TOKEN_EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** Token type identifiers we accept for subject and actor (RFC 8693 §3). */
export const TOKEN_TYPES: ReadonlyMap<string, DeclaredTokenType> = new Map([
  ['urn:ietf:params:oauth:token-type:jwt', 'jwt'],
  ['urn:ietf:params:oauth:token-type:id_token', 'id_token'],
  ['urn:ietf:params:oauth:token-type:access_token', 'access_token'],
])

/** Token type identifiers a caller may ask for; what we issue is a JWT access token, so both names are true. */
export const ISSUED_TOKEN_TYPES = [
  'urn:ietf:params:oauth:token-type:access_token',
  'urn:ietf:params:oauth:token-type:jwt',
] as const

/** A request to exchange a token, parsed: the form, the JSON body and their headers all end here. */
export interface ExchangeRequest {
  readonly credentials: PresentedCredentials
  readonly subject: PresentedToken
  readonly actor: PresentedToken | undefined
  readonly wanted: RequestEvidence
  /** Asked of the client, not of the decision: no entry of the ledger needs more than the scopes it was granted. */
  readonly traceId: string
}

/**
 * Parameters of a token request after the edge has refused repeats and dropped empty values. `audience` and
 * `resource` may repeat (RFC 8693 §2.1), nothing else may (RFC 6749 §3.2).
 */
export interface ExchangeParameters {
  readonly single: ReadonlyMap<string, string>
  readonly audience: readonly string[]
  readonly resource: readonly string[]
}

const MAX_TARGETS = 8
const MAX_SCOPES = 64
const SCOPE = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/**
 * Reads the parameters of RFC 8693 §2.1. Unknown parameters are ignored (RFC 6749 §3.2), except `authorization_details`:
 * ignoring a request to narrow would hand out more than was asked for.
 *
 * @throws {Refusal} `malformed_request`, naming the parameter; `target_not_allowed` for a `resource` that is no absolute URI (RFC 8707 §2).
 */
export function parseExchangeParameters(
  parameters: ExchangeParameters,
  credentials: PresentedCredentials,
  traceId: string,
): ExchangeRequest {
  const { single } = parameters
  if (single.has('authorization_details'))
    throw malformed('authorization_details', 'is not supported')
  const subject = presented(single, 'subject_token')
  if (!subject) throw malformed('subject_token', 'is required')
  return {
    credentials,
    subject,
    actor: presented(single, 'actor_token'),
    wanted: {
      targets: targets(parameters),
      scopes: scopes(single.get('scope')),
      requestedTokenType: requestedType(single.get('requested_token_type')),
      expiresIn: expiresIn(single.get('expires_in')),
    },
    traceId,
  }
}

function presented(
  single: ReadonlyMap<string, string>,
  name: 'subject_token' | 'actor_token',
): PresentedToken | undefined {
  const token = single.get(name)
  const type = single.get(`${name}_type`)
  if (token === undefined) {
    // RFC 8693 §2.1: the type of an actor token "MUST NOT be included" without the token.
    if (type !== undefined) throw malformed(`${name}_type`, `was given without ${name}`)
    return undefined
  }
  if (type === undefined) throw malformed(`${name}_type`, 'is required')
  const declared = TOKEN_TYPES.get(type)
  if (declared === undefined) throw malformed(`${name}_type`, 'is not a supported token type')
  return { token: new Secret(token), type: declared }
}

function targets({ audience, resource }: ExchangeParameters): readonly string[] {
  for (const uri of resource) {
    if (!isResourceIndicator(uri)) {
      throw new Refusal(
        'target_not_allowed',
        'The resource was not an absolute URI without fragment.',
        {
          param: 'resource',
        },
      )
    }
  }
  const asked = [...new Set([...audience, ...resource])]
  if (asked.length > MAX_TARGETS) {
    // RFC 8693 §2.2.2 gives invalid_target for a request the server is "unwilling" to serve for its targets.
    throw new Refusal('target_not_allowed', `More than ${MAX_TARGETS} targets were asked for.`, {
      param: 'audience',
    })
  }
  return asked
}

/** RFC 8707 §2: an absolute URI without fragment. User information and non-ASCII names are refused: both are ways to look like another host. */
function isResourceIndicator(uri: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7E]+$/.test(uri) || uri.includes('#')) return false
  if (!URL.canParse(uri)) return false
  const { username, password } = new URL(uri)
  return username === '' && password === ''
}

function scopes(scope: string | undefined): readonly string[] {
  if (scope === undefined) return []
  const words = scope.split(' ')
  if (words.length > MAX_SCOPES || words.some((word) => !SCOPE.test(word))) {
    throw malformed('scope', 'is not a list of scopes separated by single spaces')
  }
  return [...new Set(words)]
}

function requestedType(type: string | undefined): string | undefined {
  if (type === undefined || (ISSUED_TOKEN_TYPES as readonly string[]).includes(type)) return type
  throw malformed('requested_token_type', 'is not a token type that is issued here')
}

function expiresIn(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9][0-9]{0,8}$/.test(text))
    throw malformed('expires_in', 'is not a positive number of seconds')
  return Number(text)
}

function malformed(param: string, what: string): Refusal {
  return new Refusal('malformed_request', `The parameter ${param} ${what}.`, { param })
}

/** Puts together everything the decision depends on; nothing in it is a token. */
export function gatherEvidence(
  clock: Clock,
  client: Client,
  request: ExchangeRequest,
  subject: VerifiedSubject,
  actor: VerifiedActor | undefined,
  entitlements: EntitlementEvidence,
): Evidence {
  return {
    now: Math.floor(clock.now() / 1000),
    clientId: client.id,
    request: request.wanted,
    subject: subject.evidence,
    ...(actor ? { actor: actor.evidence } : {}),
    entitlements,
  }
}

/** Work that ends no later than the tokens it is done for is given no timer: most requests are over long before. */
const LONGEST_REQUEST_MILLISECONDS = 10_000

/**
 * The signal under which the work for these tokens is done: that of the request, or one that fires earlier, when the first token runs
 * out, as nothing could be made of the result then.
 */
export function whileUsable(
  clock: Clock,
  signal: AbortSignal,
  subject: VerifiedSubject,
  actor: VerifiedActor | undefined,
): AbortSignal {
  const left = usableUntil(subject, actor) * 1000 - clock.now()
  if (left > LONGEST_REQUEST_MILLISECONDS) return signal
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(expired()), Math.max(0, left))
  timer.unref()
  return AbortSignal.any([signal, over.signal])
}

/** When the first of the tokens runs out; NumericDate, skew included. */
export function usableUntil(subject: VerifiedSubject, actor: VerifiedActor | undefined): number {
  return Math.min(subject.usableUntil, actor?.usableUntil ?? Number.POSITIVE_INFINITY)
}

/** The refusal of a token that ran out on the way. */
export function expired(): Refusal {
  return new Refusal(
    'expired',
    'The token expired while it was being exchanged; get a fresh one and retry.',
    { param: 'subject_token' },
  )
}
