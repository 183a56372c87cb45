import type { PresentedCredentials } from '../../client/credentials.ts'
import type { Exchange } from '../../exchange/exchange.ts'
import {
  type ExchangeParameters,
  parseExchangeParameters,
  TOKEN_EXCHANGE_GRANT,
} from '../../exchange/request.ts'
import { responseBody } from '../../exchange/response.ts'
import { Refusal } from '../../lib/refusal.ts'
import { carriesCredential, FORM_TYPE, parseForm, presentedCredentials } from '../form.ts'
import type { Call } from '../listener.ts'
import { noteClient, tenantOf } from '../request-scope.ts'
import { type Answer, PRIVATE_JSON } from '../route.ts'
import type { PublicDeps } from './deps.ts'
import type { PublicRoute } from './route.ts'
import { TOKEN_ANSWER, TOKEN_FORM } from './schemas.ts'

/** What either exchange route is given. */
export type ExchangeRouteDeps = Pick<PublicDeps, 'exchange' | 'door'>

/** POST /token: token exchange, the only grant there is (RFC 8693 §2.1). */
export function tokenRoute({ exchange, door }: ExchangeRouteDeps): PublicRoute {
  return {
    method: 'POST',
    path: '/token',
    errors: 'oauth',
    cors: true,
    priority: 'exchange',
    operation: {
      id: 'token',
      summary: 'Exchange a token (RFC 8693), form in, JSON out',
      security: ['clientBasic', 'clientParameters'],
      request: { type: FORM_TYPE, schema: TOKEN_FORM },
      answers: { 200: { type: 'application/json', schema: TOKEN_ANSWER } },
      refusals: [400, 401, 404, 405, 413, 429, 500, 503],
    },
    async handle(call, signal) {
      const tenant = tenantOf(call.scope)
      const form = readForm(call)
      door(tenant, form.credentials)
      mustBeTokenExchange(form.parameters.single.get('grant_type'))
      const request = parseExchangeParameters(form.parameters, form.credentials, call.scope.id)
      return exchanged(await exchange(tenant, request, signal))
    },
  }
}

/** The successful answer of either exchange. */
export function exchanged(response: Awaited<ReturnType<Exchange>>): Answer {
  const headers = { ...PRIVATE_JSON, ...response.rate }
  return { status: 200, headers, body: JSON.stringify(responseBody(response)) }
}

/** The parameters and credentials of a form; what the log may say of them is noted. */
export function readForm(call: Call): {
  readonly parameters: ExchangeParameters
  readonly credentials: PresentedCredentials
} {
  const parameters = parseForm(call.headers, call.scope.query, call.body)
  const { authorization } = call.headers
  call.scope.credentialInBody = authorization === undefined && carriesCredential(parameters.single)
  const credentials = presentedCredentials(authorization, parameters.single, call.scope.address)
  noteClient(call.scope, credentials.basic?.id ?? credentials.clientId)
  return { parameters, credentials }
}

function mustBeTokenExchange(grant: string | undefined): void {
  if (grant === TOKEN_EXCHANGE_GRANT) return
  if (grant === undefined) {
    throw new Refusal('malformed_request', 'The parameter grant_type is required.', {
      param: 'grant_type',
    })
  }
  throw new Refusal('unsupported_grant', `The grant_type was not ${TOKEN_EXCHANGE_GRANT}.`, {
    param: 'grant_type',
  })
}
