import { EdgeError } from '../edge-error.ts'
import type { HttpServer } from '../listen.ts'
import { type Call, createListener, type ServedRoute } from '../listener.ts'
import { type ProbeRoute, probeRoutes } from '../probes.ts'
import { createRequestBudget } from '../request-scope.ts'
import { createPathIndex } from '../route.ts'
import { createAuthenticateOperator, mustHaveRole, unauthenticated } from './authenticate.ts'
import { breakerRoutes } from './breakers.ts'
import { cacheRoutes } from './caches.ts'
import { decisionRoutes } from './decisions.ts'
import type { AdminDeps, AdminOptions } from './deps.ts'
import { entriesRoute } from './entries.ts'
import { healthRoute } from './health.ts'
import { keyRoutes } from './keys.ts'
import { adminOpenApiRoute } from './openapi.ts'
import { registryRoutes } from './registry.ts'
import type { AdminRoute } from './route.ts'
import { statusRoutes } from './status.ts'

/** People wait longer than clients, but not for ever. */
const CALL_MILLISECONDS = 10_000
const BUDGET_SLOT_MILLISECONDS = 100

/** Everything that the admin listener answers. */
export function adminRoutes(deps: AdminDeps, options: AdminOptions): readonly AdminRoute[] {
  const routes = [
    ...statusRoutes(deps),
    ...keyRoutes(deps),
    ...decisionRoutes(deps),
    ...registryRoutes(deps),
    entriesRoute(deps),
    ...breakerRoutes(deps),
    ...cacheRoutes(deps),
    healthRoute(deps),
    ...(options.probes ? probeRoutes(deps).map(forAnyone) : []),
  ]
  return [...routes, adminOpenApiRoute(options.version, routes)]
}

/** The listener of operators, with no port open yet. */
export function createAdminServer(deps: AdminDeps, options: AdminOptions): HttpServer {
  const routes = adminRoutes(deps, options)
  const pathFacts = createPathIndex(routes)
  const authenticate = createAuthenticateOperator(deps)
  return createListener({
    name: 'admin',
    log: deps.log,
    metrics: deps.metrics,
    random: deps.random,
    routes: routes.map(guarded),
    tls: options.tls,
    trustedProxies: [],
    bounds: options.bounds,
    locate: ({ path }) => ({ tenant: undefined, path }),
    // This listener explains no errors to strangers; the public one of any tenant does.
    issuer: () => deps.tenants.all()[0]?.issuer ?? '',
    async before(call) {
      refuseForeignOrigin(call)
      const known = pathFacts(call.scope.path)?.routes ?? []
      // Whatever is not declared to be for anyone needs a credential, above all what does not exist.
      if (known.length > 0 && known.every(({ least }) => least === 'anyone')) return undefined
      const signal = AbortSignal.timeout(CALL_MILLISECONDS)
      call.scope.operator = await authenticate(call.headers.authorization, signal)
      return undefined
    },
    budget: createRequestBudget({
      budgetMilliseconds: CALL_MILLISECONDS,
      slotMilliseconds: BUDGET_SLOT_MILLISECONDS,
    }),
  })
}

/** The route as it is served: to an operator with its role, or a higher one. */
function guarded(route: AdminRoute): ServedRoute {
  return {
    ...route,
    async handle(call, signal) {
      const { operator } = call.scope
      if (route.least !== 'anyone') {
        if (!operator) throw unauthenticated(false)
        mustHaveRole(operator, route.least)
      }
      return route.handle(call, operator, signal)
    },
  }
}

/** A page of any other origin has no business here, whatever credential its browser might add. */
function refuseForeignOrigin({ headers }: Call): void {
  const { origin, host } = headers
  if (origin === undefined) return
  if (URL.canParse(origin) && new URL(origin).host === host) return
  throw new EdgeError('admin_forbidden', 'The request came from a page of another origin.')
}

function forAnyone(probe: ProbeRoute): AdminRoute {
  return { ...probe, least: 'anyone', handle: (_call, _operator, signal) => probe.handle(signal) }
}
