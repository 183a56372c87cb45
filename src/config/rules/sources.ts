import { webhookKey } from '../../entitlement/options.ts'
import { milliseconds } from '../../lib/option.ts'
import { nearest } from '../nearest.ts'
import { quoted } from '../problem.ts'
import type { TenantValues } from '../schema.ts'
import type { Report } from './report.ts'

type SourceValues = NonNullable<TenantValues['sources']>[string]

/** Rules about the entitlement sources of one tenant. */
export function checkSources(name: string, tenant: TenantValues, report: Report): void {
  const sources = Object.entries(tenant.sources ?? {})
  const idps = Object.keys(tenant.idps)
  for (const [source, config] of sources) {
    const path = ['tenants', name, 'sources', source]
    checkTemplate(config.url, [...path, 'url'], report)
    for (const [index, idp] of (config.idps ?? []).entries())
      checkNamesIdp(idp, idps, [...path, 'idps', index], report)
    checkFailurePolicy(config, path, report)
    const secret = config.auth?.bearer ?? config.auth?.header?.value
    const key = config.auth?.bearer ? ['bearer'] : ['header', 'value']
    // RFC 9110 §5.5: a line break in a header value would begin a header of somebody's choice.
    if (secret && !/^[\x20-\x7e]*$/.test(secret.reveal())) {
      const message = 'what is behind this reference cannot be sent in a header'
      report.error(
        'config/secret-kind',
        [...path, 'auth', ...key],
        message,
        'printable ASCII in one line only',
      )
    }
  }
  if (sources.length === 0) return
  for (const idp of idps) {
    if (sources.some(([, { idps: limited }]) => !limited || limited.includes(idp))) continue
    const message = `no source knows the users of idp ${quoted(idp)}`
    report.warning(
      'config/no-source',
      ['tenants', name, 'idps', idp],
      message,
      'add it to the idps of a source',
    )
  }
}

/** What happens when the source fails must be said whole: half of a policy would be found out on the day it is needed. */
function checkFailurePolicy(config: SourceValues, path: readonly string[], report: Report): void {
  if (config.onFailure === 'limited' && !config.limited) {
    const message = 'onFailure: limited does not say which roles stand in'
    const mend = 'add limited: { roles: [...], ttl: 15m }'
    report.error('config/failure-policy', [...path, 'onFailure'], message, mend)
  }
  if (config.limited && config.onFailure !== 'limited') {
    const message = 'limited has no effect without onFailure: limited'
    report.warning('config/failure-policy', [...path, 'limited'], message, 'remove one of the two')
  }
  const { stale = '0s', staleIfError = '0s' } = config.cache ?? {}
  if (config.onFailure === 'stale' && milliseconds(stale) + milliseconds(staleIfError) === 0) {
    const message =
      'onFailure: stale has nothing to serve: cache.stale and cache.staleIfError are 0s'
    const mend = 'say how old roles may be, e.g. cache: { staleIfError: 15m }'
    report.error('config/failure-policy', [...path, 'onFailure'], message, mend)
  }
  const { batch } = config
  if (
    batch &&
    URL.parse(batch.url)?.origin !== URL.parse(config.url.replaceAll('{user}', 'user'))?.origin
  ) {
    const message = 'the batch endpoint is at another origin than the source'
    const mend = 'the credential of a source goes to one origin: add a source of its own'
    report.error('config/bad-value', [...path, 'batch', 'url'], message, mend)
  }
  if (config.webhook && !webhookKey(config.webhook.secret)) {
    const message = 'what is behind this reference is no webhook secret'
    const mend = 'write whsec_ and at least 24 random bytes in base64'
    report.error('config/secret-kind', [...path, 'webhook', 'secret'], message, mend)
  }
}

/** Says so when a name means no IdP of the tenant. */
export function checkNamesIdp(
  idp: string,
  idps: readonly string[],
  path: readonly (string | number)[],
  report: Report,
): void {
  if (idps.includes(idp)) return
  const guess = nearest(idp, idps)
  const mend = guess ? `did you mean ${quoted(guess)}?` : `known here: ${idps.join(', ')}`
  report.error('config/dangling', path, `no idp of this tenant is called ${quoted(idp)}`, mend)
}

/** The user must be asked about, and must never choose which machine is asked. */
function checkTemplate(url: string, path: readonly string[], report: Report): void {
  const origin = /^https?:\/\/[^/?#]*/.exec(url)?.[0] ?? ''
  const complain = (message: string, mend: string) =>
    report.error('config/bad-value', path, message, mend)
  if (origin.includes('{')) complain('the host depends on the user', 'put {user} into the path')
  else if (!url.includes('{user}'))
    complain('every user would get the same roles', 'put {user} where the user belongs')
  else if (/[{}]/.test(url.replaceAll('{user}', '')))
    complain('only {user} is replaced in this URL', 'remove other braces')
}
