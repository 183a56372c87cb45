import { attempt, type Bench, expectedRate, note } from './bench.ts'
import type { CryptoBound } from './crypto-bound.ts'
import type { LoadResult } from './load.ts'
import { fillFor, type ScenarioId, saturate, WARM_TOKENS } from './scenario.ts'

/** A run at saturation; with the cold exchange also the crypto bound around it, CPU microseconds of verify + sign. */
export interface RoundRun extends LoadResult {
  readonly round: number
  readonly boundMicros: number | undefined
}

const BOUND_SECONDS = 0.4
const WARMING_SECONDS = 120

/** Lets every server see its users once and compile what is hot, and learns how fast each is. Nothing here counts. */
export async function warmUp(bench: Bench): Promise<void> {
  const { generator } = bench.servers
  for (const id of bench.scenarios.keys()) {
    bench.say(`warming up: ${id}`)
    await attempt(bench, id, async (scenario) => {
      if (id.endsWith('exchange cold')) {
        // Once through all users, so that roles are cached when it counts.
        await scenario.fill(bench.effort.users)
        note(bench, id, await saturate(generator, scenario, 120))
      }
      for (let repeat = 0; repeat < bench.effort.warmUps; repeat += 1) {
        await fillFor(scenario, expectedRate(bench, id), bench.effort.windowSeconds)
        note(bench, id, await saturate(generator, scenario, bench.effort.windowSeconds))
      }
    })
  }
}

/** Saturates one scenario after the other, beginning with another one each round, so that no server is always first. */
export async function measureRounds(bench: Bench): Promise<Map<ScenarioId, RoundRun[]>> {
  const runs = new Map<ScenarioId, RoundRun[]>()
  for (let round = 0; round < bench.effort.rounds; round += 1) {
    bench.say(`round ${round + 1} of ${bench.effort.rounds}`)
    // What the ledger costs is measured on its own, in pairs.
    const ids = [...bench.scenarios.keys()].filter((id) => id !== 'memory exchange cold')
    const first = round % Math.max(1, ids.length)
    for (const id of [...ids.slice(first), ...ids.slice(0, first)]) {
      const run = await measureRun(bench, id, round)
      if (run) runs.set(id, [...(runs.get(id) ?? []), run])
    }
  }
  return runs
}

function measureRun(bench: Bench, id: ScenarioId, round: number): Promise<RoundRun | undefined> {
  return attempt(bench, id, async (scenario) => {
    const { generator } = bench.servers
    const { windowSeconds } = bench.effort
    await fillFor(scenario, expectedRate(bench, id), windowSeconds)
    if (scenario.warm) {
      // A cache that keeps tokens from their second sight on is warm only after two passes through the list, however long they take.
      await saturate(generator, scenario, WARMING_SECONDS, { limit: 2 * WARM_TOKENS })
    }
    const isBounded = !scenario.warm && id.includes('exchange')
    const before = isBounded ? await askBound(bench) : undefined
    const result = await saturate(generator, scenario, windowSeconds)
    const after = isBounded ? await askBound(bench) : undefined
    note(bench, id, result)
    const boundMicros = before && after && (before + after) / 2
    return { ...result, round, boundMicros }
  })
}

async function askBound(bench: Bench): Promise<number> {
  const { signMicros, verifyMicros } = (await bench.servers.bound.ask(BOUND_SECONDS)) as CryptoBound
  return signMicros + verifyMicros
}
