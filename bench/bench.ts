import type { LoadResult } from './load.ts'
import type { Scenario, ScenarioId } from './scenario.ts'
import type { Servers } from './servers.ts'

/** How long and how often to measure. */
export interface Effort {
  readonly rounds: number
  readonly windowSeconds: number
  /** Windows of each scenario that do not count, before the first round. */
  readonly warmUps: number
  readonly latencySeconds: number
  readonly users: number
  /** Exchanges after which the memory under load is read. */
  readonly liveTokens: number
  readonly starts: number
  readonly fdatasyncs: number
}

/** What every measuring step works with. */
export interface Bench {
  readonly effort: Effort
  readonly servers: Servers
  /** A scenario that fails is taken out, and what went wrong is kept in `missing`. */
  readonly scenarios: Map<ScenarioId, Scenario>
  readonly missing: Map<string, string>
  /** Requests a second of each scenario when last seen: how many tokens its next run needs. */
  readonly rates: Map<ScenarioId, number>
  /** Exchanges by the durable rolemint so far. */
  issued: number
  readonly folder: string
  readonly pinned: boolean
  readonly say: (text: string) => void
}

/** Before anything is known: more than any server here can do. */
const ASSUMED_PER_SECOND = 8000

/** Requests a second to be ready for. */
export function expectedRate(bench: Bench, id: ScenarioId): number {
  return bench.rates.get(id) ?? ASSUMED_PER_SECOND
}

/** Remembers what a run showed. */
export function note(bench: Bench, id: ScenarioId, result: LoadResult): void {
  bench.rates.set(id, result.perSecond)
  if (id.startsWith('rolemint exchange')) bench.issued += result.completed
}

/** Runs a step of a scenario; if it fails, the rest of the bench goes on without that scenario. */
export async function attempt<T>(
  bench: Bench,
  id: ScenarioId,
  step: (scenario: Scenario) => Promise<T>,
): Promise<T | undefined> {
  const scenario = bench.scenarios.get(id)
  if (!scenario) return undefined
  try {
    return await step(scenario)
  } catch (error) {
    bench.scenarios.delete(id)
    bench.missing.set(id, error instanceof Error ? error.message : String(error))
    bench.say(`${id}: ${bench.missing.get(id)}`)
    return undefined
  }
}
