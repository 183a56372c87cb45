/** The part of the composition root that wires the signing keys: who holds them, who follows them, who tells of them. */
import { generateKeyPair } from './adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from './adapters/node-crypto/local-signer.ts'
import type { Stores } from './compose-stores.ts'
import type { Config } from './config/config.ts'
import { type CutoffRules, createCutoffRules } from './cutoff/rules.ts'
import type { AdminKeys } from './http/admin/deps.ts'
import { type Census, censusOf, createCensus, isSeenByAll } from './keys/census.ts'
import { createKeys, type Keys, type KeysSettings } from './keys/keys.ts'
import type { Custody } from './keys/private-halves.ts'
import { createRecordedKeys, type RecordedKeysDeps } from './keys/recorded.ts'
import { createRemoteHalves } from './keys/remote-halves.ts'
import type { RingKey, RingPolicy } from './keys/ring.ts'
import { createStoredHalves } from './keys/stored-halves.ts'
import { createTransitionRecords } from './keys/transitions.ts'
import { createKeyWatch } from './keys/watch.ts'
import { type Clock, monotonicClock } from './lib/clock.ts'
import type { Random } from './lib/id.ts'
import type { Log } from './observe/log.ts'
import type { Metrics } from './observe/metrics.ts'
import { TOKEN_TTL_CAP_SECONDS } from './policy/options.ts'
import type { Tenant } from './tenant/tenant.ts'

/** Something to be done again and again. */
export interface Chore {
  readonly everyMilliseconds: number
  /** How long one round may take; left out: five times as long as its interval, 2 s at least. */
  readonly deadlineMilliseconds?: number
  /** Log line of a failure. */
  readonly failed: string
  readonly work: (signal: AbortSignal) => Promise<unknown>
}

/** All that has to do with signing keys. */
export interface KeyHouse {
  readonly keys: Keys
  readonly cutoffs: CutoffRules
  readonly census: Census
  readonly admin: AdminKeys
  readonly chores: readonly Chore[]
  /** Reads the cut-offs and opens the rings. Rejects when either fails: a half-working server helps nobody. */
  open(signal: AbortSignal): Promise<void>
}

interface KeyGround {
  readonly config: Config
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly stores: Stores
  /** Made once by {@link keySettings}: it is asked for with every token. */
  readonly settings: () => KeysSettings
}

const FOLLOW_CUTOFFS_MILLISECONDS = 250
const CUTOFFS_STALE_MILLISECONDS = 1000
const CUTOFF_POLL_MILLISECONDS = 600
const FOLLOW_KEYS_MILLISECONDS = 1000
const WATCH_KEYS_MILLISECONDS = 5000
const REPORT_USE_MILLISECONDS = 30_000

