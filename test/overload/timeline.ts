/** What is offered when, and what can be said of it afterwards. Pure: no clock, no socket. */
import { poissonArrivals } from '../../bench/drive.ts'
import { spreadOf } from '../../bench/spread.ts'

/** A stretch of a run with a constant rate for each stream. */
export interface Phase {
  readonly name: string
  readonly seconds: number
  /** Calls a second of each stream, in the order of the streams. */
  readonly perSecond: readonly number[]
  /** How often a caller asks again after anything but a 200; 0 when left out. */
  readonly retries?: number
}

/** When the calls of one stream are due, in milliseconds from the start of the run. */
export interface Arrivals {
  readonly dueAt: Float64Array
  /** Index of the first call of each phase; one more at the end for the number of calls. */
  readonly firstOf: readonly number[]
}

/**
 * Fixes beforehand when each call of a stream is due: a Poisson process at the rate of each phase, the same for the same
 * seed. Evenly spaced calls would be kinder to the server than callers that know nothing of each other are.
 */
export function arrivalsOf(phases: readonly Phase[], stream: number, seed: number): Arrivals {
  const dueAt: number[] = []
  const firstOf: number[] = []
  let start = 0
  phases.forEach(({ seconds, perSecond }, index) => {
    firstOf.push(dueAt.length)
    const rate = perSecond[stream] ?? 0
    const milliseconds = seconds * 1000
    // Half as many again and some: the last ones fall behind the end of the phase and are left out.
    const wanted = rate > 0 ? Math.ceil(rate * seconds * 1.5) + 20 : 0
    for (const at of poissonArrivals(wanted, rate, seed + index * 7919)) {
      if (at >= milliseconds) break
      dueAt.push(start + at)
    }
    start += milliseconds
  })
  firstOf.push(dueAt.length)
  return { dueAt: Float64Array.from(dueAt), firstOf }
}

/** Part of a phase. */
export interface Window {
  readonly offered: number
  readonly good: number
  /** Of the good ones, milliseconds; NaN when there was none. */
  readonly p99: number
}

/**
 * Cuts calls into windows by when they were due. `latencies` are milliseconds, NaN for a call that got no 200 in time.
 * A window that the phase cuts short is left out.
 */
export function windowsOf(
  { dueAt, latencies }: { readonly dueAt: Float64Array; readonly latencies: Float64Array },
  bounds: { readonly from: number; readonly seconds: number; readonly milliseconds: number },
): Window[] {
  const count = Math.floor((bounds.seconds * 1000) / bounds.milliseconds)
  const windows = Array.from({ length: count }, () => ({ offered: 0, good: [] as number[] }))
  dueAt.forEach((due, index) => {
    const window = windows[Math.floor((due - bounds.from) / bounds.milliseconds)]
    const latency = latencies[index] ?? Number.NaN
    if (!window) return
    window.offered += 1
    if (!Number.isNaN(latency)) window.good.push(latency)
  })
  return windows.map(({ offered, good }) => ({
    offered,
    good: good.length,
    p99: good.length ? spreadOf(Float64Array.from(good)).p99 : Number.NaN,
  }))
}

/** What counts as normal again. */
export interface Normal {
  /** Least share of the offered calls that must be answered well. */
  readonly goodShare: number
  /** Milliseconds. */
  readonly p99: number
  /** So many windows in a row. */
  readonly windows: number
}

/** Milliseconds from the start of the windows until all was normal for a while; undefined when that was never. */
export function recoveryMilliseconds(
  windows: readonly Window[],
  windowMilliseconds: number,
  normal: Normal,
): number | undefined {
  let inARow = 0
  for (const [index, { offered, good, p99 }] of windows.entries()) {
    const isNormal = offered > 0 && good >= offered * normal.goodShare && p99 <= normal.p99
    inARow = isNormal ? inARow + 1 : 0
    if (inARow === normal.windows) return (index + 1 - normal.windows) * windowMilliseconds
  }
  return undefined
}
