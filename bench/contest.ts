import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { attempt, type Bench, type Effort, note } from './bench.ts'
import { SERVER_CORE, startChild } from './child.ts'
import type { CoreRatio } from './core-ratio.ts'
import { type LatencyAt, measureLatencies } from './latencies.ts'
import { type LedgerPair, measureLedgerCost } from './ledger-cost.ts'
import { measureStart, prepareRolemint } from './rolemint.ts'
import { measureRounds, type RoundRun, warmUp } from './rounds.ts'
import {
  exchangeForm,
  peerScenarios,
  rolemintScenarios,
  type Scenario,
  type ScenarioId,
  saturate,
} from './scenario.ts'
import { residentMegabytes } from './server-cpu.ts'
import { type Servers, startServers } from './servers.ts'
import { median } from './spread.ts'
import { createMinter } from './subject-tokens.ts'

/** Everything measured in a run. */
export interface Measurements {
  readonly effort: Effort
  readonly runs: ReadonlyMap<ScenarioId, readonly RoundRun[]>
  /** The durable rolemint and the forgetful one in turn. */
  readonly ledgerPairs: readonly LedgerPair[]
  readonly latencies: readonly LatencyAt[]
  readonly idleMegabytes: Servers['idleMegabytes']
  readonly loadedMegabytes: { readonly rolemint: number | undefined; readonly peer: number }
  /** Tokens rolemint had issued when its memory was read. */
  readonly issued: number
  /** From the start of the process to the first token. */
  readonly startMilliseconds: readonly number[]
  readonly core: CoreRatio | undefined
  /** What could not be measured, and why. */
  readonly missing: ReadonlyMap<string, string>
}

const QUIET_MILLISECONDS = 2000

/**
 * Runs everything, the servers taking turns, so that a bad minute of the machine hits all of them.
 *
 * @throws {Error} when generator, peer or control do not work. What rolemint cannot do yet ends up in `missing`.
 */
export async function runContest(
  effort: Effort,
  options: Pick<Bench, 'folder' | 'pinned' | 'say'>,
): Promise<Measurements> {
  options.say('starting servers')
  const servers = await startServers({ ...options, users: effort.users })
  const bench: Bench = {
    ...options,
    effort,
    servers,
    scenarios: scenariosOf(servers),
    missing: new Map<string, string>(servers.missing),
    rates: new Map(),
    issued: 0,
  }
  try {
    const startMilliseconds = await measureStarts(bench)
    const core = await measureCore(bench)
    await warmUp(bench)
    const runs = await measureRounds(bench)
    const peak = runs.get('rolemint exchange cold')?.map((run) => run.perSecond)
    const ledgerPairs = await measureLedgerCost(bench)
    const latencies = peak ? await measureLatencies(bench, median(peak)) : []
    await issueUpTo(bench, effort.liveTokens)
    await sleep(QUIET_MILLISECONDS)
    return {
      effort,
      runs,
      ledgerPairs,
      latencies,
      idleMegabytes: servers.idleMegabytes,
      loadedMegabytes: {
        rolemint: servers.rolemint && residentMegabytes(servers.rolemint.pid),
        peer: residentMegabytes(servers.peer.pid),
      },
      issued: bench.issued,
      startMilliseconds,
      core,
      missing: bench.missing,
    }
  } finally {
    await servers.stop()
  }
}

function scenariosOf({ generator, rolemint, memory, peer, clientSecret }: Servers) {
  const scenarios: Scenario[] = [
    ...(rolemint ? rolemintScenarios(generator, rolemint, clientSecret, 'rolemint') : []),
    ...(memory ? rolemintScenarios(generator, memory, clientSecret, 'memory') : []),
    ...peerScenarios(generator, peer, clientSecret),
  ]
  return new Map(scenarios.map((scenario) => [scenario.id, scenario]))
}

/** Starts a rolemint of its own again and again: the first time makes keys and warms the disk, and does not count. */
async function measureStarts(bench: Bench): Promise<number[]> {
  const { servers, folder, pinned, effort, say } = bench
  if (!servers.rolemint) return []
  say('start-up times')
  const prepared = await prepareRolemint({
    folder: join(folder, 'start'),
    clientSecret: servers.clientSecret,
    idpPublicJwk: servers.idp.publicJwk,
    entitlementsPort: servers.entitlementsPort,
    core: pinned ? SERVER_CORE : undefined,
    store: 'sqlite',
  })
  const mint = createMinter(servers.idp.privateJwk, Date.now)
  const times: number[] = []
  for (let start = 0; start <= effort.starts; start += 1) {
    const form = exchangeForm(servers.clientSecret, 'audience') + mint(start)
    const time = await measureStart(prepared, form)
    if (start > 0) times.push(time)
  }
  return times
}

async function measureCore(bench: Bench): Promise<CoreRatio | undefined> {
  const { folder, pinned, effort, say, missing } = bench
  say('core exchange against the crypto bound')
  const child = startChild({
    name: 'core-ratio',
    folder,
    args: [join(import.meta.dirname, 'core-ratio.ts')],
    ...(pinned ? { core: SERVER_CORE } : {}),
  })
  try {
    return (await child.ask(effort.rounds)) as CoreRatio
  } catch (error) {
    missing.set('core', error instanceof Error ? error.message : String(error))
    return undefined
  } finally {
    await child.stop()
  }
}

/** Has rolemint issue tokens until it has issued `liveTokens`: all of them are still valid. */
async function issueUpTo(bench: Bench, liveTokens: number): Promise<void> {
  while (bench.issued < liveTokens && bench.scenarios.has('rolemint exchange warm')) {
    bench.say(`issuing up to ${liveTokens} tokens (${bench.issued} so far)`)
    await attempt(bench, 'rolemint exchange warm', async (scenario) => {
      await scenario.fill(bench.effort.users)
      const limit = liveTokens - bench.issued
      const { generator } = bench.servers
      note(bench, scenario.id, await saturate(generator, scenario, 120, { limit }))
    })
  }
}

/** A folder for the servers' files, on the disk of the tree: a temporary file system might be no disk at all. */
export function makeBenchFolder(): string {
  const folder = join(import.meta.dirname, '../.cache', `bench-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  return folder
}
