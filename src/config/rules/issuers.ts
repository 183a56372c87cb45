import { quoted } from '../problem.ts'
import type { TenantValues } from '../schema.ts'
import type { Report } from './report.ts'

/** Rules about issuers, ours and theirs, within and across tenants. */
export function checkIssuers(tenants: ReadonlyMap<string, TenantValues>, report: Report): void {
  const ours = new Map<string, string>()
  for (const [name, { issuer }] of tenants) {
    const path = ['tenants', name, 'issuer']
    checkForm(issuer, path, report)
    const other = ours.get(issuer)
    if (other !== undefined) {
      const message = `tenant ${quoted(other)} has the same issuer`
      report.error(
        'config/issuer-form',
        path,
        message,
        'give each tenant a host or path of its own',
      )
    }
    ours.set(issuer, name)
  }
  const accepted = new Map<string, string>()
  for (const [name, tenant] of tenants) {
    const issuersHere = new Map<string, string>()
    for (const [idp, { issuer, audience }] of Object.entries(tenant.idps)) {
      const path = ['tenants', name, 'idps', idp]
      if (ours.has(issuer)) {
        const message = 'this IdP is a tenant of ours: tokens would be taken in a circle'
        report.error(
          'config/issuer-form',
          [...path, 'issuer'],
          message,
          'name the real IdP; for our own tokens use exchangeOwn',
        )
      }
      if (issuer.includes('?')) {
        const message = 'an issuer has no query (OpenID Connect Discovery §3)'
        report.error(
          'config/issuer-form',
          [...path, 'issuer'],
          message,
          'remove what follows the ?',
        )
      }
      const before = issuersHere.get(issuer)
      if (before !== undefined) {
        const message = `idp ${quoted(before)} has the same issuer: whose rules apply would be unclear`
        report.error(
          'config/idp-conflict',
          [...path, 'issuer'],
          message,
          'make one entry of them; audience may be a list',
        )
        continue
      }
      issuersHere.set(issuer, idp)
      // One token accepted by two tenants would let a user of one walk into the other.
      for (const one of typeof audience === 'string' ? [audience] : audience) {
        const key = JSON.stringify([issuer, one])
        const other = accepted.get(key)
        if (other === undefined) accepted.set(key, name)
        else {
          const message = `tenant ${quoted(other)} accepts the same issuer with audience ${quoted(one)}`
          report.error(
            'config/idp-conflict',
            [...path, 'audience'],
            message,
            'register an audience for each tenant at the IdP',
          )
        }
      }
    }
  }
}

/** `iss` is compared byte for byte by everybody (RFC 8414 §3.3), so only one spelling is accepted here. */
function checkForm(issuer: string, path: readonly string[], report: Report): void {
  const complain = (message: string, mend: string) =>
    report.error('config/issuer-form', path, message, mend)
  if (issuer.includes('?')) return complain('our issuer has a query', 'remove what follows the ?')
  if (!URL.canParse(issuer)) return // reported with all URLs
  if (issuer.endsWith('/')) return complain('our issuer ends with a slash', 'remove the slash')
  const url = new URL(issuer)
  const canonical = url.pathname === '/' ? url.origin : url.href
  if (canonical !== issuer)
    complain('our issuer is spelled in an unusual way', `write ${canonical}`)
}
