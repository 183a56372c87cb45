import type { HttpServer } from '../listen.ts'
import { createListener } from '../listener.ts'
import { createRequestBudget, tenantOf } from '../request-scope.ts'
import { createPathIndex } from '../route.ts'
import { cors } from './cors.ts'
import type { PublicDeps, PublicOptions } from './deps.ts'
import { jwksRoutes, metadataRoutes } from './documents.ts'
import { errorPageRoute } from './error-pages.ts'
import { introspectRoute } from './introspect.ts'
import { jsonExchangeRoute } from './json-exchange.ts'
import { publicOpenApiRoute } from './openapi.ts'
import type { PublicRoute } from './route.ts'
import { sourceWebhookRoute } from './source-webhook.ts'
import { tokenRoute } from './token.ts'

const REQUEST_BUDGET_MILLISECONDS = 5_000
const BUDGET_SLOT_MILLISECONDS = 100

/** Everything that the public listener answers. */
export function publicRoutes(deps: PublicDeps, options: PublicOptions): readonly PublicRoute[] {
  const routes = [
    tokenRoute(deps),
    jsonExchangeRoute(deps),
    introspectRoute(deps),
    sourceWebhookRoute(deps),
    ...jwksRoutes(deps),
    ...metadataRoutes(options.metadata),
    errorPageRoute(),
  ]
  return [...routes, publicOpenApiRoute(options.version, routes)]
}

/** The listener of clients and verifiers, with no port open yet. */
export function createPublicServer(deps: PublicDeps, options: PublicOptions): HttpServer {
  const routes = publicRoutes(deps, options)
  const pathFacts = createPathIndex(routes)
  return createListener<PublicRoute>({
    name: 'public',
    log: deps.log,
    metrics: deps.metrics,
    random: deps.random,
    routes,
    tls: options.tls,
    trustedProxies: options.trustedProxies ?? [],
    bounds: options.bounds,
    load: deps.load,
    full: deps.full,
    locate: deps.tenants.resolve,
    issuer: ({ tenant }) => tenant?.issuer ?? '',
    before: (call) => {
      const facts = pathFacts(call.scope.path)
      // Error pages and the API description are the same everywhere; all else belongs to a tenant, also what does not exist.
      if (!facts?.routes.some(isSharedByTenants)) tenantOf(call.scope)
      if (!call.scope.tenant || !facts?.routes.some((route) => route.cors)) return undefined
      return cors(call.scope.tenant, facts.methods, call)
    },
    budget: createRequestBudget({
      budgetMilliseconds: options.requestBudgetMilliseconds ?? REQUEST_BUDGET_MILLISECONDS,
      slotMilliseconds: BUDGET_SLOT_MILLISECONDS,
    }),
  })
}

function isSharedByTenants({ path }: PublicRoute): boolean {
  return path === '/openapi.json' || path === '/errors/:code'
}
