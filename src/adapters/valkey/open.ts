import type { RateStore } from '../../admission/rate-store.ts'
import type { SharedAnswers } from '../../entitlement/shared-answers.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import type { Upstream, UpstreamOptions, Upstreams } from '../../resilience/upstream.ts'
import { type CacheKeys, deriveCacheKeys } from './cache-keys.ts'
import { createValkey, MOST_IN_FLIGHT, type Valkey, type ValkeyOptions } from './connection.ts'
import { listenToValkey } from './listener.ts'
import { createValkeyRateStore } from './rate-store.ts'
import { createValkeySharedAnswers, PURGE_CHANNEL } from './shared-answers.ts'

/** What the parts are given. */
export interface OpenValkeyDeps {
  readonly clock: Clock
  readonly random: Random
  readonly upstreams: Upstreams
  /** All tenants: what may have been purged while nothing was heard. */
  readonly tenants: () => Iterable<string>
  /**
   * Told of either connection when it can be used, and when it no longer can, with a reason that names no address. For the log: without the one limits
   * are counted alone, without the other the purges of other replicas are not heard until it is back.
   */
  readonly changed: (connection: 'commands' | 'purges', up: boolean, reason: string) => void
}

/** What replicas share through one Valkey. */
export interface OpenedValkey {
  readonly rates: RateStore
  /** Undefined without `seal`: nothing that makes roles is kept where others could write it. */
  readonly answers: SharedAnswers | undefined
  close(): Promise<void>
}

/**
 * Commands end by themselves after 50 ms, and waiting for a place would be waiting in vain; nothing is tried again, as callers have a way to
 * go on without. The total only backs that up: at 50 ms as well, it would come before a reply that a busy process has not read yet.
 */
const CACHE: UpstreamOptions = {
  name: 'cache',
  tenant: undefined,
  kind: 'cache',
  totalMilliseconds: 200,
  concurrency: MOST_IN_FLIGHT,
  judge: (error) => ({
    kind: 'failure',
    retryable: false,
    ...(error instanceof Error ? { summary: error.message } : {}),
  }),
  bounds: { queue: 0, retries: 0, openMilliseconds: 1000 },
}

/** Opens Valkey and does not wait for it. @throws {TypeError} when the URL or the seal is none; neither is in the message. */
export function openValkey(
  { clock, random, upstreams, tenants, changed }: OpenValkeyDeps,
  { url, seal }: Pick<ValkeyOptions, 'url'> & { readonly seal: Secret | undefined },
): OpenedValkey {
  const keys = seal && deriveCacheKeys(seal)
  const upstream: Pick<Upstream, 'call'> = { call: (work) => upstreams.for(CACHE).call(work) }
  const told = (connection: 'commands' | 'purges') => (up: boolean, reason: string) =>
    changed(connection, up, reason)
  const valkey = createValkey({ upstream, random, changed: told('commands') }, { url })
  const heard = { valkey, clock, random, tenants, changed: told('purges') }
  const shared = keys && openAnswers({ ...heard, keys }, url)
  return {
    rates: createValkeyRateStore({ valkey, nameKey: keys?.names }),
    answers: shared?.answers,
    async close() {
      await Promise.all([valkey.close(), shared?.close()])
    },
  }
}

function openAnswers(
  deps: Pick<OpenValkeyDeps, 'clock' | 'random' | 'tenants'> & {
    readonly valkey: Valkey
    readonly keys: CacheKeys
    readonly changed: (up: boolean, reason: string) => void
  },
  url: Secret,
) {
  const answers = createValkeySharedAnswers(deps)
  const listener = listenToValkey(deps, { url }, PURGE_CHANNEL, answers.hearing)
  return { answers, close: listener.close }
}
