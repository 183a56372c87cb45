import Type from 'typebox'
import type { Tenant } from '../../tenant/tenant.ts'
import { ERROR } from '../error-schema.ts'
import { openApi } from '../openapi.ts'
import type { Answer } from '../route.ts'
import type { PublicRoute } from './route.ts'

/** GET /openapi.json: all routes given here and itself. */
export function publicOpenApiRoute(version: string, routes: readonly PublicRoute[]): PublicRoute {
  const written = new WeakMap<Tenant, string>()
  const self: PublicRoute = {
    method: 'GET',
    path: '/openapi.json',
    errors: 'api',
    cors: false,
    operation: {
      id: 'publicOpenApi',
      summary: 'This document',
      security: [],
      answers: { 200: { type: 'application/json', schema: Type.Object({}) } },
      refusals: [405],
    },
    handle: ({ scope: { tenant } }) => {
      if (!tenant) return json(JSON.stringify(document))
      const body =
        written.get(tenant) ?? JSON.stringify({ ...document, servers: [{ url: tenant.issuer }] })
      written.set(tenant, body)
      return json(body)
    },
  }
  const document = openApi(
    {
      title: 'rolemint',
      version,
      description: 'Security Token Service: tokens in, tokens with roles out.',
      securitySchemes: {
        clientBasic: {
          type: 'http',
          scheme: 'basic',
          description: 'client_secret_basic (RFC 6749 §2.3.1): both halves form-encoded.',
        },
        clientParameters: {
          type: 'apiKey',
          in: 'header',
          name: 'client_assertion',
          description:
            'Not a header: parameters of the body. private_key_jwt (RFC 7523) by client_assertion and client_assertion_type, or client_secret_post by client_id and client_secret.',
        },
        subjectBearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'The subject token itself, for public clients.',
        },
      },
      error: ERROR,
    },
    [...routes, self],
  )
  return self
}

function json(body: string): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'public, max-age=300' },
    body,
  }
}
