import type { Tenant } from './tenant.ts'

/** Where a request was sent to. */
export interface Target {
  /** Lower case, with its port unless that is the scheme's own. */
  readonly host: string | undefined
  /** Without query. */
  readonly path: string
}

/** Whose rules apply, and what is left of the path below the issuer. */
export interface Resolved {
  /** Undefined when no issuer has this host and a prefix of this path. */
  readonly tenant: Tenant | undefined
  /** `/token`, `/.well-known/openid-configuration`, …; always starts with a slash. */
  readonly path: string
}

/** Finds whose rules apply to a request. */
export interface Tenants {
  readonly resolve: (target: Target) => Resolved
  byName(name: string): Tenant | undefined
  all(): readonly Tenant[]
}

const INSERTED = [
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
] as const

/**
 * Resolves tenants by the host and path of their issuer URLs.
 *
 * A deployment with a single tenant answers whatever host it is called by, as there is nothing to confuse it with; with several,
 * the host decides, so that one tenant's endpoint never acts for another (ASVS 5.0, 8.4.1). RFC 8414 §3.1 inserts its
 * well-known path before the issuer's path; that form ends at the same place as the appended one.
 */
export function createTenants(tenants: () => ReadonlyMap<string, Tenant>): Tenants {
  const located = new WeakMap<Tenant, { host: string; prefix: string }>()
  const locate = (tenant: Tenant) => {
    let place = located.get(tenant)
    if (!place) {
      const { host, pathname } = new URL(tenant.issuer)
      place = { host, prefix: pathname === '/' ? '' : pathname }
      located.set(tenant, place)
    }
    return place
  }
  return {
    resolve({ host, path }) {
      const all = tenants()
      let found: { tenant: Tenant; path: string; prefix: string } | undefined
      for (const tenant of all.values()) {
        const place = locate(tenant)
        if (all.size > 1 && place.host !== host) continue
        const rest = below(place.prefix, path)
        // The longest prefix wins: `/acme/eu` before `/acme`.
        if (rest !== undefined && (!found || place.prefix.length > found.prefix.length)) {
          found = { tenant, path: rest, prefix: place.prefix }
        }
      }
      return found ? { tenant: found.tenant, path: found.path } : { tenant: undefined, path }
    },
    byName: (name) => tenants().get(name),
    all: () => [...tenants().values()],
  }
}

function below(prefix: string, path: string): string | undefined {
  if (prefix === '') return path
  for (const wellKnown of INSERTED) if (path === `${wellKnown}${prefix}`) return wellKnown
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : undefined
}
