/** Places for calls at the same time, with a short queue before them. */
export interface Slots {
  /**
   * Takes a place, at once or after a wait; `false` when the queue is full or the wait was too long. Who got one must give it back.
   */
  take(waitMilliseconds: number): boolean | Promise<boolean>
  giveBack(): void
  taken(): number
}

/**
 * First come, first served; `limits` are asked for with every call, so they may change.
 *
 * cockatiel's bulkhead is not used: a caller who gave up keeps its place in that queue until it is its turn, so a slow dependency fills it
 * with the dead; and a place that becomes free can be snatched by a newcomer, whereupon the one it was meant for is refused or goes last.
 */
export function createSlots(
  limits: () => { readonly concurrency: number; readonly queue: number },
): Slots {
  // A set, because it keeps the order and lets anyone leave.
  const waiting = new Set<() => void>()
  let taken = 0

  return {
    take(waitMilliseconds) {
      const { concurrency, queue } = limits()
      if (taken < concurrency) {
        taken += 1
        return true
      }
      if (waiting.size >= queue || waitMilliseconds <= 0) return false
      return new Promise((resolve) => {
        const timer = setTimeout(() => {
          waiting.delete(admit)
          resolve(false)
        }, waitMilliseconds)
        const admit = (): void => {
          clearTimeout(timer)
          resolve(true)
        }
        waiting.add(admit)
      })
    },
    giveBack() {
      const [next] = waiting
      // Handed over, not given up: nobody can come in between.
      if (next && taken <= limits().concurrency) {
        waiting.delete(next)
        next()
      } else taken -= 1
    },
    taken: () => taken,
  }
}
