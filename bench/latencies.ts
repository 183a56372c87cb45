import { attempt, type Bench } from './bench.ts'
import { measureFdatasync } from './fdatasync.ts'
import { type Quantile, quantileBetween, readLedgerBuckets } from './ledger-latency.ts'
import { exchangeForm, pace } from './scenario.ts'
import type { Spread } from './spread.ts'

/** Latencies in milliseconds at a share of rolemint's peak, round by round. */
export interface LatencyAt {
  readonly share: number
  readonly perSecond: number
  readonly rolemint: readonly Spread[]
  /** p99 of the ledger's appends alone, during the same runs. */
  readonly ledger: readonly Quantile[]
  /** A server that does nothing, at the same rate. */
  readonly trivial: readonly Spread[]
  /** One small append and fdatasync on the same disk, just before. */
  readonly fdatasync: readonly Spread[]
}

/** Shares of the peak at which latencies are measured. */
export const LOAD_SHARES = [0.5, 0.7] as const

/**
 * Cold exchanges at fixed rates, the trivial server beside them. `peakPerSecond` is rolemint's rate at saturation.
 * Both meet the same arrivals, another sample of them each round.
 */
export async function measureLatencies(bench: Bench, peakPerSecond: number): Promise<LatencyAt[]> {
  const latencies: LatencyAt[] = []
  for (const share of LOAD_SHARES) {
    const perSecond = Math.round(peakPerSecond * share)
    const at = {
      rolemint: [] as Spread[],
      ledger: [] as Quantile[],
      trivial: [] as Spread[],
      fdatasync: [] as Spread[],
    }
    for (let round = 0; round < bench.effort.rounds; round += 1) {
      bench.say(`latencies at ${share * 100} % (${perSecond}/s), round ${round + 1}`)
      at.fdatasync.push(measureFdatasync(bench.folder, bench.effort.fdatasyncs))
      const measured = await measurePair(bench, perSecond, round + 1)
      if (!measured) return latencies
      at.rolemint.push(measured.rolemint)
      if (measured.ledger) at.ledger.push(measured.ledger)
      at.trivial.push(measured.trivial)
    }
    latencies.push({ share, perSecond, ...at })
  }
  return latencies
}

function measurePair(bench: Bench, perSecond: number, seed: number) {
  const { generator, trivial, clientSecret } = bench.servers
  const seconds = bench.effort.latencySeconds
  return attempt(bench, 'rolemint exchange cold', async (scenario) => {
    const count = Math.ceil(perSecond * seconds) + 1
    await scenario.fill(count)
    const adminPort = bench.servers.rolemint?.adminPort ?? 0
    const before = await readLedgerBuckets(adminPort)
    const rolemint = await pace(generator, scenario, seconds, { perSecond, seed })
    const ledger = quantileBetween(before, await readLedgerBuckets(adminPort), 0.99)
    bench.issued += rolemint.completed
    const control = {
      target: trivial,
      path: '/token',
      form: exchangeForm(clientSecret, 'audience'),
      list: scenario.list,
      warm: false,
    }
    const idle = await pace(generator, control, seconds, { perSecond, seed })
    return { rolemint: rolemint.milliseconds, ledger, trivial: idle.milliseconds }
  })
}
