/**
 * The open-loop generator: a process of its own on a core of its own, told what to do over IPC. It holds the tokens it
 * sends, and never sleeps while a run is on (`bench/drive.ts` says why).
 */
import { formRequest, openConnection } from '../../bench/connection.ts'
import { driveClosed, spinWhile } from '../../bench/drive.ts'
import { coreMicros, cpuMicros, residentMegabytes } from '../../bench/server-cpu.ts'
import { spreadOf } from '../../bench/spread.ts'
import { createMinter } from '../../bench/subject-tokens.ts'
import type {
  Job,
  MachineFacts,
  MintJob,
  Peak,
  PeakJob,
  PhaseResult,
  Reply,
  RunJob,
  Server,
  Stream,
} from './jobs.ts'
import { probeSource, type Source, streamSource } from './sources.ts'

const PEAK_CONNECTIONS = 32
const WEIGH_EVERY_MILLISECONDS = 100
/** After the last phase, for what is still on its way: with retries, several timeouts one after the other. */
const GRACE_MILLISECONDS = 8000

/** Tokens and the requests made of them, by port and path: a stream goes through all of them before one comes again. */
const tokens: string[] = []
const requests = new Map<string, Buffer[]>()
let lastToken = 0

function mint({ count, users, audience, privateJwk }: MintJob): null {
  const mintFor = createMinter(privateJwk, Date.now, audience)
  for (let index = 0; index < count; index += 1) tokens.push(mintFor(index % users))
  return null
}

function requestsOf({ port, path, form }: Stream): () => Buffer {
  const made =
    requests.get(`${port}${path}`) ?? tokens.map((token) => formRequest(port, path, form + token))
  requests.set(`${port}${path}`, made)
  return () => {
    lastToken = (lastToken + 1) % made.length
    return made[lastToken] ?? Buffer.alloc(0)
  }
}

async function peak({ stream, server, seconds }: PeakJob): Promise<Peak> {
  const failure = Promise.withResolvers<never>()
  const connections = await Promise.all(
    Array.from({ length: PEAK_CONNECTIONS }, () => openConnection(stream.port, failure.reject)),
  )
  const meter = startMeter(server)
  let good = 0
  let other = 0
  try {
    const { milliseconds } = await Promise.race([
      driveClosed(connections, requestsOf(stream), seconds * 1000, ({ status }) => {
        if (status === 200) good += 1
        else other += 1
      }),
      failure.promise,
    ])
    return { perSecond: (good / milliseconds) * 1000, other, ...meter(milliseconds) }
  } finally {
    for (const connection of connections) connection.close()
  }
}

/** Gives, when called with the milliseconds since, what share of the core the server and others used. */
function startMeter({ pid, core }: Server) {
  const used = cpuMicros(pid)
  const all = core === undefined ? undefined : coreMicros(core)
  return (milliseconds: number): { busy: number; foreign: number } => {
    const busy = (cpuMicros(pid) - used) / (milliseconds * 1000)
    if (core === undefined || all === undefined) return { busy, foreign: 0 }
    return { busy, foreign: Math.max(0, (coreMicros(core) - all) / (milliseconds * 1000) - busy) }
  }
}

function run(job: RunJob): Promise<PhaseResult[]> {
  const start = performance.now()
  const sources = [
    ...job.streams.map((stream, index) =>
      streamSource(job, index, stream, start, requestsOf(stream)),
    ),
    ...job.probes.map((probe) => probeSource(job, probe, start)),
  ]
  const machine: MachineFacts[] = []
  const watch = startWatch(job, sources, job.streams.length)
  let phaseEnd = start
  return new Promise((resolve) => {
    spinWhile(() => {
      const now = performance.now()
      watch.turn(now)
      const phase = job.phases[machine.length]
      if (phase) {
        if (now < phaseEnd + phase.seconds * 1000) return true
        phaseEnd += phase.seconds * 1000
        machine.push(watch.takeStock(phase.seconds * 1000))
        return true
      }
      const isPending = sources.some(({ pending }) => pending > 0)
      if (isPending && now < phaseEnd + GRACE_MILLISECONDS) return true
      for (const { fleet } of sources) fleet.close()
      resolve(resultsOf(job, sources, machine))
      return false
    })
  })
}

/** Keeps all sources going, and an eye on the machine. */
function startWatch({ server }: RunJob, sources: readonly Source[], streams: number) {
  let meter = startMeter(server)
  let megabytes = 0
  let weighedAt = 0
  let lates: number[] = []
  let [dials, failedDials] = [0, 0]
  const total = (pick: 'dialled' | 'failedDials') =>
    sources.reduce((sum, { fleet }) => sum + fleet.counts[pick], 0)
  return {
    turn(now: number): void {
      for (const [index, source] of sources.entries()) {
        for (const late of source.makeDue(now)) if (index < streams) lates.push(late)
        source.fleet.tend(now)
      }
      if (now - weighedAt < WEIGH_EVERY_MILLISECONDS) return
      weighedAt = now
      megabytes = Math.max(megabytes, residentMegabytes(server.pid))
    },
    /** What was seen since the last time. */
    takeStock(milliseconds: number): MachineFacts {
      const facts = {
        ...meter(milliseconds),
        peakMegabytes: megabytes,
        lateP99: spreadOf(Float64Array.from(lates)).p99,
        dials: total('dialled') - dials,
        failedDials: total('failedDials') - failedDials,
      }
      meter = startMeter(server)
      megabytes = 0
      lates = []
      dials = total('dialled')
      failedDials = total('failedDials')
      return facts
    },
  }
}

function resultsOf(
  { phases, streams }: RunJob,
  sources: readonly Source[],
  machine: readonly MachineFacts[],
): PhaseResult[] {
  return machine.map((facts, index) => {
    const fates = sources.map((source) => source.fateOf(index))
    return {
      name: phases[index]?.name ?? '',
      seconds: phases[index]?.seconds ?? 0,
      streams: fates.slice(0, streams.length),
      probes: fates.slice(streams.length),
      machine: facts,
    }
  })
}

async function answerTo(job: Job) {
  if (job.op === 'mint') return mint(job)
  return job.op === 'peak' ? peak(job) : run(job)
}

function reply(answer: Reply): void {
  process.send?.(answer)
}

if (process.send) {
  process.on('message', (job: Job) => {
    answerTo(job).then(
      (result) => reply({ result }),
      (error: unknown) => reply({ error: String(error) }),
    )
  })
}
