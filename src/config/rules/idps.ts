import { milliseconds } from '../../lib/option.ts'
import { quoted } from '../problem.ts'
import type { TenantValues } from '../schema.ts'
import type { Report } from './report.ts'

const DOMAIN = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i

/** Rules about the IdPs of one tenant. */
export function checkIdps(name: string, { idps }: TenantValues, report: Report): void {
  const all = Object.entries(idps)
  for (const [idp, config] of all) {
    const path = ['tenants', name, 'idps', idp]
    if (config.jwks && config.jwksUri) {
      const message = 'jwks and jwksUri both say where the keys are'
      report.error('config/conflict', [...path, 'jwksUri'], message, 'keep one of them')
    }
    if (config.presenters?.includes('any') && config.presenters.length > 1) {
      const message = '"any" stands beside other presenters, which then mean nothing'
      report.error(
        'config/bad-value',
        [...path, 'presenters'],
        message,
        'keep [any] alone, or remove it',
      )
    }
    if (config.maxAge !== undefined && milliseconds(config.maxAge) === 0)
      report.error('config/bad-value', [...path, 'maxAge'], 'no token is that young', 'write 1h')
    for (const [index, domain] of (config.upnDomains ?? []).entries()) {
      if (!DOMAIN.test(domain)) {
        const place = [...path, 'upnDomains', index]
        report.error(
          'config/bad-value',
          place,
          `${quoted(domain)} is no domain`,
          'write example.com, without @ and *',
        )
      }
    }
  }
  if (all.length > 1) checkTogether(name, all, report)
}

type Idps = readonly [string, TenantValues['idps'][string]][]

/** From the second IdP on, nobody may become somebody else by coming through the other one. */
function checkTogether(name: string, all: Idps, report: Report): void {
  for (const [idp, config] of all) {
    if (config.upnDomains) continue
    const message = `tenant ${quoted(name)} has ${all.length} IdPs, and ${quoted(idp)} may present any UPN`
    report.error(
      'config/upn-domains',
      ['tenants', name, 'idps', idp],
      message,
      'add upnDomains: [its domains]',
    )
  }
  const seen: { idp: string; prefix: string }[] = []
  for (const [idp, { subjectPrefix: prefix = '' }] of all) {
    const clash = seen.find((other) =>
      prefix === '' || other.prefix === ''
        ? prefix === other.prefix
        : prefix.startsWith(other.prefix) || other.prefix.startsWith(prefix),
    )
    seen.push({ idp, prefix })
    if (!clash) continue
    const path = ['tenants', name, 'idps', idp]
    if (prefix === '') {
      const message = `neither ${quoted(clash.idp)} nor ${quoted(idp)} has a subjectPrefix: the same sub would be the same person`
      report.error('config/subject-prefix', path, message, `add subjectPrefix: "${idp}:"`)
    } else {
      const message = `the subjectPrefix of ${quoted(clash.idp)} begins like this one: a sub could be read as either`
      report.error('config/subject-prefix', [...path, 'subjectPrefix'], message, `write "${idp}:"`)
    }
  }
}
