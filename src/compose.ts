/** Composition root: the only place that knows which adapter fills which port. */
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'

import { createHttpEntitlementSource } from './adapters/http/entitlement-source.ts'
import { createHttpJsonDocuments } from './adapters/http/json-documents.ts'
import { generateKeyPair } from './adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from './adapters/node-crypto/local-signer.ts'
import { createAdmission } from './admission/admit.ts'
import type { Ledger } from './audit/ledger.ts'
import { createClientAuthentication } from './client/authenticate.ts'
import type { Config } from './config/config.ts'
import { createEntitlementLookup } from './entitlement/lookup.ts'
import { createExchange } from './exchange/exchange.ts'
import { createPreview } from './exchange/preview.ts'
import { createRecords } from './exchange/records.ts'
import { createIssuing } from './exchange/response.ts'
import { createAdminServer } from './http/admin/server.ts'
import type { AdminTokenStore } from './http/admin-tokens.ts'
import { type HttpServer, type OpenListener, openListener, readTls } from './http/listen.ts'
import type { ListenerOptions } from './http/options.ts'
import { createProbeServer } from './http/probes.ts'
import { createPublicServer } from './http/public/server.ts'
import { createIntrospect } from './issued/introspect.ts'
import { createKeys, type Keys } from './keys/keys.ts'
import type { SigningAlgorithm } from './keys/options.ts'
import { createRecordedKeys } from './keys/recorded.ts'
import type { PrivateKeyStore, RingStore } from './keys/store.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import { createSystemRandom, type Random } from './lib/id.ts'
import { VERSION } from './lib/version.ts'
import { createLog, createLogDestination, type Log } from './observe/log.ts'
import { createMetrics, type Metrics } from './observe/metrics.ts'
import { createPolicyRules } from './policy/decide.ts'
import { TOKEN_TTL_CAP_SECONDS } from './policy/options.ts'
import { parseCompactJws } from './subject/jws.ts'
import { ALGORITHM_NAMES } from './subject/options.ts'
import { type OwnTokens, verifyOwnToken } from './subject/own-token.ts'
import { createPublicKeys } from './subject/public-keys.ts'
import { verifySignature } from './subject/signature.ts'
import { createVerifiedCache } from './subject/verified-cache.ts'
import { createSubjectVerifier } from './subject/verify.ts'
import { createTenants } from './tenant/resolve.ts'

/** What a test or another entry may put in the place of the real part. */
export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly stores: Stores
  readonly log: Log
  /** What `GET /admin/v1/config` shows. */
  readonly describeConfig: () => unknown
}

/** All durable state, opened. */
export interface Stores {
  readonly ledger: Ledger
  readonly rings: RingStore
  readonly privateKeys: PrivateKeyStore
  readonly adminTokens: AdminTokenStore
  close(): Promise<void>
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
const FOLLOW_KEYS_MILLISECONDS = 1000
const HOUSEKEEPING_MILLISECONDS = 60_000
const STORE_PROBE_MILLISECONDS = 1500

/** Opens the store that the configuration names and brings its schema up to date. Rejects when it cannot be opened. */
export async function openStores(config: Config, parts: Partial<Parts> = {}): Promise<Stores> {
  const clock = parts.clock ?? systemClock
  const random = parts.random ?? createSystemRandom()
  const { kek } = config.keys
  if (!kek) throw new Error('keys.store.sealed.kek is missing')
  const { parseKek } = await import('./adapters/sql/seal.ts')
  const store = await openStore(config, { clock, random })
  return { ...store, privateKeys: store.privateKeys(parseKek(kek)) }
}

async function openStore(
  { store }: Config,
  deps: { readonly clock: Clock; readonly random: Random },
) {
  if (store.kind === 'postgres') {
    const { createPostgresStore } = await import('./adapters/sql/postgres-store.ts')
    return createPostgresStore(deps, { url: store.url })
  }
  const { createSqliteStore } = await import('./adapters/sql/sqlite-store.ts')
  await mkdir(dirname(store.path), { recursive: true, mode: 0o700 })
  return createSqliteStore(deps, { path: store.path })
}

/** What every room may be given. */
interface Ground {
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly stores: Stores
  readonly keys: Keys
}

/** Wires a deployment and loads its keys. Rejects when the store or a key cannot be opened: a half-working server helps nobody. */
export async function compose(config: Config, parts: Partial<Parts> = {}): Promise<Deployment> {
  const ground = await prepare(config, parts)
  const { log, clock, stores, keys } = ground
  const flows = composeFlows(ground)
  const servers = await composeServers(ground, flows, parts)
  const timers = [
    every(FOLLOW_KEYS_MILLISECONDS, log, 'key rings not read', (signal) => keys.refresh(signal)),
    every(HOUSEKEEPING_MILLISECONDS, log, 'housekeeping failed', async (signal) => {
      await stores.ledger.expireClaims(clock.now(), signal)
      await stores.adminTokens.expire(clock.now(), signal)
    }),
  ]
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
      await flows.close()
      await stores.close()
    },
  }
}

