import { type ExchangeParameters, parseExchangeParameters } from '../../exchange/request.ts'
import { Refusal } from '../../lib/refusal.ts'
import { bearerToken, carriesCredential, presentedCredentials } from '../form.ts'
import { JSON_TYPE, parseJsonBody } from '../json-body.ts'
import { noteClient, tenantOf } from '../request-scope.ts'
import type { PublicRoute } from './route.ts'
import { EXCHANGE_BODY, TOKEN_ANSWER } from './schemas.ts'
import { type ExchangeRouteDeps, exchanged } from './token.ts'

const DEFAULT_TYPE = 'urn:ietf:params:oauth:token-type:jwt'

/** Members that are texts; whatever else is in the body is ignored unread. */
const TEXTS = [
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'scope',
  'requested_token_type',
  'client_id',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
] as const

/** POST /v1/token/exchange: the same use case for those who would rather speak JSON. */
export function jsonExchangeRoute({ exchange, door }: ExchangeRouteDeps): PublicRoute {
  return {
    method: 'POST',
    path: '/v1/token/exchange',
    errors: 'api',
    cors: true,
    priority: 'exchange',
    operation: {
      id: 'exchange',
      summary: 'Exchange a token, JSON in, JSON out',
      description:
        'Authorization: Bearer carries the subject token, Authorization: Basic the client; a client whose configuration says auth: public needs neither.',
      security: ['clientBasic', 'clientParameters', 'subjectBearer'],
      request: { type: JSON_TYPE, schema: EXCHANGE_BODY },
      answers: { 200: { type: JSON_TYPE, schema: TOKEN_ANSWER } },
      refusals: [400, 401, 404, 405, 413, 415, 429, 500, 503],
    },
    async handle({ scope, headers, body }, signal) {
      const tenant = tenantOf(scope)
      if (scope.query !== '')
        throw new Refusal('malformed_request', 'The URL had a query string; use the body.')
      const bearer = bearerToken(headers.authorization)
      const parameters = parametersOf(parseJsonBody(headers, body), bearer)
      const authorization = bearer === undefined ? headers.authorization : undefined
      scope.credentialInBody = authorization === undefined && carriesCredential(parameters.single)
      const credentials = presentedCredentials(authorization, parameters.single, scope.address)
      noteClient(scope, credentials.basic?.id ?? credentials.clientId)
      door(tenant, credentials)
      const request = parseExchangeParameters(parameters, credentials, scope.id)
      return exchanged(await exchange(tenant, request, signal))
    },
  }
}

/** The members of the body as the form would have carried them, so that one parser serves both. */
function parametersOf(
  members: Readonly<Record<string, unknown>>,
  bearer: string | undefined,
): ExchangeParameters {
  const single = new Map<string, string>()
  for (const name of TEXTS) {
    const value = members[name]
    if (value === undefined) continue
    if (typeof value !== 'string') throw mustBe(name, 'a string')
    if (value !== '') single.set(name, value)
  }
  if (bearer !== undefined) {
    if (single.has('subject_token')) {
      throw new Refusal(
        'malformed_request',
        'The subject token was given twice; send it in the body or as a bearer token.',
        { param: 'subject_token' },
      )
    }
    single.set('subject_token', bearer)
  }
  if (single.has('subject_token') && !single.has('subject_token_type'))
    single.set('subject_token_type', DEFAULT_TYPE)
  const expiresIn = members['expires_in']
  if (expiresIn !== undefined) single.set('expires_in', secondsOf(expiresIn))
  // Its presence alone is refused further on, whatever it holds.
  if (members['authorization_details'] !== undefined) single.set('authorization_details', '')
  return {
    single,
    audience: textsOf('audience', members['audience']),
    resource: textsOf('resource', members['resource']),
  }
}

function secondsOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  throw mustBe('expires_in', 'a number of seconds')
}

function textsOf(name: string, value: unknown): readonly string[] {
  if (value === undefined) return []
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  return list.flatMap((item) => {
    if (typeof item !== 'string') throw mustBe(name, 'a string or a list of strings')
    return item === '' ? [] : [item]
  })
}

function mustBe(param: string, what: string): Refusal {
  return new Refusal('malformed_request', `The member ${param} was not ${what}.`, { param })
}
