/** The part of the composition root that makes the listeners and what they say of this replica. */
import { readFile } from 'node:fs/promises'
import { performance } from 'node:perf_hooks'
import { createLoadGate, type LoadGate } from './admission/load.ts'
import type { Ground, Parts } from './compose-ground.ts'
import type { Config } from './config/config.ts'
import type { Preview } from './exchange/preview.ts'
import type { HealthParts } from './http/admin/health.ts'
import { createAdminServer } from './http/admin/server.ts'
import { readTls } from './http/listen.ts'
import { createProbeServer } from './http/probes.ts'
import type { PublicDeps } from './http/public/deps.ts'
import { createPublicServer } from './http/public/server.ts'
import type { SigningAlgorithm } from './keys/options.ts'
import { monotonicClock } from './lib/clock.ts'
import { fixed } from './lib/live.ts'
import { VERSION } from './lib/version.ts'
import { ALGORITHM_NAMES } from './subject/options.ts'
import { createTenants } from './tenant/resolve.ts'

const STORE_PROBE_MILLISECONDS = 1500

/** The use cases that are served. */
export interface Flows extends Pick<PublicDeps, 'exchange' | 'introspect' | 'door' | 'full'> {
  readonly preview: Preview
}

/** The listeners, with no port open yet. Rejects when a certificate or key cannot be read. */
export async function composeServers(
  ground: Ground,
  flows: Flows,
  parts: Pick<Partial<Parts>, 'describeConfig'>,
) {
  const { config, clock, random, log, metrics, stores } = ground
  const { keys, census } = ground.house
  const { ledger, adminTokens } = stores
  const tenants = createTenants(fixed(config.tenants))
  const load = createLoadGate({
    clock: monotonicClock,
    after: setTimeout,
    afterTurn: setImmediate,
    cpu: process.threadCpuUsage.bind(process),
  })
  metrics.watchLoad(load.facts)
  const probing = { ready: () => readiness(ground), random, log, metrics }
  const admin = {
    ...probing,
    tokens: adminTokens,
    tenants,
    keys: ground.house.admin,
    preview: flows.preview,
    ledger,
    upstreams: ground.upstreams,
    entitlements: ground.outside.entitlements,
    health: health(ground, load),
    status: () => Promise.resolve(status(config)),
    describeConfig: parts.describeConfig ?? (() => ({ hash: config.hash })),
    clock,
  }
  return {
    public: createPublicServer(
      {
        ...flows,
        load,
        entitlements: ground.outside.entitlements,
        clock,
        tenants,
        jwks: (tenant) => keys.jwks(tenant.name),
        jwksFetched: (tenant, consumer, set) => census.fetched(tenant, consumer, set),
        random,
        log,
        metrics,
      },
      {
        version: VERSION,
        metadata: {
          signingAlgorithms: [...signingAlgorithms(config)],
          assertionAlgorithms: ALGORITHM_NAMES,
        },
        tls: await readTls(config.listen.public, readFile),
        trustedProxies: config.listen.public.trustedProxies,
        bounds: config.listen.public.bounds,
      },
    ),
    admin: createAdminServer(admin, {
      version: VERSION,
      probes: config.listen.probes === undefined,
      tls: await readTls(config.listen.admin, readFile),
      bounds: config.listen.admin.bounds,
    }),
    probes: createProbeServer(probing),
  }
}

/** What `/healthz` asks of what is no upstream. */
function health({ config, stores }: Ground, load: LoadGate): HealthParts {
  const [first = ''] = config.tenants.keys()
  return {
    store: (signal) => stores.rings.load(first, signal),
    keyStore: (signal) =>
      (stores.remoteSigner ?? stores.privateKeys)?.check(signal) ?? Promise.resolve(),
    load: load.facts,
  }
}

function status(config: Config) {
  return {
    version: VERSION,
    profile: config.profile,
    configHash: config.hash,
    store: config.store.kind,
    uptimeSeconds: Math.floor(performance.now() / 1000),
  }
}

function signingAlgorithms({ keys }: Config): ReadonlySet<SigningAlgorithm> {
  return new Set([keys.algorithm, ...Object.values(keys.perTarget)])
}

/** Ready when the store answers and every tenant has a key that signs. */
async function readiness({ config, clock, house: { keys }, stores: { rings } }: Ground) {
  const reasons: string[] = []
  if (!clock.gauges().isSure) reasons.push('the clock was changed and is being checked')
  for (const tenant of config.tenants.keys()) {
    for (const alg of signingAlgorithms(config)) {
      try {
        keys.signingKey(tenant, alg)
      } catch {
        reasons.push(`tenant ${tenant} has no active ${alg} key`)
      }
    }
  }
  const [first] = config.tenants.keys()
  await rings
    .load(first ?? '', AbortSignal.timeout(STORE_PROBE_MILLISECONDS))
    .catch(() => reasons.push('the store does not answer'))
  return { ready: reasons.length === 0, reasons }
}
