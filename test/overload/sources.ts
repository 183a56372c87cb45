import { spreadOf } from '../../bench/spread.ts'
import { createFleet, type Fleet, type Outcome } from './fleet.ts'
import type { Fate, Probe, RunJob, Stream } from './jobs.ts'
import { type Arrivals, arrivalsOf, type Phase, windowsOf } from './timeline.ts'

/** A stream or a probe while a run is on. */
export interface Source {
  readonly fleet: Fleet
  /** Makes the calls that are due by `now`, and gives how many milliseconds late each of them is. */
  makeDue(now: number): readonly number[]
  /** Calls that have not ended, and those that will be made again. */
  readonly pending: number
  fateOf(phase: number): Fate
}

const RETRY_FROM_MILLISECONDS = 50
const RETRY_TO_MILLISECONDS = 150
const RETRY_LOOK_MILLISECONDS = 5
const PROBE_CONNECTIONS = 8
/** Third number of the addresses of the probes; streams have those that follow. */
const PROBE_NETWORK = 1

/** The calls of clients. `start` is when the run begins, in milliseconds of `performance.now()`. */
export function streamSource(
  job: RunJob,
  index: number,
  stream: Stream,
  start: number,
  request: () => Buffer,
): Source {
  return createSource(job, start, {
    name: stream.name,
    arrivals: arrivalsOf(job.phases, index, job.seed + index * 104_729),
    fleet: createFleet({
      ...stream,
      network: PROBE_NETWORK + 1 + index,
      timeoutMilliseconds: job.timeoutMilliseconds,
    }),
    request,
    retriesOf: ({ retries }) => retries ?? 0,
  })
}

/** The questions of an orchestrator: at regular times, and never asked again. */
export function probeSource(job: RunJob, probe: Probe, start: number): Source {
  const bytes = Buffer.from(probe.request)
  return createSource(job, start, {
    name: probe.name,
    arrivals: regularArrivals(job.phases, probe.everyMilliseconds),
    fleet: createFleet({
      port: probe.port,
      connections: PROBE_CONNECTIONS,
      addresses: 1,
      network: PROBE_NETWORK,
      timeoutMilliseconds: job.timeoutMilliseconds,
    }),
    request: () => bytes,
    retriesOf: () => 0,
  })
}

interface SourceParts {
  readonly name: string
  readonly arrivals: Arrivals
  readonly fleet: Fleet
  readonly request: () => Buffer
  readonly retriesOf: (phase: Phase) => number
}

interface Retry {
  readonly at: number
  readonly call: number
  readonly phase: number
  readonly left: number
}

function createSource(job: RunJob, start: number, parts: SourceParts): Source {
  const { fleet } = parts
  const { dueAt, firstOf } = parts.arrivals
  const latencies = new Float64Array(dueAt.length).fill(Number.NaN)
  const tallies = job.phases.map(() => ({ attempts: 0, others: new Map<Outcome, number>() }))
  let retries: Retry[] = []
  let lookedAt = 0
  let next = 0
  let phase = 0

  function attempt(call: number, inPhase: number, due: number, left: number): void {
    const tally = tallies[inPhase]
    if (tally) tally.attempts += 1
    fleet.call({
      request: parts.request(),
      due,
      done: (outcome, now) => {
        if (outcome === 200) {
          latencies[call] = now - start - (dueAt[call] ?? 0)
          return
        }
        tally?.others.set(outcome, (tally.others.get(outcome) ?? 0) + 1)
        const pause =
          RETRY_FROM_MILLISECONDS +
          Math.random() * (RETRY_TO_MILLISECONDS - RETRY_FROM_MILLISECONDS)
        if (left > 0) retries.push({ at: now + pause, call, phase: inPhase, left: left - 1 })
      },
    })
  }

  function makeAgain(now: number): void {
    if (retries.length === 0 || now - lookedAt < RETRY_LOOK_MILLISECONDS) return
    lookedAt = now
    const due = retries.filter(({ at }) => at <= now)
    if (due.length === 0) return
    retries = retries.filter(({ at }) => at > now)
    // Each attempt has a timeout of its own, as each is a request of its own.
    for (const { call, phase: inPhase, left } of due) attempt(call, inPhase, now, left)
  }

  return {
    fleet,
    get pending() {
      return fleet.pending + retries.length
    },
    makeDue(now) {
      makeAgain(now)
      const lates: number[] = []
      while (next < dueAt.length && start + (dueAt[next] ?? 0) <= now) {
        while ((firstOf[phase + 1] ?? Infinity) <= next) phase += 1
        const due = start + (dueAt[next] ?? 0)
        const of = job.phases[phase]
        lates.push(now - due)
        attempt(next, phase, due, of ? parts.retriesOf(of) : 0)
        next += 1
      }
      return lates
    },
    fateOf: (index) => fateOf(job, index, parts, latencies, tallies[index]),
  }
}

function fateOf(
  { phases, windowMilliseconds }: RunJob,
  index: number,
  { name, arrivals: { dueAt, firstOf } }: SourceParts,
  latencies: Float64Array,
  tally: { readonly attempts: number; readonly others: ReadonlyMap<Outcome, number> } | undefined,
): Fate {
  const [first, end] = [firstOf[index] ?? 0, firstOf[index + 1] ?? 0]
  const within = latencies.slice(first, end)
  const good = within.filter((latency) => !Number.isNaN(latency))
  const from = phases.slice(0, index).reduce((sum, { seconds }) => sum + seconds * 1000, 0)
  const { p50, p99, max } = spreadOf(good.slice())
  return {
    name,
    offered: end - first,
    attempts: tally?.attempts ?? 0,
    good: good.length,
    p50,
    p99,
    max,
    others: Object.fromEntries(tally?.others ?? []),
    windows: windowsOf(
      { dueAt: dueAt.slice(first, end), latencies: within },
      { from, seconds: phases[index]?.seconds ?? 0, milliseconds: windowMilliseconds },
    ),
  }
}

function regularArrivals(phases: readonly Phase[], everyMilliseconds: number): Arrivals {
  const dueAt: number[] = []
  const firstOf: number[] = []
  let start = 0
  for (const { seconds } of phases) {
    firstOf.push(dueAt.length)
    for (let at = 0; at < seconds * 1000; at += everyMilliseconds) dueAt.push(start + at)
    start += seconds * 1000
  }
  firstOf.push(dueAt.length)
  return { dueAt: Float64Array.from(dueAt), firstOf }
}
