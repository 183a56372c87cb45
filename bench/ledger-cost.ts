import { attempt, type Bench, expectedRate, note } from './bench.ts'
import type { LoadResult } from './load.ts'
import { fillFor, type ScenarioId, saturate } from './scenario.ts'

/** Two runs, one right after the other: cold exchanges with the durable ledger and with one that forgets. */
export interface LedgerPair {
  readonly durable: LoadResult
  readonly memory: LoadResult
}

/**
 * Saturates the durable and the forgetful rolemint in turn, A B B A A B …: neighbours in time are compared, and neither
 * is always the one that comes second.
 */
export async function measureLedgerCost(bench: Bench): Promise<LedgerPair[]> {
  const pairs: LedgerPair[] = []
  for (let round = 0; round < bench.effort.rounds; round += 1) {
    bench.say(`cost of the ledger, pair ${round + 1} of ${bench.effort.rounds}`)
    const durableFirst = round % 2 === 0
    const early = durableFirst ? await measure(bench, 'rolemint exchange cold') : undefined
    const memory = await measure(bench, 'memory exchange cold')
    const durable = early ?? (await measure(bench, 'rolemint exchange cold'))
    if (!durable || !memory) return pairs
    pairs.push({ durable, memory })
  }
  return pairs
}

function measure(bench: Bench, id: ScenarioId): Promise<LoadResult | undefined> {
  return attempt(bench, id, async (scenario) => {
    const { windowSeconds } = bench.effort
    await fillFor(scenario, expectedRate(bench, id), windowSeconds)
    const result = await saturate(bench.servers.generator, scenario, windowSeconds)
    note(bench, id, result)
    return result
  })
}
