/** The part of the composition root that makes what everything else stands on: time, randomness, log, stores, keys, dependencies. */
import { composeDependencies, composeUpstreams, type Dependencies } from './compose-dependencies.ts'
import { composeKeys, type KeyHouse, keySettings } from './compose-keys.ts'
import { openStores, type Stores } from './compose-stores.ts'
import { believed, machineTime, type Time, type TimeSource } from './compose-time.ts'
import type { Config } from './config/config.ts'
import type { RingPolicy } from './keys/ring.ts'
import type { Clock } from './lib/clock.ts'
import { createSystemRandom, type Random } from './lib/id.ts'
import { fixed } from './lib/live.ts'
import { createLog, createLogDestination, type Log } from './observe/log.ts'
import { createMetrics, type Metrics } from './observe/metrics.ts'
import type { Upstreams } from './resilience/upstream.ts'

const STDERR = 2
const BOOT_MILLISECONDS = 10_000

/** What every room may be given. */
export interface Ground {
  readonly config: Config
  readonly clock: Time
  readonly random: Random
  readonly log: Log
  readonly metrics: Metrics
  readonly stores: Stores
  readonly house: KeyHouse
  readonly upstreams: Upstreams
  readonly outside: Dependencies
}

/** What a test or another entry may put in the place of the real part. */
export interface Parts {
  readonly clock: Clock
  readonly random: Random
  readonly stores: Stores
  /** Opens the stores, where somebody has more to say when it fails. */
  readonly openStores: typeof openStores
  readonly log: Log
  /** What `GET /admin/v1/config` shows. */
  readonly describeConfig: () => unknown
  /** Waits of the key ring that differ from the configured ones: tests cannot wait for days, and no configuration may be unsafe. */
  readonly keyPolicy: Partial<RingPolicy>
}

/** Opens the stores and loads the keys. Rejects when either cannot be done. */
export async function prepare(config: Config, parts: Partial<Parts>): Promise<Ground> {
  const random = parts.random ?? createSystemRandom()
  const log = parts.log ?? createLog(createLogDestination(STDERR))
  const metrics = createMetrics()
  const others: TimeSource[] = []
  const clock = parts.clock ? believed(parts.clock) : machineTime(others, log)
  metrics.watchClock(clock.gauges)
  const upstreams = composeUpstreams({ random, log, metrics })
  const stores =
    parts.stores ??
    (await (parts.openStores ?? openStores)(config, { clock, random, log, upstreams }))
  if (stores.time) others.push(stores.time)
  try {
    const kept = keySettings(config, parts.keyPolicy)
    const settings = fixed(kept)
    const house = composeKeys({ config, clock, random, log, metrics, stores, settings })
    await house.open(AbortSignal.timeout(BOOT_MILLISECONDS))
    const common = { config, clock, random, log, metrics, upstreams }
    return { ...common, stores, house, outside: await composeDependencies(common) }
  } catch (error) {
    await stores.close()
    throw error
  }
}
