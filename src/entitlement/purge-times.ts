import type { Purge } from './shared-answers.ts'

/** Purges remembered one by one; older ones count for everything, which costs calls and never keeps an answer too long. */
const MOST = 10_000
/** How far the clocks of two replicas may be apart: an answer stamped by a fast one must not look younger than the purge. */
const CLOCK_MARGIN_MILLISECONDS = 2000

/** When what was purged last. */
export interface PurgeTimes {
  note(what: Purge, now: number): void
  /** No answer asked for until this time counts; milliseconds since the epoch. */
  last(tenant: string, source: string, user: string): number
}

/** Remembers purges, in bounded memory. */
export function createPurgeTimes(): PurgeTimes {
  const times = new Map<string, number>()
  let floor = Number.NEGATIVE_INFINITY
  return {
    note({ tenant, source, user }, now) {
      const key = keyOf(tenant, source, user)
      const until = Math.max(now + CLOCK_MARGIN_MILLISECONDS, times.get(key) ?? 0)
      times.delete(key)
      times.set(key, until)
      for (const [oldest, at] of times) {
        if (times.size <= MOST) break
        times.delete(oldest)
        floor = Math.max(floor, at)
      }
    },
    last(tenant, source, user) {
      const covering = [
        keyOf(tenant),
        keyOf(tenant, source),
        keyOf(tenant, undefined, user),
        keyOf(tenant, source, user),
      ]
      return Math.max(floor, ...covering.map((key) => times.get(key) ?? floor))
    },
  }
}

function keyOf(tenant: string, source?: string, user?: string): string {
  return JSON.stringify([tenant, source ?? null, user ?? null])
}
