import { Refusal } from '../../lib/refusal.ts'
import { Secret } from '../../lib/secret.ts'
import { FORM_TYPE } from '../form.ts'
import { tenantOf } from '../request-scope.ts'
import { privateJson } from '../route.ts'
import type { PublicDeps } from './deps.ts'
import type { PublicRoute } from './route.ts'
import { INTROSPECTION_ANSWER, INTROSPECTION_FORM } from './schemas.ts'
import { readForm } from './token.ts'

/** POST /introspect (RFC 7662 §2). `token_type_hint` is read by nobody: there is one kind of token to look for. */
export function introspectRoute({
  introspect,
  door,
}: Pick<PublicDeps, 'introspect' | 'door'>): PublicRoute {
  return {
    method: 'POST',
    path: '/introspect',
    errors: 'oauth',
    cors: false,
    priority: 'introspect',
    operation: {
      id: 'introspect',
      summary: 'Ask whether a token is good now (RFC 7662)',
      description:
        'A caller that is neither named by the audience of the token (resourceFor) nor allowed introspect-any is told active: false.',
      security: ['clientBasic', 'clientParameters'],
      request: { type: FORM_TYPE, schema: INTROSPECTION_FORM },
      answers: { 200: { type: 'application/json', schema: INTROSPECTION_ANSWER } },
      refusals: [400, 401, 404, 405, 413, 429, 500, 503],
    },
    async handle(call, signal) {
      const tenant = tenantOf(call.scope)
      const { parameters, credentials } = readForm(call)
      door(tenant, credentials)
      const token = parameters.single.get('token')
      if (token === undefined) {
        throw new Refusal('malformed_request', 'The parameter token is required.', {
          param: 'token',
        })
      }
      return privateJson(await introspect(tenant, credentials, new Secret(token), signal))
    },
  }
}
