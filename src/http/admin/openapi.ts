import Type from 'typebox'
import { ERROR } from '../error-schema.ts'
import { openApi } from '../openapi.ts'
import { privateJson } from '../route.ts'
import type { AdminRoute } from './route.ts'

/** GET /openapi.json of the admin listener: for operators, like everything there. */
export function adminOpenApiRoute(version: string, routes: readonly AdminRoute[]): AdminRoute {
  const self: AdminRoute = {
    method: 'GET',
    path: '/openapi.json',
    errors: 'api',
    least: 'viewer',
    operation: {
      id: 'adminOpenApi',
      summary: 'This document',
      security: ['operator'],
      answers: { 200: { type: 'application/json', schema: Type.Object({}) } },
      refusals: [401, 403, 405],
    },
    handle: () => Promise.resolve(privateJson(document)),
  }
  const document = openApi(
    {
      title: 'rolemint admin',
      version,
      description: 'Operation of rolemint. No call is anonymous; every change needs a reason.',
      securitySchemes: {
        operator: {
          type: 'http',
          scheme: 'bearer',
          description: 'Break-glass token (rolemint admin token).',
        },
      },
      error: ERROR,
    },
    [...routes, self],
  )
  return self
}
