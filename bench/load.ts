/**
 * The load generator: a process of its own on a core of its own, told what to do over IPC. It makes the tokens it
 * sends itself, between measurements, so that a cold run never sends one twice. While a run is on it never sleeps
 * (`drive.ts` says why), so its core reads 100 % busy whatever the load.
 */
import type { JsonWebKey } from 'node:crypto'
import { jsonObject, textIn } from '../demo/json.ts'
import { type Connection, formRequest, openConnection } from './connection.ts'
import { type Driven, driveClosed, driveOpen, type OnAnswer, poissonArrivals } from './drive.ts'
import { coreMicros, cpuMicros } from './server-cpu.ts'
import { type Spread, spreadOf } from './spread.ts'
import { createMinter } from './subject-tokens.ts'

/** Make `count` fresh subject tokens, spread over the users, and keep them under a name. */
export interface MintJob {
  readonly op: 'mint'
  readonly list: string
  readonly count: number
  readonly users: number
  readonly privateJwk: JsonWebKey
}

/** Send requests to a server and measure. */
export interface RunJob {
  readonly op: 'run'
  /** The server's process, whose CPU time is read. */
  readonly pid: number
  /** The core it is pinned to, if it is. */
  readonly core: number | undefined
  readonly port: number
  readonly path: string
  /** The form without the token, ready to send; the token goes to its end. */
  readonly form: string
  /** Name of the list whose tokens are sent. */
  readonly list: string
  /** Start again from the top when the list ends; otherwise the run ends. */
  readonly cycle: boolean
  readonly connections: number
  readonly seconds: number
  /** Closed loop: end after this many requests. */
  readonly limit?: number
  /** Open loop at this many requests a second; left out: closed loop. */
  readonly perSecond?: number
  readonly seed?: number
  /** Keep the `access_token`s of the answers under this name. */
  readonly collect?: string
}

/** What a run showed. */
export interface LoadResult {
  readonly completed: number
  /** Answers other than 200; a run with any is void. */
  readonly refused: number
  readonly firstRefusal: string | undefined
  readonly perSecond: number
  readonly cpuMicrosPerRequest: number
  /** Share of one core that the server used. */
  readonly busy: number
  /** Share of the server's core that others used meanwhile: what makes rates and latencies of a run doubtful. */
  readonly foreign: number | undefined
  readonly milliseconds: Spread
}

const lists = new Map<string, string[]>()

function mint({ list, count, users, privateJwk }: MintJob): void {
  const mintFor = createMinter(privateJwk, Date.now)
  lists.set(
    list,
    Array.from({ length: count }, (_, index) => mintFor(index % users)),
  )
}

async function run(job: RunJob): Promise<LoadResult> {
  const tokens = lists.get(job.list)
  if (!tokens?.length) throw new Error(`there are no tokens called ${job.list}`)
  const requests = tokens.map((token) => formRequest(job.port, job.path, job.form + token))
  const failure = Promise.withResolvers<never>()
  const connections = await Promise.all(
    Array.from({ length: job.connections }, () => openConnection(job.port, failure.reject)),
  )
  const givenUp = new AbortController()
  const answers = createTally(job.collect === undefined ? undefined : [])
  try {
    const meter = startMeter(job)
    const driven = await Promise.race([
      drive(job, connections, requests, answers.count, givenUp.signal),
      failure.promise,
    ])
    const used = meter()
    if (job.collect !== undefined) lists.set(job.collect, answers.collected ?? [])
    return summary(driven, used, answers)
  } finally {
    givenUp.abort()
    for (const connection of connections) connection.close()
  }
}

function drive(
  job: RunJob,
  connections: readonly Connection[],
  requests: readonly Buffer[],
  count: OnAnswer,
  givenUp: AbortSignal,
): Promise<Driven> {
  if (job.perSecond === undefined) {
    let sent = 0
    const next = () => {
      if (sent === job.limit) return undefined
      const index = job.cycle ? sent % requests.length : sent
      sent += 1
      return requests[index]
    }
    return driveClosed(connections, next, job.seconds * 1000, count, givenUp)
  }
  const wanted = Math.ceil(job.seconds * job.perSecond)
  if (!job.cycle && requests.length < wanted) throw new Error('too few tokens for an open-loop run')
  const scheduled = Array.from(
    { length: wanted },
    (_, index) => requests[index % requests.length] ?? Buffer.alloc(0),
  )
  const arrivals = poissonArrivals(wanted, job.perSecond, job.seed ?? 1)
  return driveOpen(connections, scheduled, arrivals, count, givenUp)
}

interface Tally {
  refused: number
  firstRefusal: string | undefined
  readonly collected: string[] | undefined
  readonly count: OnAnswer
}

function createTally(collected: string[] | undefined): Tally {
  const tally: Tally = {
    refused: 0,
    firstRefusal: undefined,
    collected,
    count({ status, body }) {
      if (status !== 200) {
        tally.refused += 1
        tally.firstRefusal ??= `${status} ${body.toString('utf8', 0, 300)}`
      } else if (collected) {
        collected.push(textIn(jsonObject(JSON.parse(body.toString())), 'access_token'))
      }
    },
  }
  return tally
}

interface Used {
  readonly server: number
  readonly foreign: number | undefined
}

/** Gives, when called, the CPU microseconds used since: by the server, and by others on its core. */
function startMeter({ pid, core }: RunJob): () => Used {
  const server = cpuMicros(pid)
  const all = core === undefined ? undefined : coreMicros(core)
  return () => {
    const used = cpuMicros(pid) - server
    if (core === undefined || all === undefined) return { server: used, foreign: undefined }
    return { server: used, foreign: Math.max(0, coreMicros(core) - all - used) }
  }
}

function summary({ latencies, milliseconds }: Driven, used: Used, tally: Tally): LoadResult {
  return {
    completed: latencies.length,
    refused: tally.refused,
    firstRefusal: tally.firstRefusal,
    perSecond: (latencies.length / milliseconds) * 1000,
    cpuMicrosPerRequest: used.server / latencies.length,
    busy: used.server / (milliseconds * 1000),
    foreign: used.foreign === undefined ? undefined : used.foreign / (milliseconds * 1000),
    milliseconds: spreadOf(latencies),
  }
}

/** What the generator answers to a job. */
export type LoadReply = { readonly result: LoadResult | null } | { readonly error: string }

function reply(answer: LoadReply): void {
  process.send?.(answer)
}

if (import.meta.main) {
  process.on('message', (job: MintJob | RunJob) => {
    if (job.op === 'mint') {
      mint(job)
      reply({ result: null })
    } else {
      run(job).then(
        (result) => reply({ result }),
        (error: unknown) => reply({ error: String(error) }),
      )
    }
  })
}
