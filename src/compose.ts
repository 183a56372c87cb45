/** Composition root: the only place that knows which adapter fills which port. */
import { readFile } from 'node:fs/promises'
import { performance } from 'node:perf_hooks'

import { createAdmission } from './admission/admit.ts'
import { createFailedAuthentications } from './admission/failed-auth.ts'
import { createLoadGate, type LoadGate } from './admission/load.ts'
import { createClientAuthentication } from './client/authenticate.ts'
import type { PresentedCredentials } from './client/credentials.ts'
import { composeDependencies, type Dependencies } from './compose-dependencies.ts'
import { type Chore, composeKeys, type KeyHouse, keySettings } from './compose-keys.ts'
import { openStores, type Stores } from './compose-stores.ts'
import { believed, machineTime, settling, type Time, type TimeSource } from './compose-time.ts'
import type { Config } from './config/config.ts'
import { createExchange } from './exchange/exchange.ts'
import { createPreview } from './exchange/preview.ts'
import { createRecords } from './exchange/records.ts'
import { createIssuing } from './exchange/response.ts'
import type { HealthParts } from './http/admin/health.ts'
import { createAdminServer } from './http/admin/server.ts'
import { type HttpServer, type OpenListener, openListener, readTls } from './http/listen.ts'
import type { ListenerOptions } from './http/options.ts'
import { createProbeServer } from './http/probes.ts'
import { createPublicServer } from './http/public/server.ts'
import { createIntrospect } from './issued/introspect.ts'
import type { Keys } from './keys/keys.ts'
import type { SigningAlgorithm } from './keys/options.ts'
import type { RingPolicy } from './keys/ring.ts'
import { type Clock, monotonicClock } from './lib/clock.ts'
import { createSystemRandom, type Random } from './lib/id.ts'
import { VERSION } from './lib/version.ts'
import { createLog, createLogDestination, type Log } from './observe/log.ts'
import { createMetrics, type Metrics } from './observe/metrics.ts'
import { createPolicyRules } from './policy/decide.ts'
import { parseCompactJws } from './subject/jws.ts'
import { ALGORITHM_NAMES } from './subject/options.ts'
import { type OwnTokens, verifyOwnToken } from './subject/own-token.ts'
import { verifySignature } from './subject/signature.ts'
import { createVerifiedCache } from './subject/verified-cache.ts'
import { createSubjectVerifier } from './subject/verify.ts'
import { createTenants } from './tenant/resolve.ts'
import type { Tenant } from './tenant/tenant.ts'

/** What a test or another entry may put in the place of the real part. */
export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly stores: Stores
  readonly log: Log
  /** What `GET /admin/v1/config` shows. */
  readonly describeConfig: () => unknown
  /** Waits of the key ring that differ from the configured ones: tests cannot wait for days, and no configuration may be unsafe. */
  readonly keyPolicy: Partial<RingPolicy>
}

/** Where a deployment listens. */
export interface Addresses {
  readonly public: string
  readonly admin: string
  readonly probes: string
}

/** A deployment, wired and with its keys loaded. */
export interface Deployment {
  readonly public: HttpServer
  readonly admin: HttpServer
  readonly stores: Stores
  readonly keys: Keys
  /** Opens the ports. Rejects when one cannot be opened. */
  listen(): Promise<Addresses>
  /** Stops taking requests, lets those in hand finish, closes the stores. */
  close(): Promise<void>
}

const STDERR = 2
const BOOT_MILLISECONDS = 10_000
const DRAIN_MILLISECONDS = 8000
const HOUSEKEEPING_MILLISECONDS = 60_000
const LEAST_CHORE_MILLISECONDS = 2000
const STORE_PROBE_MILLISECONDS = 1500

/** What every room may be given. */
interface Ground {
  readonly config: Config
  readonly clock: Time
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly stores: Stores
  readonly house: KeyHouse
  readonly outside: Dependencies
}

/** Wires a deployment and loads its keys. Rejects when the store or a key cannot be opened: a half-working server helps nobody. */
export async function compose(config: Config, parts: Partial<Parts> = {}): Promise<Deployment> {
  const ground = await prepare(config, parts)
  const { stores } = ground
  const { keys } = ground.house
  const flows = composeFlows(ground)
  const servers = await composeServers(ground, flows, parts)
  const chores: readonly Chore[] = [...ground.house.chores, housekeeping(ground), settling(ground)]
  const timers = chores.map((chore) => every(chore, ground.log))
  const open: OpenListener[] = []
  const listen = async (server: HttpServer, options: ListenerOptions) => {
    const listener = await openListener(server, options)
    open.push(listener)
    return listener.url
  }
  return {
    public: servers.public,
    admin: servers.admin,
    stores,
    keys,
    async listen() {
      const { admin: adminOptions, probes: probesOptions, public: publicOptions } = config.listen
      const admin = await listen(servers.admin, adminOptions)
      const probes = probesOptions ? await listen(servers.probes, probesOptions) : admin
      // Last: whoever sees the public port open may count on the others.
      return { admin, probes, public: await listen(servers.public, publicOptions) }
    },
    async close() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all(open.map((listener) => listener.close(DRAIN_MILLISECONDS)))
      await ground.outside.close()
      await stores.close()
    },
  }
}

