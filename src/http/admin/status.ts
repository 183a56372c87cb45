import Type from 'typebox'
import type { AdminDeps } from './deps.ts'
import { type AdminRoute, adminRoute, NOTHING } from './route.ts'

/** How things are, and under which configuration. */
export function statusRoutes(
  deps: Pick<AdminDeps, 'status' | 'describeConfig' | 'ready' | 'tenants'>,
): readonly AdminRoute[] {
  return [
    adminRoute({
      method: 'GET',
      path: '/admin/v1/status',
      least: 'viewer',
      id: 'status',
      summary: 'How this replica is',
      query: NOTHING,
      body: NOTHING,
      answer: Type.Object(
        {
          ready: Type.Boolean(),
          reasons: Type.Array(Type.String()),
          tenants: Type.Array(Type.Object({ name: Type.String(), issuer: Type.String() })),
        },
        { additionalProperties: true },
      ),
      refusals: [503],
      async handle({ signal, operator }) {
        const [readiness, more] = await Promise.all([deps.ready(signal), deps.status(signal)])
        return {
          ...more,
          ready: readiness.ready,
          reasons: readiness.reasons,
          tenants: deps.tenants.all().map(({ name, issuer }) => ({ name, issuer })),
          operator: { by: operator.by, role: operator.role },
        }
      },
    }),
    adminRoute({
      method: 'GET',
      path: '/admin/v1/config',
      least: 'auditor',
      id: 'readConfig',
      summary: 'The effective configuration, secrets replaced',
      query: NOTHING,
      body: NOTHING,
      answer: Type.Object({}, { additionalProperties: true }),
      handle: () => Promise.resolve({ config: deps.describeConfig() }),
    }),
  ]
}
