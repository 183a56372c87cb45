/** Work of which only one copy runs at a time for each key. */
export interface SingleFlight<T> {
  /**
   * The outcome of the work for `key`: of the run under way, or of `start()` when there is none.
   *
   * A failure reaches everybody who shares the run and is not remembered. `start` gets no signal of a caller on purpose:
   * if the first caller's budget ended the run, one impatient client could fail everybody else's request.
   */
  run(key: string, start: () => Promise<T>): Promise<T>
  /** Number of runs under way. */
  size(): number
}

/** Coalesces concurrent work by key, so that a thousand requests for one user make one call upstream. */
export function createSingleFlight<T>(): SingleFlight<T> {
  const underWay = new Map<string, Promise<T>>()
  return {
    run(key, start) {
      const shared = underWay.get(key)
      if (shared) return shared
      const flight = start().finally(() => underWay.delete(key))
      underWay.set(key, flight)
      // Everybody may have stopped waiting by the time it fails; that is no bug of the process.
      flight.catch(() => undefined)
      return flight
    },
    size: () => underWay.size,
  }
}
