/** Who waits for a place: fair among tenants, in their order or the other way round. Knows no clock and no promise. */

/** One who waits. */
export interface Waiter {
  /** Milliseconds of the monotonic clock. */
  readonly since: number
}

/** Those who wait, by tenant. */
export interface FairQueue<W extends Waiter> {
  readonly length: number
  /** How many of this tenant wait. */
  lengthOf(tenant: string): number
  push(tenant: string, waiter: W): void
  /**
   * The next to be served: tenants take turns, so that however many of one wait, a request of another waits for one of each at most. Of one tenant
   * it is the newest or the oldest.
   */
  next(isNewest: boolean): W | undefined
  /** Takes out all who have waited since before `then`, the oldest of each tenant first. */
  expire(then: number): W[]
}

/** A queue with nobody in it. Bounding it is up to its user. */
export function createFairQueue<W extends Waiter>(): FairQueue<W> {
  /** In the order of their turns; a tenant is here only while somebody of it waits. */
  const stacks = new Map<string, W[]>()
  let length = 0
  return {
    get length() {
      return length
    },
    lengthOf: (tenant) => stacks.get(tenant)?.length ?? 0,
    push(tenant, waiter) {
      const stack = stacks.get(tenant)
      if (stack) stack.push(waiter)
      else stacks.set(tenant, [waiter])
      length += 1
    },
    next(isNewest) {
      const [first] = stacks
      if (!first) return undefined
      const [tenant, stack] = first
      // To the end of the round.
      stacks.delete(tenant)
      const waiter = isNewest ? stack.pop() : stack.shift()
      if (stack.length > 0) stacks.set(tenant, stack)
      if (waiter) length -= 1
      return waiter
    },
    expire(then) {
      const expired: W[] = []
      for (const [tenant, stack] of stacks) {
        const kept = stack.findIndex(({ since }) => since >= then)
        if (kept === 0) continue
        const gone = stack.splice(0, kept === -1 ? stack.length : kept)
        expired.push(...gone)
        if (stack.length === 0) stacks.delete(tenant)
      }
      length -= expired.length
      return expired
    },
  }
}
