import type { Tenant } from '../../tenant/tenant.ts'
import type { Call } from '../listener.ts'
import type { Answer } from '../route.ts'

const PREFLIGHT_SECONDS = 600

/**
 * Lets pages of the tenant's own origins read our answers (Fetch standard, CORS protocol); nobody else, and never with
 * cookies, which do not exist here. `null` is the origin of every sandboxed frame, so it is nobody.
 *
 * By hand, because the plugin for it knows one list for all tenants or a callback for every request.
 *
 * @returns the answer to a preflight that is granted; otherwise undefined, and the request goes its way.
 */
export function cors(
  tenant: Tenant,
  methods: readonly string[],
  { method, headers, scope }: Pick<Call, 'method' | 'headers' | 'scope'>,
): Answer | undefined {
  if (tenant.corsOrigins.length === 0) return undefined
  // Also on answers to nobody in particular: a cache must not serve those to a page that may read its own (RFC 9110 §12.5.5).
  scope.headers.push('vary', 'Origin')
  const { origin } = headers
  if (origin === undefined || origin === 'null' || !tenant.corsOrigins.includes(origin))
    return undefined
  scope.headers.push('access-control-allow-origin', origin)
  scope.headers.push('access-control-expose-headers', 'retry-after, x-request-id')
  const wanted = headers['access-control-request-method']
  if (method !== 'OPTIONS' || wanted === undefined) return undefined
  return {
    status: 204,
    headers: {
      'access-control-allow-methods': methods.join(', '),
      'access-control-allow-headers': 'authorization, content-type, traceparent',
      'access-control-max-age': String(PREFLIGHT_SECONDS),
    },
    body: undefined,
  }
}
