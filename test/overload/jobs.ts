/** What the programs and the generator's process say to each other. */
import type { JsonWebKey } from 'node:crypto'
import type { Phase, Window } from './timeline.ts'

/** Whom to call and what to say. */
export interface Stream {
  readonly name: string
  readonly port: number
  readonly path: string
  /** The form; a token goes to its end. */
  readonly form: string
  readonly connections: number
  /** Number of machines the connections come from. */
  readonly addresses: number
}

/** A question that must be answered whatever else is going on. */
export interface Probe {
  readonly name: string
  readonly port: number
  /** A complete request. With `Connection: close` in it, each comes on a connection of its own. */
  readonly request: string
  readonly everyMilliseconds: number
}

/** The process that is measured, and the core it is pinned to, if it is. */
export interface Server {
  readonly pid: number
  readonly core: number | undefined
}

/** Makes the tokens of all later jobs. */
export interface MintJob {
  readonly op: 'mint'
  readonly count: number
  readonly users: number
  readonly audience: readonly string[]
  readonly privateJwk: JsonWebKey
}

/** Closed loop: what the server can do at most. */
export interface PeakJob {
  readonly op: 'peak'
  readonly stream: Stream
  readonly server: Server
  readonly seconds: number
}

/** Open loop through all phases without a pause. */
export interface RunJob {
  readonly op: 'run'
  readonly phases: readonly Phase[]
  readonly streams: readonly Stream[]
  readonly probes: readonly Probe[]
  readonly server: Server
  readonly timeoutMilliseconds: number
  readonly windowMilliseconds: number
  readonly seed: number
}

/** Any job. */
export type Job = MintJob | PeakJob | RunJob

/** What a peak job showed. */
export interface Peak {
  /** Answers with 200 a second. */
  readonly perSecond: number
  /** Answers with anything else. */
  readonly other: number
  /** Share of one core that the server used, and that others used of it. */
  readonly busy: number
  readonly foreign: number
}

/** How the calls of a stream, or the questions of a probe, fared in a phase. */
export interface Fate {
  readonly name: string
  readonly offered: number
  /** Attempts, retries included. */
  readonly attempts: number
  readonly good: number
  /** Milliseconds of the good ones, from when they were first due; NaN of none. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** Attempts that ended otherwise, by status or way. */
  readonly others: Readonly<Record<string, number>>
  readonly windows: readonly Window[]
}

/** What the machine did in a phase. */
export interface MachineFacts {
  /** Share of one core that the server used, and that others used of it. */
  readonly busy: number
  readonly foreign: number
  /** Largest resident memory of the server, MB. */
  readonly peakMegabytes: number
  /** 99 % of the calls were made at most so many milliseconds after they were due: how well the generator kept time. */
  readonly lateP99: number
  readonly dials: number
  readonly failedDials: number
}

/** What happened in a phase. */
export interface PhaseResult {
  readonly name: string
  readonly seconds: number
  readonly streams: readonly Fate[]
  readonly probes: readonly Fate[]
  readonly machine: MachineFacts
}

/** What the generator answers to a job. */
export type Reply =
  | { readonly result: null | Peak | readonly PhaseResult[] }
  | { readonly error: string }
