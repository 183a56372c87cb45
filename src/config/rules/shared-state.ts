import type { ConfigValues } from '../schema.ts'
import { checkNetworks } from './deployment.ts'
import type { Report } from './report.ts'

/** Shorter secrets can be guessed by whoever can read the cache. */
const LEAST_SEAL_BYTES = 32

/** Rules about the cache that replicas share, and about where calls may go. */
export function checkSharedState(values: ConfigValues, report: Report): void {
  checkNetworks(values.outbound?.allow ?? [], ['outbound', 'allow'], report)
  for (const [index, network] of (values.outbound?.allow ?? []).entries()) {
    // One typo, and every source could make us call every machine of the network we are in.
    if (/\/0+$/.test(network)) {
      const message = 'this allows every address there is'
      const mend = 'name the networks where IdPs and sources are'
      report.error('config/bad-value', ['outbound', 'allow', index], message, mend)
    }
  }
  const { cache } = values
  if (cache === undefined || cache === 'memory') return checkCountedAlone(values, report)
  if (!/^(redis|valkey)s?:\/\/[^\s]+$/.test(cache.valkey.reveal())) {
    const message = 'what is behind cache.valkey is no redis:// URL'
    const mend = 'write redis://user:password@host:6379/0, or rediss:// for TLS'
    report.error('config/secret-kind', ['cache', 'valkey'], message, mend)
  }
  if (cache.seal && Buffer.byteLength(cache.seal.reveal()) < LEAST_SEAL_BYTES) {
    const message = `what is behind cache.seal has fewer than ${LEAST_SEAL_BYTES} bytes`
    const mend = 'write 32 random bytes in base64, the same on all replicas'
    report.error('config/secret-kind', ['cache', 'seal'], message, mend)
  }
}

/** With PostgreSQL there are several processes, as a rule: limits counted in each of them are not what was written. */
function checkCountedAlone({ store, limits }: ConfigValues, report: Report): void {
  if (!store?.postgres || limits?.perProcess === true) return
  for (const limit of ['perClient', 'perSubject', 'perTenant', 'total'] as const) {
    if (limits?.[limit] === undefined) continue
    const message = `limits.${limit} would be counted in each process alone`
    const mend = 'set cache.valkey, or limits.perProcess: true to mean just that'
    report.error('config/per-process', ['limits', limit], message, mend)
  }
}
