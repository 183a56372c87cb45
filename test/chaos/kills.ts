/** Kills of real servers under load, and what must hold after them. */
import { emptyTally, runLane, type Tally } from './lane.ts'

/** What kills came to. */
export interface KillReport extends Omit<Tally, 'startMilliseconds'> {
  /** Median time from the start of the process until it serves. */
  readonly startMsMedian: number
  readonly seconds: number
}

/** How often to kill, and for how long at most. */
export interface KillOptions {
  readonly kills: number
  readonly secondsMax?: number
  /** Servers at once, each with a store of its own. */
  readonly lanes?: number
}

/** Below this a server was dead before it did anything, and nothing was at stake. */
const LEAST_ACKNOWLEDGED_PER_KILL = 5

/** Kills servers under load until the count or the time is reached. */
export async function killUnderLoad(options: KillOptions): Promise<KillReport> {
  const { kills, secondsMax = Number.POSITIVE_INFINITY, lanes = 2 } = options
  const began = performance.now()
  const elapsedSeconds = () => (performance.now() - began) / 1000
  let left = kills
  const another = () => {
    if (left === 0 || elapsedSeconds() > secondsMax) return false
    left -= 1
    return true
  }
  const runs = Array.from({ length: Math.min(lanes, kills) }, async () => {
    try {
      return await runLane(another)
    } catch (error) {
      left = 0 // the other lanes end, and clear up, before this is told
      throw error
    }
  })
  await Promise.allSettled(runs)
  const tallies = await Promise.all(runs)
  const { startMilliseconds, ...sum } = tallies.reduce(added, emptyTally())
  return {
    ...sum,
    startMsMedian: Math.round(median(startMilliseconds)),
    seconds: Math.round(elapsedSeconds()),
  }
}

/** What is wrong with a report, as sentences; none when it proves what it is to prove. */
export function faultsOf(report: KillReport): string[] {
  const { kills, acknowledged, missing, acceptedTwice, inactive, unexpected, replayed } = report
  const faults: string[] = []
  if (missing > 0) faults.push(`${missing} tokens were answered and are not in the ledger`)
  if (acceptedTwice > 0) faults.push(`${acceptedTwice} once-only ids were accepted twice`)
  if (inactive > 0) faults.push(`${inactive} answered tokens were unknown after the restart`)
  for (const [what, times] of Object.entries(unexpected)) faults.push(`${times} times ${what}`)
  if (acknowledged < kills * LEAST_ACKNOWLEDGED_PER_KILL)
    faults.push(`only ${acknowledged} tokens were answered in ${kills} kills, which proves little`)
  if (replayed === 0 && kills > 0) faults.push('no once-only id was shown again')
  return faults
}

function added(sum: Tally, one: Tally): Tally {
  const unexpected = { ...sum.unexpected }
  for (const [what, times] of Object.entries(one.unexpected))
    unexpected[what] = (unexpected[what] ?? 0) + times
  return {
    kills: sum.kills + one.kills,
    acknowledged: sum.acknowledged + one.acknowledged,
    missing: sum.missing + one.missing,
    refused503: sum.refused503 + one.refused503,
    unexpected,
    replayed: sum.replayed + one.replayed,
    acceptedTwice: sum.acceptedTwice + one.acceptedTwice,
    introspected: sum.introspected + one.introspected,
    inactive: sum.inactive + one.inactive,
    startMilliseconds: [...sum.startMilliseconds, ...one.startMilliseconds],
  }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
