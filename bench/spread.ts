/** What a list of measurements looks like. */
export interface Spread {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

/** Percentiles by the nearest-rank method: every figure is one that was really measured. Sorts `values` in place. */
export function spreadOf(values: Float64Array): Spread {
  values.sort()
  const at = (share: number) => values[Math.max(0, Math.ceil(values.length * share) - 1)] ?? NaN
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) }
}

/** The median; the mean of the two middle values when there are two. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] ?? NaN
  return (lower + upper) / 2
}
