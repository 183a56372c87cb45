/** How long appends to the ledger took, as rolemint's own histogram has it: nothing is added to the product for this. */

const METRIC = 'rolemint_ledger_append_duration_seconds'

/** Appends so far that took at most `le` seconds, in order of `le`; the last one is infinite. */
export type Buckets = readonly { readonly le: number; readonly count: number }[]

/** A quantile between the bounds of its bucket. The true value is between `from` and `to`; `value` is interpolated. Milliseconds. */
export interface Quantile {
  readonly value: number
  readonly from: number
  readonly to: number
}

/** Reads `/metrics` of the admin port. @throws {Error} when the histogram is not there. */
export async function readLedgerBuckets(adminPort: number): Promise<Buckets> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  return parseBuckets(await answer.text())
}

/** The buckets in a text of metrics. @throws {Error} when they are not there. */
export function parseBuckets(text: string): Buckets {
  const lines = text.matchAll(new RegExp(`^${METRIC}_bucket\\{le="([^"]+)"\\} (\\d+)$`, 'gm'))
  const buckets = [...lines].map(([, le, count]) => ({
    le: le === '+Inf' ? Infinity : Number(le),
    count: Number(count),
  }))
  if (buckets.length === 0) throw new Error(`there is no ${METRIC} in the metrics`)
  return buckets
}

/**
 * The quantile of what was counted between two readings, linear within its bucket as Prometheus does it. In the last
 * bucket, which has no upper bound, it is the lower one. Undefined when nothing was counted.
 */
export function quantileBetween(
  before: Buckets,
  after: Buckets,
  share: number,
): Quantile | undefined {
  const counts = after.map(({ le, count }, index) => ({
    le,
    count: count - (before[index]?.count ?? 0),
  }))
  const rank = share * (counts.at(-1)?.count ?? 0)
  const at = counts.findIndex(({ count }) => count >= rank)
  const bucket = counts[at]
  if (rank === 0 || !bucket) return undefined
  const below = counts[at - 1] ?? { le: 0, count: 0 }
  const part = (rank - below.count) / (bucket.count - below.count)
  const value = Number.isFinite(bucket.le) ? below.le + part * (bucket.le - below.le) : below.le
  return { value: value * 1000, from: below.le * 1000, to: bucket.le * 1000 }
}