async function prepare(config: Config, parts: Partial<Parts>): Promise<Ground> {
  const clock = parts.clock ?? systemClock
  const random = parts.random ?? createSystemRandom()
  const log = parts.log ?? createLog(createLogDestination(STDERR))
  const stores = parts.stores ?? (await openStores(config, { clock, random }))
  const { rings, privateKeys } = stores
  const keys = createKeys(
    { rings, privateKeys, signer: createLocalSigner(), generateKeyPair, clock, log },
    () => ({
      ...config.keys,
      longestTokenMilliseconds: TOKEN_TTL_CAP_SECONDS * 1000,
      skewMilliseconds: config.tokenLimits.skewSeconds * 1000,
    }),
  )
  try {
    await keys.open([...config.tenants.keys()], AbortSignal.timeout(BOOT_MILLISECONDS))
  } catch (error) {
    await stores.close()
    throw error
  }
  return { config, clock, random, log, metrics: createMetrics(), stores, keys }
}

/** The use cases, with the rooms they walk through. */
function composeFlows({ config, clock, random, log, metrics, stores, keys }: Ground) {
  const { ledger } = stores
  const documents = createHttpJsonDocuments({ allowHttp: config.profile === 'dev' })
  const source = createHttpEntitlementSource()
  const limits = () => config.tokenLimits
  const publicKeys = createPublicKeys({ documents, clock, log })
  const own: OwnTokens = {
    keyFor: (tenant, kid) => keys.verificationKey(tenant, kid),
    recorded: (tenant, digest, signal) => ledger.holds(tenant, digest, signal),
  }
  const verifying = { publicKeys, own, cache: createVerifiedCache({ clock }), clock }
  const subjects = createSubjectVerifier(verifying, limits)
  const authenticateClient = createClientAuthentication(
    {
      clock,
      publicKeys,
      parseAssertion: (token) => parseCompactJws(token, limits()),
      verifySignature,
      peekPresenter: (token) => subjects.peekPresenter(token),
      algorithms: ALGORITHM_NAMES,
    },
    limits,
  )
  const entitlements = createEntitlementLookup({
    source,
    clock,
    onFailure: (tenant, failure) =>
      log.warn(
        { tenant, source: failure.source, kind: failure.kind, err: failure },
        'source failed',
      ),
  })
  const deciding = { rules: createPolicyRules(), subjects, entitlements, clock }
  return {
    exchange: createExchange({
      ...deciding,
      authenticateClient,
      admission: createAdmission({ clock }, () => config.rateLimits),
      records: createRecords({ ledger, clock, random, log, metrics }),
      issuing: createIssuing({ keys, random }),
    }),
    preview: createPreview(deciding),
    introspect: createIntrospect({
      authenticateClient,
      verifyIssued: async (tenant, token, signal) =>
        (await verifyOwnToken(verifying, tenant, token, limits(), signal)).payload,
      ledger,
      metrics,
    }),
    close: () => Promise.all([documents.close(), source.close()]),
  }
}

async function composeServers(
  ground: Ground,
  flows: ReturnType<typeof composeFlows>,
  parts: Partial<Parts>,
) {
  const { config, clock, random, log, metrics, stores, keys } = ground
  const { ledger, rings, adminTokens } = stores
  const tenants = createTenants(() => config.tenants)
  const probing = { ready: () => readiness(config, keys, rings), random, log, metrics }
  const admin = {
    ...probing,
    tokens: adminTokens,
    tenants,
    keys: createRecordedKeys({ keys, rings, ledger, clock, random }),
    preview: flows.preview,
    ledger,
    status: () => Promise.resolve(status(config)),
    describeConfig: parts.describeConfig ?? (() => ({ hash: config.hash })),
    clock,
  }
  return {
    public: createPublicServer(
      { ...flows, tenants, jwks: (tenant) => keys.jwks(tenant.name), random, log, metrics },
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
async function readiness(config: Config, keys: Keys, rings: RingStore) {
  const reasons: string[] = []
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

/** Runs `work` again and again, never twice at once, each time under a deadline; a failure is a log line. */
function every(
  milliseconds: number,
  log: Log,
  message: string,
  work: (signal: AbortSignal) => Promise<unknown>,
) {
  let running = false
  const timer = setInterval(() => {
    if (running) return
    running = true
    work(AbortSignal.timeout(milliseconds * 5))
      .catch((err: unknown) => log.warn({ err }, message))
      .finally(() => {
        running = false
      })
  }, milliseconds)
  return timer.unref()
}
