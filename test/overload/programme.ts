/** The phases of an overload run, and what one run of them showed. */

import { median } from '../../bench/spread.ts'
import { type DeploymentOptions, deployPeer, deployRolemint, vitalProbes } from './deployment.ts'
import type { Fate, MachineFacts, Peak, PhaseResult } from './jobs.ts'
import { type Phase, recoveryMilliseconds } from './timeline.ts'

/** A step of a programme, before the server's capacity is known. */
export interface Step {
  readonly name: string
  /** Offered, as a multiple of capacity. */
  readonly multiple: number
  readonly seconds: number
  readonly retries?: number
  /** Name of the storm this is the calm after; its recovery is measured here. */
  readonly after?: string
}

/** Callers ask again so often in the retry storm, each after 50 to 150 ms whatever Retry-After says: rude ones. */
const RETRIES = 3
/** The step with callers that ask again; what they get in the end is no point of the curve. */
export const RETRY_STEP = 'retries'
/** A call that is not answered by then has failed. */
export const TIMEOUT_MILLISECONDS = 1000
const PROBE_EVERY_MILLISECONDS = 100
const WINDOW_MILLISECONDS = 250
/** A fleet is many machines. */
const ADDRESSES = 64

const calm = (after: string, seconds: number): Step => ({
  name: `after ${after}`,
  multiple: 0.5,
  seconds,
  after,
})

/** Every point of the curve, and storms of ten seconds. */
export const FULL_PROGRAMME: readonly Step[] = [
  { name: '0.25×', multiple: 0.25, seconds: 4 },
  { name: '0.5×', multiple: 0.5, seconds: 6 },
  { name: '0.7×', multiple: 0.7, seconds: 10 },
  { name: '0.9×', multiple: 0.9, seconds: 5 },
  { name: '1.2×', multiple: 1.2, seconds: 5 },
  calm('1.2×', 3),
  { name: '1.5×', multiple: 1.5, seconds: 5 },
  calm('1.5×', 3),
  { name: '2×', multiple: 2, seconds: 10 },
  calm('2×', 8),
  { name: '3×', multiple: 3, seconds: 5 },
  calm('3×', 5),
  { name: '5×', multiple: 5, seconds: 10 },
  calm('5×', 8),
  { name: '7×', multiple: 7, seconds: 5 },
  calm('7×', 5),
  { name: '10×', multiple: 10, seconds: 10 },
  calm('10×', 8),
  { name: RETRY_STEP, multiple: 2, seconds: 8, retries: RETRIES },
  calm(RETRY_STEP, 8),
]

/** What the promises are about, and no more. */
export const QUICK_PROGRAMME: readonly Step[] = [
  { name: '0.5×', multiple: 0.5, seconds: 3 },
  { name: '0.7×', multiple: 0.7, seconds: 5 },
  { name: '2×', multiple: 2, seconds: 4 },
  calm('2×', 7),
  { name: '5×', multiple: 5, seconds: 4 },
  calm('5×', 7),
  { name: '10×', multiple: 10, seconds: 4 },
  calm('10×', 7),
  { name: RETRY_STEP, multiple: 2, seconds: 4, retries: RETRIES },
  calm(RETRY_STEP, 7),
]

/** One run of a programme against one server. */
export interface Round {
  /** Closed loop, before and after. */
  readonly peaks: readonly Peak[]
  /** Requests a second that the multiples are of. */
  readonly capacity: number
  readonly steps: readonly StepResult[]
}

/** What one step showed. */
export interface StepResult {
  readonly name: string
  readonly multiple: number
  readonly offeredPerSecond: number
  /** As on a core that the server has to itself: see {@link available}. */
  readonly goodPerSecond: number
  readonly calls: Fate
  readonly probes: readonly Fate[]
  readonly machine: MachineFacts
  /** Of a calm: seconds until all was normal again; undefined when it never was. */
  readonly recoverySeconds: number | undefined
}

/** How to run a programme. */
export interface RoundOptions extends DeploymentOptions {
  readonly target: 'rolemint' | 'peer'
  readonly programme: readonly Step[]
  readonly connections: number
  readonly seed: number
  /** Before anything is measured: the optimising compiler makes the server faster for some ten seconds. */
  readonly warmUpSeconds: number
  readonly peakSeconds: number
}

/** Starts a server, finds out what it can do, and takes it through a programme. @throws {Error} when the server ends by itself. */
export async function runRound(options: RoundOptions): Promise<Round> {
  const { target, programme, connections, seed, warmUpSeconds, peakSeconds } = options
  const deployment = await (target === 'peer' ? deployPeer : deployRolemint)(options)
  try {
    const { generator, port, form } = deployment
    const stream = {
      name: 'exchange',
      port,
      path: '/token',
      form,
      connections,
      addresses: ADDRESSES,
    }
    await generator.peak({ stream, seconds: warmUpSeconds })
    const before = await generator.peak({ stream, seconds: peakSeconds })
    const capacity = before.perSecond / before.busy
    const phases = programme.map(
      ({ name, multiple, seconds, retries = 0 }): Phase => ({
        name,
        seconds,
        perSecond: [capacity * multiple],
        retries,
      }),
    )
    const results = await generator.run({
      phases,
      streams: [stream],
      probes: await vitalProbes(deployment, PROBE_EVERY_MILLISECONDS),
      timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      windowMilliseconds: WINDOW_MILLISECONDS,
      seed,
    })
    const after = await generator.peak({ stream, seconds: peakSeconds })
    return { peaks: [before, after], capacity, steps: stepResults(programme, results) }
  } finally {
    await deployment.stop()
  }
}

function stepResults(programme: readonly Step[], results: readonly PhaseResult[]): StepResult[] {
  const normal =
    results[programme.findIndex(({ multiple, after }) => multiple === 0.5 && !after)]?.streams[0]
  return programme.map((step, index) => {
    const result = results[index]
    const calls = result?.streams[0]
    if (!result || !calls || !normal) throw new Error(`step ${step.name} was not run`)
    return {
      name: step.name,
      multiple: step.multiple,
      offeredPerSecond: calls.offered / step.seconds,
      goodPerSecond:
        Math.min(calls.offered, calls.good / available(result.machine.foreign)) / step.seconds,
      calls,
      probes: result.probes,
      machine: result.machine,
      recoverySeconds: step.after === undefined ? undefined : recoverySeconds(calls, normal),
    }
  })
}

/**
 * Share of the core that was the server's to use. A rate under overload is divided by it, so that a machine shared with
 * others does not count against the server; on a quiet machine it is 1. Never less than a half: such a run says nothing.
 */
export function available(foreign: number): number {
  return Math.max(0.5, 1 - foreign)
}

/** Normal: 98 % of the calls answered, and a p99 within three times what it was before the storms, for a second. */
function recoverySeconds(calls: Fate, before: Fate): number | undefined {
  const milliseconds = recoveryMilliseconds(calls.windows, WINDOW_MILLISECONDS, {
    goodShare: 0.98,
    p99: 3 * Math.max(before.p99, median(before.windows.map(({ p99 }) => p99))),
    windows: 1000 / WINDOW_MILLISECONDS,
  })
  return milliseconds === undefined ? undefined : milliseconds / 1000
}
