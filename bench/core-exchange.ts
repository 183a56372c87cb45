/**
 * One exchange without HTTP and without a disk: everything from the parsed form to the signed token, through the real
 * rooms, with roles and records in memory. Its cost against the crypto bound says how much of the time is ours.
 *
 * From the sources and not the build: once loaded, both are the same code.
 */
import { randomBytes } from 'node:crypto'
import { createMemoryPrivateKeyStore } from '../src/adapters/memory/private-key-store.ts'
import { createMemoryRateStore } from '../src/adapters/memory/rate-store.ts'
import { createMemoryRingStore } from '../src/adapters/memory/ring-store.ts'
import { generateKeyPair } from '../src/adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from '../src/adapters/node-crypto/local-signer.ts'
import { createAdmission } from '../src/admission/admit.ts'
import { createClientAuthentication } from '../src/client/authenticate.ts'
import { machineTime } from '../src/compose-time.ts'
import type { Config } from '../src/config/config.ts'
import { loadConfig } from '../src/config/load.ts'
import { createEntitlementLookup } from '../src/entitlement/lookup.ts'
import { createExchange } from '../src/exchange/exchange.ts'
import { createRecords } from '../src/exchange/records.ts'
import { parseExchangeParameters } from '../src/exchange/request.ts'
import { createIssuing } from '../src/exchange/response.ts'
import { createKeys } from '../src/keys/keys.ts'
import { createStoredHalves } from '../src/keys/stored-halves.ts'
import { createSystemRandom, newTraceId } from '../src/lib/id.ts'
import { Secret } from '../src/lib/secret.ts'
import { createLog } from '../src/observe/log.ts'
import { createMetrics } from '../src/observe/metrics.ts'
import { createPolicyRules } from '../src/policy/decide.ts'
import { TOKEN_TTL_CAP_SECONDS } from '../src/policy/options.ts'
import { createUpstreams } from '../src/resilience/upstreams.ts'
import { parseCompactJws } from '../src/subject/jws.ts'
import { ALGORITHM_NAMES } from '../src/subject/options.ts'
import { createPublicKeys } from '../src/subject/public-keys.ts'
import { verifySignature } from '../src/subject/signature.ts'
import { createVerifiedCache } from '../src/subject/verified-cache.ts'
import { createSubjectVerifier } from '../src/subject/verify.ts'
import { createNoLedger } from './no-ledger.ts'
import { benchConfig } from './rolemint-config.ts'
import { BENCH_CLIENT, BENCH_TARGET } from './subject-tokens.ts'
import { BENCH_SOURCE_ROLES, EXCHANGE_GRANT, JWT_TYPE } from './vocabulary.ts'

/** What the bench hands over. */
export interface CoreExchangeSetup {
  /** Public key of the bench's IdP, as it goes into `idps.<name>.jwks`. */
  readonly idpPublicJwk: Readonly<Record<string, unknown>>
}

/** Exchanges one subject token. @throws {Error} when the exchange is refused. */
export type CoreExchange = (subjectToken: string) => Promise<unknown>

const KEK_FILE = '/bench/kek'
const CONFIG_FILE = '/bench/bench.yaml'
const BOOT_MILLISECONDS = 10_000

/** Builds the exchange with the configuration of the rolemint that is measured over HTTP. */
export async function createCoreExchange(setup: CoreExchangeSetup): Promise<CoreExchange> {
  const clientSecret = randomBytes(32).toString('base64url')
  const config = readConfig(setup, clientSecret)
  const tenant = config.tenants.get('bench')
  if (!tenant) throw new Error('the configuration has no tenant bench')
  const exchange = await composeExchange(config)
  const random = createSystemRandom()
  const credentials = { clientId: BENCH_CLIENT, clientSecret: new Secret(clientSecret) }
  // Over HTTP many requests share one of these too.
  const { signal } = new AbortController()
  return (subjectToken) => {
    const parameters = {
      single: new Map([
        ['grant_type', EXCHANGE_GRANT],
        ['subject_token', subjectToken],
        ['subject_token_type', JWT_TYPE],
      ]),
      audience: [BENCH_TARGET],
      resource: [],
    }
    const request = parseExchangeParameters(parameters, credentials, newTraceId(random))
    return exchange(tenant, request, signal)
  }
}

function readConfig({ idpPublicJwk }: CoreExchangeSetup, clientSecret: string): Config {
  const text = benchConfig({
    clientSecret,
    idpPublicJwk,
    // No port is opened and no file is made: ports, URLs and database are only there to be well-formed.
    port: 1,
    adminPort: 2,
    entitlementsPort: 3,
    databaseFile: '/bench/rolemint.db',
    kekFile: KEK_FILE,
  })
  const kek = randomBytes(32).toString('base64url')
  const read = (path: string) => (path === KEK_FILE ? kek : text)
  return loadConfig({ path: CONFIG_FILE, files: { read }, env: {} }).config
}

/** As `src/compose.ts` wires it, except for what the bench leaves out. */
async function composeExchange(config: Config) {
  const random = createSystemRandom()
  const log = createLog({ write: () => undefined }, 'silent')
  const clock = machineTime([], log)
  const limits = () => config.tokenLimits
  const signer = createLocalSigner()
  const privateKeys = createMemoryPrivateKeyStore()
  const keys = createKeys(
    {
      rings: createMemoryRingStore(),
      custody: createStoredHalves({ privateKeys, signer, generateKeyPair }),
      signer,
      chance: Math.random,
      clock,
      log,
    },
    () => ({
      ...config.keys,
      longestTokenMilliseconds: TOKEN_TTL_CAP_SECONDS * 1000,
      skewMilliseconds: config.tokenLimits.skewSeconds * 1000,
    }),
  )
  await keys.open([...config.tenants.keys()], AbortSignal.timeout(BOOT_MILLISECONDS))
  const ledger = createNoLedger()
  const publicKeys = createPublicKeys({ documents: { fetch: notHere }, clock, log })
  const subjects = createSubjectVerifier(
    {
      publicKeys,
      own: {
        keyFor: (name, kid) => keys.verificationKey(name, kid),
        recorded: (name, digest, signal) => ledger.holds(name, digest, signal),
        cutOff: () => false,
      },
      cache: createVerifiedCache({ clock }),
      clock,
    },
    limits,
  )
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
  return createExchange({
    cutOff: () => false,
    mustBeSure: clock.mustBeSure,
    rules: createPolicyRules(),
    subjects,
    entitlements: createEntitlementLookup({
      source: { rolesOf },
      clock,
      random,
      upstreams: createUpstreams({ random }),
    }).lookup,
    clock,
    authenticateClient,
    admission: createAdmission({ store: createMemoryRateStore() }),
    records: createRecords({
      ledger,
      clock,
      random,
      log,
      metrics: createMetrics({ defaults: false }),
    }),
    issuing: createIssuing({ keys, random }),
  })
}

function rolesOf() {
  return Promise.resolve({ known: true as const, roles: BENCH_SOURCE_ROLES })
}

function notHere(): Promise<never> {
  return Promise.reject(new Error('the bench fetches nothing'))
}
