/** The part of the composition root that wires what rolemint calls and what it shares: upstreams, sources, key documents, Valkey. */
import {
  createDiskKeySnapshots,
  DISK_KEY_SNAPSHOT_DEFAULTS,
} from './adapters/disk/key-snapshots.ts'
import { createEgress, type EgressOptions } from './adapters/http/egress.ts'
import {
  createHttpEntitlementSource,
  type HttpEntitlementSource,
  type HttpEntitlementSourceDeps,
} from './adapters/http/entitlement-source.ts'
import { judgeHttp } from './adapters/http/http-failure.ts'
import { createHttpJsonDocuments } from './adapters/http/json-documents.ts'
import { createMemoryRateStore } from './adapters/memory/rate-store.ts'
import type { RateStore } from './admission/rate-store.ts'
import { createSharedOrLocal } from './admission/shared-or-local.ts'
import type { Config } from './config/config.ts'
import { createEntitlementLookup, type EntitlementLookup } from './entitlement/lookup.ts'
import type { SharedAnswers } from './entitlement/shared-answers.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import type { Random } from './lib/id.ts'
import type { Log } from './observe/log.ts'
import type { Metrics } from './observe/metrics.ts'
import type { UpstreamOptions, UpstreamState, Upstreams } from './resilience/upstream.ts'
import { createUpstreams } from './resilience/upstreams.ts'
import type { PublicKeys } from './subject/keys.ts'
import { createPublicKeys } from './subject/public-keys.ts'

/** What the wiring is given. */
interface Ground {
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly upstreams: Upstreams
}

/** What rolemint asks, and what replicas share. */
export interface Dependencies {
  readonly publicKeys: PublicKeys
  readonly entitlements: EntitlementLookup
  readonly rates: RateStore
  close(): Promise<void>
}

/** Wires them; opens no connection but that to Valkey, which is not waited for. */
export async function composeDependencies(ground: Ground): Promise<Dependencies> {
  const { config, clock, random, log, metrics, upstreams } = ground
  const isDev = config.profile === 'dev'
  const egress = createEgress({ allow: config.outboundAllow, allowLoopback: isDev })
  const documents = createHttpJsonDocuments({ allowHttp: isDev }, { egress, clock })
  const folder = config.keySnapshots
  const snapshots =
    folder === undefined
      ? undefined
      : createDiskKeySnapshots({ random }, { folder, ...DISK_KEY_SNAPSHOT_DEFAULTS })
  const source = createHttpEntitlementSource({ egress, clock })
  const cache = await openCache(ground)
  const entitlements = createEntitlementLookup({
    source,
    clock,
    random,
    upstreams,
    shared: cache.answers,
    onFailure: (tenant, failure) =>
      log.warn(
        { tenant, source: failure.source, kind: failure.kind, err: failure },
        'source failed',
      ),
    sharedFailed: (err) => log.debug({ err }, 'shared answers failed'),
    outcome: metrics.entitlements,
    unexpected: (err) => log.error({ err }, 'a look-up that nobody waited for failed on a bug'),
  })
  metrics.watchCaches(() => [{ cache: 'entitlements', ...entitlements.facts() }])
  return {
    publicKeys: createPublicKeys({
      documents,
      clock,
      upstreams,
      judge: judgeHttp,
      snapshots,
      log,
    }),
    entitlements,
    rates: cache.rates,
    async close() {
      entitlements.close()
      await Promise.all([documents.close(), source.close(), cache.close()])
    },
  }
}

/** The adapter that asks entitlement sources, by itself: for checking whether a source keeps the contract. */
export function openSource(
  reach: EgressOptions,
  observed: NonNullable<HttpEntitlementSourceDeps['observed']>,
): HttpEntitlementSource {
  return createHttpEntitlementSource({ egress: createEgress(reach), clock: systemClock, observed })
}

const STATES: Readonly<Record<UpstreamState, number>> = {
  closed: 0,
  probing: 1,
  open: 2,
  'held-open': 3,
}

function labels({ kind, tenant = '', name }: UpstreamOptions) {
  return { kind, tenant, upstream: name }
}

/** The dependencies of a deployment. What they tell goes to the metrics; changes of a breaker to the log as well. */
export function composeUpstreams({
  random,
  log,
  metrics,
}: Omit<Ground, 'config' | 'clock' | 'upstreams'>): Upstreams {
  const observe = {
    finished: (of: UpstreamOptions, end: { readonly outcome: string; readonly seconds: number }) =>
      metrics.upstreamCall(labels(of), end.outcome, end.seconds),
    retried: (of: UpstreamOptions) => metrics.upstreamRetry(labels(of)),
    stateChanged(of: UpstreamOptions, state: UpstreamState) {
      metrics.upstreamState(labels(of), STATES[state])
      const tell = { tenant: of.tenant, upstream: of.name, state }
      if (state === 'closed') log.info(tell, 'a breaker closed: the dependency is asked again')
      else log.warn(tell, 'a breaker changed its state')
    },
    forgotten: (of: UpstreamOptions) => metrics.upstreamForgotten(labels(of)),
  }
  return createUpstreams({ random, observe })
}

/** What replicas share, or what stands for it in a single process. */
interface Cache {
  readonly rates: RateStore
  readonly answers: SharedAnswers | undefined
  close(): Promise<void>
}

const NO_CACHE_TO_CLOSE = () => Promise.resolve()

async function openCache(ground: Ground): Promise<Cache> {
  const { config, clock, random, log, metrics, upstreams } = ground
  const local = createMemoryRateStore()
  const { cache } = config
  if (cache.kind === 'memory') {
    return { rates: local, answers: undefined, close: NO_CACHE_TO_CLOSE }
  }
  const { openValkey } = await import('./adapters/valkey/open.ts')
  const valkey = openValkey(
    {
      clock,
      random,
      upstreams,
      tenants: () => config.tenants.keys(),
      changed: (connection, up, reason) =>
        up
          ? log.info({ connection, reason }, 'the shared cache answers')
          : log.warn({ connection, reason }, 'the shared cache does not answer'),
    },
    cache,
  )
  const shared = createSharedOrLocal(
    { shared: valkey.rates, local, countedAlone: () => metrics.rateFallback() },
    () => cache.replicas,
  )
  return { rates: shared, answers: valkey.answers, close: () => valkey.close() }
}
