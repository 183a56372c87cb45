/** Composition root: the only place that knows which adapter fills which port. */
import { createAdmission, createDoor } from './admission/admit.ts'
import { createFailedAuthentications } from './admission/failed-auth.ts'
import { createClientAuthentication } from './client/authenticate.ts'
import { type Ground, type Parts, prepare } from './compose-ground.ts'
import type { Chore } from './compose-keys.ts'
import { composeServers, type Flows } from './compose-servers.ts'
import type { Stores } from './compose-stores.ts'
import { settling } from './compose-time.ts'
import type { Config } from './config/config.ts'
import { createExchange } from './exchange/exchange.ts'
import { createPreview } from './exchange/preview.ts'
import { createRecords } from './exchange/records.ts'
import { createIssuing } from './exchange/response.ts'
import { type HttpServer, type OpenListener, openListener } from './http/listen.ts'
import type { ListenerOptions } from './http/options.ts'
import { createIntrospect } from './issued/introspect.ts'
import type { Keys } from './keys/keys.ts'
import { fixed } from './lib/live.ts'
import type { Log } from './observe/log.ts'
import { createPolicyRules } from './policy/decide.ts'
import { parseCompactJws } from './subject/jws.ts'
import { ALGORITHM_NAMES } from './subject/options.ts'
import { type OwnTokens, verifyOwnToken } from './subject/own-token.ts'
import { verifySignature } from './subject/signature.ts'
import { createVerifiedCache } from './subject/verified-cache.ts'
import { createSubjectVerifier } from './subject/verify.ts'

export type { Parts } from './compose-ground.ts'

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

const DRAIN_MILLISECONDS = 8000
const HOUSEKEEPING_MILLISECONDS = 60_000
const LEAST_CHORE_MILLISECONDS = 2000

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

/** The use cases, with the rooms they walk through. */
function composeFlows(ground: Ground): Flows {
  const { config, clock, random, log, metrics, stores } = ground
  const { keys, cutoffs } = ground.house
  const { ledger } = stores
  const { publicKeys, rates } = ground.outside
  const limits = fixed(config.tokenLimits)
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
    fixed(config.rateLimits.failedAuthPerAddress),
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
    door: createDoor({ admission, failures }),
    full: admission.full,
  }
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

/** How often a chore that goes on failing says so: each time would fill the log, four lines a second. */
const STILL_FAILING_MILLISECONDS = 30_000

/** Does a chore again and again, never twice at once, each time under a deadline. Its first failure is a log line, and its first success after that. */
function every({ everyMilliseconds, deadlineMilliseconds, failed, work }: Chore, log: Log) {
  const deadline = deadlineMilliseconds ?? Math.max(everyMilliseconds * 5, LEAST_CHORE_MILLISECONDS)
  let running = false
  let failures = 0
  let toldAt = 0
  const wentWell = (): void => {
    if (failures > 0) log.info({ chore: failed, failures }, 'well again')
    failures = 0
  }
  const wentWrong = (err: unknown): void => {
    failures += 1
    const now = performance.now()
    if (failures > 1 && now - toldAt < STILL_FAILING_MILLISECONDS) return
    toldAt = now
    log.warn({ err, failures }, failed)
  }
  const timer = setInterval(() => {
    if (running) return
    running = true
    work(AbortSignal.timeout(deadline))
      .then(wentWell, wentWrong)
      .finally(() => {
        running = false
      })
  }, everyMilliseconds)
  return timer.unref()
}
