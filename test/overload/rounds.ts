/** Two conditions in turn, so that a bad minute of the machine hits both. */
import { median } from '../../bench/spread.ts'
import type { Fate } from './jobs.ts'

/** The same calls, first under the ordinary condition and then under the other one. */
export interface Pair {
  readonly ordinary: Fate
  readonly attacked: Fate
}

/** What pairs show together. */
export interface Comparison {
  readonly pairs: number
  /** Median over the pairs of p99 when attacked against p99 before: 1.2 is a rise by 20 %. */
  readonly p99Ratio: number
  /** Medians, milliseconds. */
  readonly ordinaryP99: number
  readonly attackedP99: number
  readonly ordinaryP50: number
  readonly attackedP50: number
  /** Share of the calls answered with 200 in time while attacked, all pairs together. */
  readonly answered: number
}

/** Puts pairs together. */
export function compare(pairs: readonly Pair[]): Comparison {
  const of = (pick: (pair: Pair) => number) => median(pairs.map(pick))
  const sum = (pick: (pair: Pair) => number) => pairs.reduce((total, pair) => total + pick(pair), 0)
  return {
    pairs: pairs.length,
    p99Ratio: of(({ ordinary, attacked }) => attacked.p99 / ordinary.p99),
    ordinaryP99: of(({ ordinary }) => ordinary.p99),
    attackedP99: of(({ attacked }) => attacked.p99),
    ordinaryP50: of(({ ordinary }) => ordinary.p50),
    attackedP50: of(({ attacked }) => attacked.p50),
    answered: sum(({ attacked }) => attacked.good) / sum(({ attacked }) => attacked.offered),
  }
}

/** One line for people. */
export function described({
  pairs,
  ordinaryP50,
  ordinaryP99,
  attackedP50,
  attackedP99,
  answered,
}: Comparison): string {
  return `${spread(attackedP50, attackedP99)} against ${spread(ordinaryP50, ordinaryP99)}, ${pairs} pairs, ${(answered * 100).toFixed(1)} % answered`
}

function spread(p50: number, p99: number): string {
  return `p50 ${p50.toFixed(1)} p99 ${p99.toFixed(1)} ms`
}
