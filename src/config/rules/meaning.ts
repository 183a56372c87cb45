import { milliseconds, seconds } from '../../lib/option.ts'
import { TOKEN_TTL_CAP_SECONDS } from '../../policy/options.ts'
import { MOST_CONSUMERS } from '../../tenant/options.ts'
import type { Findings } from '../problem.ts'
import type { ConfigValues, TenantValues } from '../schema.ts'
import type { Path } from '../tree.ts'
import type { Checked } from '../walk.ts'
import { checkAvailability } from './availability.ts'
import { checkClients } from './clients.ts'
import { checkDeployment, checkScheme, checkUrls } from './deployment.ts'
import { checkIdps } from './idps.ts'
import { checkIssuers } from './issuers.ts'
import { checkKeys } from './keys.ts'
import { createReport, type Report } from './report.ts'
import { checkSharedState } from './shared-state.ts'
import { checkSources } from './sources.ts'

/**
 * Checks what a configuration means. Sections whose shape is broken are left out: what would be said about them
 * follows from the break, and goes when it is mended.
 */
export function checkMeaning(
  checked: Checked,
  readText: (path: string) => string | undefined,
  findings: Findings,
): void {
  const report = createReport(findings, checked.places)
  checkAvailability(checked, (path) => valueAt(checked.value, path), report)
  if (!isRecord(checked.value)) return
  const isDev = checked.value['profile'] === 'dev'
  checkUrls(checked, isDev, report)
  if (isDeployment(checked.value, findings)) {
    checkDeployment(checked.value, readText, report)
    checkSharedState(checked.value, report)
  }
  const { tenants } = checked.value
  if (!isRecord(tenants)) return
  if (Object.keys(tenants).length === 0 && findings.isSound(['tenants']))
    report.error('config/missing-key', ['tenants'], 'there is no tenant', 'add one below tenants')
  const sound = new Map<string, TenantValues>()
  for (const [name, tenant] of Object.entries(tenants))
    if (isTenant(tenant, name, findings)) sound.set(name, tenant)
  checkIssuers(sound, report)
  for (const [name, tenant] of sound) checkTenant(name, tenant, isDev, report)
  if (isDeployment(checked.value, findings))
    checkKeys(checked.value, { tree: checked, tenants: sound, readText }, report)
}

function checkTenant(name: string, tenant: TenantValues, isDev: boolean, report: Report): void {
  checkIdps(name, tenant, report)
  checkConsumers(name, tenant, report)
  checkSources(name, tenant, report)
  checkClients(name, tenant, report)
  const path = ['tenants', name]
  const ttl = tenant.tokens?.ttl ?? '12h'
  if (seconds(ttl) > TOKEN_TTL_CAP_SECONDS) {
    const message = `tokens would live for ${ttl}; no token of ours lives longer than 12h`
    report.error('config/ttl-over-cap', [...path, 'tokens', 'ttl'], message, 'write 12h or less')
  }
  if (milliseconds(ttl) < 1000)
    report.error(
      'config/bad-value',
      [...path, 'tokens', 'ttl'],
      `tokens would live for ${ttl}`,
      'write 1s or more',
    )
  for (const [index, origin] of (tenant.cors?.origins ?? []).entries())
    checkOrigin(origin, [...path, 'cors', 'origins', index], isDev, report)
}

function checkConsumers(name: string, { consumers = {} }: TenantValues, report: Report): void {
  const { length } = Object.keys(consumers)
  if (length <= MOST_CONSUMERS) return
  const path = ['tenants', name, 'consumers']
  report.error('config/bad-value', path, `there are ${length} consumers`, 'name 200 at most')
}

/** `*` and `null` would let any page in; an origin has no path (RFC 6454 §6.1). */
function checkOrigin(origin: string, path: Path, isDev: boolean, report: Report): void {
  const url = URL.canParse(origin) ? new URL(origin) : undefined
  if (url?.origin !== origin || !/^https?:/.test(origin)) {
    const mend = 'write https://host, without path or slash at the end; * is never accepted'
    report.error('config/bad-value', path, 'this is no origin', mend)
  } else checkScheme(url, path, isDev, report)
}

/** True when the sections about the process are of the type their schema says. */
function isDeployment(value: unknown, findings: Findings): value is ConfigValues {
  const sections = ['profile', 'listen', 'store', 'cache', 'outbound', 'keys', 'limits']
  return isRecord(value) && sections.every((section) => findings.isSound([section]))
}

function isTenant(value: unknown, name: string, findings: Findings): value is TenantValues {
  return isRecord(value) && findings.isSound(['tenants', name])
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (inner, step) => (isRecord(inner) && Object.hasOwn(inner, step) ? inner[step] : undefined),
    value,
  )
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