async function prepare(config: Config, parts: Partial<Parts>): Promise<Ground> {
  const random = parts.random ?? createSystemRandom()
  const log = parts.log ?? createLog(createLogDestination(STDERR))
  const metrics = createMetrics()
  const others: TimeSource[] = []
  const clock = parts.clock ? believed(parts.clock) : machineTime(others, log)
  metrics.watchClock(clock.gauges)
  const stores = parts.stores ?? (await openStores(config, { clock, random, log }))
  if (stores.time) others.push(stores.time)
  try {
    const kept = keySettings(config, parts.keyPolicy)
    const settings = () => kept
    const house = composeKeys({ config, clock, random, log, metrics, stores, settings })
    await house.open(AbortSignal.timeout(BOOT_MILLISECONDS))
    const outside = await composeDependencies({ config, clock, random, log, metrics })
    return { config, clock, random, log, metrics, stores, house, outside }
  } catch (error) {
    await stores.close()
    throw error
  }
}

/** The use cases, with the rooms they walk through. */
function composeFlows(ground: Ground) {
  const { config, clock, random, log, metrics, stores } = ground
  const { keys, cutoffs } = ground.house
  const { ledger } = stores
  const { publicKeys, rates } = ground.outside
  const limits = () => config.tokenLimits
  const cutOff = (tenant: string, kid: string) => {
    cutoffs.mustBeFresh()
    return cutoffs.isCutOff(tenant, kid)
  }
  const own: OwnTokens = {
    keyFor: (tenant, kid) => keys.verificationKey(tenant, kid),
    recorded: (tenant, digest, signal) => ledger.holds(tenant, digest, signal),
    cutOff,
  }
  const verifying = { publicKeys, own, cache: createVerifiedCache({ clock }), clock }
  const subjects = createSubjectVerifier(verifying, limits)
  const failures = createFailedAuthentications(
    { store: rates, refused: () => metrics.rateLimited('failed-auth') },
    () => config.rateLimits.failedAuthPerAddress,
  )
  const admission = createAdmission({
    store: rates,
    refused: (_tenant, limit) => metrics.rateLimited(limit),
  })
  const authenticateClient = createClientAuthentication(
    {
      clock,
      publicKeys,
      parseAssertion: (token) => parseCompactJws(token, limits()),
      verifySignature,
      peekPresenter: (token) => subjects.peekPresenter(token),
      algorithms: ALGORITHM_NAMES,
      failed: failures.failed,
    },
    limits,
  )
  const entitlements = ground.outside.entitlements.lookup
  const deciding = { rules: createPolicyRules(), subjects, entitlements, clock }
  return {
    exchange: createExchange({
      ...deciding,
      authenticateClient,
      admission,
      records: createRecords({ ledger, clock, random, log, metrics }),
      issuing: createIssuing({ keys, random }),
      cutOff,
      mustBeSure: clock.mustBeSure,
    }),
    preview: createPreview(deciding),
    introspect: createIntrospect({
      authenticateClient,
      async verifyIssued(tenant, token, signal) {
        clock.mustBeSure()
        return (await verifyOwnToken(verifying, tenant, token, limits(), signal)).payload
      },
      ledger,
      metrics,
    }),
    door(tenant: Tenant, credentials: PresentedCredentials) {
      admission.door(tenant)
      failures.door?.(tenant, credentials)
    },
  }
}

async function composeServers(
  ground: Ground,
  flows: ReturnType<typeof composeFlows>,
  parts: Partial<Parts>,
) {
  const { config, clock, random, log, metrics, stores } = ground
  const { keys, census } = ground.house
  const { ledger, adminTokens } = stores
  const tenants = createTenants(() => config.tenants)
  const load = createLoadGate({
    clock: monotonicClock,
    after: (milliseconds, work) => void setTimeout(work, milliseconds),
    afterTurn: (work) => void setImmediate(work),
    cpu: threadMilliseconds,
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
    upstreams: ground.outside.upstreams,
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
      },
    ),
    admin: createAdminServer(admin, {
      version: VERSION,
      probes: config.listen.probes === undefined,
      tls: await readTls(config.listen.admin, readFile),
    }),
    probes: createProbeServer(probing),
  }
}

function threadMilliseconds(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
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

function housekeeping({ clock, stores }: Ground): Chore {
  return {
    everyMilliseconds: HOUSEKEEPING_MILLISECONDS,
    failed: 'housekeeping failed',
    work: async (signal) => {
      await stores.ledger.expireClaims(clock.now(), signal)
      await stores.adminTokens.expire(clock.now(), signal)
    },
  }
}

/** Does a chore again and again, never twice at once, each time under a deadline; a failure is a log line. */
function every({ everyMilliseconds, deadlineMilliseconds, failed, work }: Chore, log: Log) {
  const deadline = deadlineMilliseconds ?? Math.max(everyMilliseconds * 5, LEAST_CHORE_MILLISECONDS)
  let running = false
  const timer = setInterval(() => {
    if (running) return
    running = true
    work(AbortSignal.timeout(deadline))
      .catch((err: unknown) => log.warn({ err }, failed))
      .finally(() => {
        running = false
      })
  }, everyMilliseconds)
  return timer.unref()
}
