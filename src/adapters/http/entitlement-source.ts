import type { Pool } from 'undici'
import type { Source } from '../../entitlement/options.ts'
import type { EntitlementSource, SourceExchange } from '../../entitlement/source.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Egress } from './egress.ts'
import { originOf } from './source-address.ts'
import { createBatches } from './source-batches.ts'
import { createPages, type ReadRoles } from './source-pages.ts'
import { asFailure } from './source-request.ts'

/** What the adapter works with. */
export interface HttpEntitlementSourceDeps {
  /** Opens connections, to addresses that may be called. */
  readonly egress: Egress
  /** The wall clock, for a `Retry-After` that is a date. */
  readonly clock: Clock
  /** Told of each answer, right before it is judged. */
  readonly observed?: (exchange: SourceExchange) => void
}

/** An {@link EntitlementSource} over HTTP, with connections of its own. */
export interface HttpEntitlementSource extends EntitlementSource {
  /** Ends every connection; calls under way fail. */
  close(): Promise<void>
}

/**
 * Reads roles from HTTP APIs: page by page, or for many users at once where a source has an endpoint for that.
 *
 * Trusts nothing about an answer but what the configuration says it is. No redirect is followed and no link leaves the
 * configured origin, so the credential goes nowhere else and a source cannot make us call inside our network.
 *
 * Each source of each tenant has connections of its own, `source.concurrency` at most: one that hangs holds up nobody else.
 */
export function createHttpEntitlementSource({
  egress,
  clock,
  observed,
}: HttpEntitlementSourceDeps): HttpEntitlementSource {
  const readers = new WeakMap<Source, ReadRoles>()
  // Weak, as the pool of a source that was configured away is of no use to anybody; its sockets close within seconds.
  const pools = new Set<WeakRef<Pool>>()

  function readerOf(source: Source): ReadRoles {
    let read = readers.get(source)
    if (!read) {
      const pool = egress.pool(originOf(source.url), {
        connections: source.concurrency,
        connectMilliseconds: source.connectMilliseconds,
      })
      const line = { source, pool, clock, observed }
      read = source.batch ? createBatches(line, source.batch) : createPages(line)
      keep(pool)
      readers.set(source, read)
    }
    return read
  }

  function keep(pool: Pool): void {
    for (const kept of pools) if (kept.deref() === undefined) pools.delete(kept)
    pools.add(new WeakRef(pool))
  }

  return {
    async rolesOf(source, user, maxRoles, signal) {
      try {
        signal.throwIfAborted()
        return await readerOf(source)(user, maxRoles, signal)
      } catch (error) {
        throw asFailure(source, error, signal)
      }
    },
    async close() {
      await Promise.all(Array.from(pools, async (kept) => kept.deref()?.destroy()))
    },
  }
}
