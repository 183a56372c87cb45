import { quoted } from '../problem.ts'
import type { TenantValues } from '../schema.ts'
import type { Report } from './report.ts'
import { checkNamesIdp } from './sources.ts'

type ClientValues = TenantValues['clients'][string]

/** A scope token (RFC 6749 §3.3). */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]+$/

/** Rules about the clients of one tenant. */
export function checkClients(name: string, tenant: TenantValues, report: Report): void {
  const idps = Object.keys(tenant.idps)
  for (const [client, config] of Object.entries(tenant.clients)) {
    const path = ['tenants', name, 'clients', client]
    for (const [index, idp] of (config.idps ?? []).entries())
      checkNamesIdp(idp, idps, [...path, 'idps', index], report)
    for (const [index, scope] of (config.scopes ?? []).entries()) {
      if (!SCOPE.test(scope))
        report.error(
          'config/bad-value',
          [...path, 'scopes', index],
          'this is no scope',
          'no spaces, quotes or backslashes (RFC 6749 §3.3)',
        )
    }
    checkGrants(config, path, report)
    if (config.grants?.includes('exchange')) checkRoles(config, tenant, path, report)
  }
}

function checkGrants(config: ClientValues, path: readonly string[], report: Report): void {
  const grants = config.grants ?? []
  const beyond = grants.find((grant) => grant !== 'exchange')
  if (config.auth === 'public' && beyond) {
    const message = `a client without a credential may not ${beyond}: anybody could`
    report.error(
      'config/public-client',
      [...path, 'grants', grants.indexOf(beyond)],
      message,
      'give it a clientSecret or privateKeyJwt, or remove the grant',
    )
  }
  if (grants.includes('exchange')) {
    if (!config.audiences?.length)
      report.warning(
        'config/no-target',
        path,
        'this client may exchange, but for no audience',
        'add audiences',
      )
    if (!config.idps?.length && !config.exchangeOwn)
      report.warning(
        'config/no-target',
        path,
        'this client may exchange, but tokens of no IdP',
        'add idps',
      )
  }
  if (grants.includes('introspect') && !config.resourceFor?.length)
    report.warning(
      'config/no-target',
      path,
      'this client may introspect, but tokens for no audience',
      'add resourceFor',
    )
}

function checkRoles(
  config: ClientValues,
  tenant: TenantValues,
  path: readonly string[],
  report: Report,
): void {
  const { map = [], unmapped = 'drop', empty = 'deny' } = tenant.roles ?? {}
  const ceiling = config.roles ?? []
  if (ceiling.length === 0) {
    if (empty === 'deny')
      report.warning(
        'config/no-roles-possible',
        path,
        'this client has no roles, and tokens without roles are refused',
        'add roles, or set empty: allow',
      )
    return
  }
  if (unmapped === 'keep') return
  if (map.length === 0) {
    const message =
      'no role of this list can ever be granted: nothing is mapped, and unmapped roles are not kept'
    report.error(
      'config/no-roles-possible',
      [...path, 'roles'],
      message,
      'add roles.map, or set roles.unmapped: keep',
    )
    return
  }
  const produced = new Set(map.map(({ to }) => to))
  for (const [index, role] of ceiling.entries()) {
    if (produced.has(role)) continue
    const message = `no mapping produces ${quoted(role)}`
    report.warning(
      'config/ceiling-unreachable',
      [...path, 'roles', index],
      message,
      'add it to roles.map, or remove it here',
    )
  }
}
