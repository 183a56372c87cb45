import type { createKeys } from '../../src/keys/keys.ts'
import { playHistory } from './history.ts'

/** Seeds of histories that follow one another. */
export interface Seeds {
  readonly from: number
  readonly count: number
  /** After this many histories with a broken promise no more are played. */
  readonly patience: number
}

/** A promise that did not hold. */
export interface Breach {
  readonly seed: number
  readonly what: string
}

/** What became of many histories. */
export interface Report {
  /** How many were played. */
  readonly histories: number
  readonly breaches: readonly Breach[]
  /** What happened in them, counted. */
  readonly reached: ReadonlyMap<string, number>
}

/**
 * Plays histories of a key ring with three replicas: crashes, stores that fail or are down, replicas that are cut off, clocks off by up to
 * the skew, races, orders by hand.
 *
 * @param create `createKeys` of the product, or of a copy with a bug in it.
 */
export async function runHistories(
  { from, count, patience }: Seeds,
  create: typeof createKeys,
): Promise<Report> {
  const reached = new Map<string, number>()
  const breaches: Breach[] = []
  let histories = 0
  while (histories < count && breaches.length < patience) {
    const seed = from + histories
    const { broken, reached: times } = await playHistory(seed, create)
    histories += 1
    for (const [what, more] of times) reached.set(what, (reached.get(what) ?? 0) + more)
    if (broken !== undefined) breaches.push({ seed, what: broken })
  }
  return { histories, breaches, reached }
}