/** Wires the signing keys of a deployment. */
export function composeKeys(ground: KeyGround): KeyHouse {
  const { config, clock, random, log, metrics, stores } = ground
  const { rings, ledger, usage } = stores
  const tenants = [...config.tenants.keys()]
  const policy = ground.settings
  const cutoffs = createCutoffRules(
    { store: stores.cutoffs, monotonic: monotonicClock, log },
    () => ({
      stalenessMilliseconds: CUTOFFS_STALE_MILLISECONDS,
    }),
  )
  const transitions = createTransitionRecords({
    ledger,
    random,
    count: (tenant, alg, to) => metrics.keyTransition(tenant, alg, to),
    log,
  })
  const { custody, signer } = custodyOf(stores)
  const keys = createKeys(
    {
      rings,
      custody,
      signer,
      clock,
      log,
      chance: Math.random,
      changed: (tenant, before, after) => transitions.changed(tenant, before, after),
    },
    ground.settings,
  )
  const cutting: Pick<RecordedKeysDeps, 'cutOff' | 'isCutOff'> = {
    cutOff: (cutoff, signal) => cutoffs.add(cutoff, signal),
    isCutOff: (tenant, kid) => cutoffs.isCutOff(tenant, kid),
  }
  const recording = { ledger, transitions, random, log }
  const recorded = createRecordedKeys({
    keys,
    rings,
    usage,
    policy,
    clock,
    ...cutting,
    ...recording,
  })
  const census = createCensus(stores.consumers, clock)
  const watch = createKeyWatch({ keys, custody, clock, log, metrics }, policy)

  const chores: readonly Chore[] = [
    {
      everyMilliseconds: FOLLOW_CUTOFFS_MILLISECONDS,
      // One poll that hangs must leave time for another before the rules count as too old.
      deadlineMilliseconds: CUTOFF_POLL_MILLISECONDS,
      failed: 'cut-offs not read',
      work: async (signal) => {
        try {
          await cutoffs.refresh(signal)
        } finally {
          metrics.cutoffAge(cutoffs.ageMilliseconds() / 1000)
        }
      },
    },
    // Two chores: what follows a kill must not wait for what asks a key store.
    {
      everyMilliseconds: FOLLOW_KEYS_MILLISECONDS,
      failed: 'key rings not read',
      work: (signal) => keys.follow(signal),
    },
    {
      everyMilliseconds: FOLLOW_KEYS_MILLISECONDS,
      failed: 'key rings not kept',
      work: (signal) => keys.keep(signal),
    },
    {
      everyMilliseconds: FOLLOW_KEYS_MILLISECONDS,
      failed: 'key changes not recorded',
      work: async (signal) => {
        await recorded.cutOffKilled(tenants, signal)
        await transitions.flush(signal)
      },
    },
    {
      everyMilliseconds: WATCH_KEYS_MILLISECONDS,
      failed: 'keys not watched',
      work: (signal) => watch(tenants, signal),
    },
    {
      everyMilliseconds: REPORT_USE_MILLISECONDS,
      failed: 'use of keys not reported',
      work: async (signal) => {
        await census.flush(signal)
        // A count that cannot be written is lost: the ledger has the exact one.
        for (const { tenant, ...used } of keys.takeUsage()) await usage.add(tenant, used, signal)
      },
    },
  ]

  return {
    keys,
    cutoffs,
    census,
    admin: { ...recorded, ...consumerReports(ground, keys, census) },
    chores,
    async open(signal) {
      await cutoffs.refresh(signal)
      await keys.open(tenants, signal)
      await transitions.flush(signal)
      // A gauge that was never set says 0, and somebody would be woken for a store that is well.
      await watch(tenants, signal)
    },
  }
}

/** Who has the private halves, and who signs with them. */
function custodyOf({ privateKeys, remoteSigner }: Stores) {
  if (remoteSigner) {
    const custody: Custody = createRemoteHalves(remoteSigner)
    return { signer: remoteSigner, custody }
  }
  if (!privateKeys) throw new Error('there is neither a store of private keys nor a remote signer')
  const signer = createLocalSigner()
  return { signer, custody: createStoredHalves({ privateKeys, signer, generateKeyPair }) }
}

/** The `keys` section and the waits that other sections decide, with `changes` of a test. */
export function keySettings(
  { keys, tokenLimits }: Config,
  changes: Partial<RingPolicy> = {},
): KeysSettings {
  return {
    ...keys,
    longestTokenMilliseconds: TOKEN_TTL_CAP_SECONDS * 1000,
    skewMilliseconds: tokenLimits.skewSeconds * 1000,
    ...changes,
  }
}

/** What is known of the verifiers of a tenant. */
function consumerReports({ config, clock, log, stores }: KeyGround, keys: Keys, census: Census) {
  const { jwksMaxAgeSeconds, jwksStaleIfErrorSeconds } = config.keys
  const kept = (jwksMaxAgeSeconds + jwksStaleIfErrorSeconds) * 1000
  const consumers = async (tenant: Tenant, signal: AbortSignal) => {
    // The latest fetches belong in the answer; a store that takes no writes must not keep operators from reading.
    await census.flush(signal).catch((err: unknown) => log.warn({ err }, 'census not written'))
    const fetches = await stores.consumers.list(tenant.name, signal)
    const ring = { version: 0, keys: keys.list(tenant.name) }
    return censusOf(ring, tenant.consumers, fetches, kept, clock.now())
  }
  return {
    consumers,
    async seenByAll(tenant: Tenant, signal: AbortSignal) {
      const reports = await consumers(tenant, signal)
      return (key: RingKey) =>
        key.state === 'published' && reports.length > 0 ? isSeenByAll(key, reports) : undefined
    },
  }
}
