/** How much is gathered and how long is waited. */
export interface GroupCommitOptions {
  /** Most items of one commit. */
  readonly maxBatch: number
  /** Most items waiting or being committed; beyond it `submit` rejects at once. */
  readonly maxPending: number
  /** Commits that may run at the same time. */
  readonly maxRunning: number
  /** A commit that takes longer is given up on: what waits for it rejects, and so does whatever comes until it ends. */
  readonly stallMilliseconds: number
}

/** Turns many single writes into few commits. */
export interface GroupCommit<Item, Result> {
  /**
   * Resolves with what the commit said about `item`. Rejects within {@link SWEEP_MILLISECONDS} of `signal`, when the
   * commit failed, when too much is waiting, and when commits have stalled. A caller that gave up takes nothing away
   * from the others of the batch, and its item may be committed all the same.
   */
  submit(item: Item, signal: AbortSignal): Promise<Result>
  /** Lets what is waiting finish, then resolves; later submits reject. */
  close(): Promise<void>
}

export interface GroupCommitDeps<Item, Result> {
  /** Commits all items and answers for each, in order: its result, or an error that concerns it alone. */
  readonly commit: (items: readonly Item[]) => Promise<readonly (Result | Error)[]>
}

/** How late after its signal a caller may be told. */
export const SWEEP_MILLISECONDS = 5

interface Waiter<Item, Result> {
  readonly item: Item
  readonly signal: AbortSignal
  readonly resolve: (result: Result) => void
  readonly reject: (error: Error) => void
  done: boolean
}

interface Running<Item, Result> {
  readonly waiters: readonly Waiter<Item, Result>[]
  sweeps: number
  stalled: boolean
}

function fail<Item, Result>(waiter: Waiter<Item, Result>, message: string, cause?: unknown): void {
  if (waiter.done) return
  waiter.done = true
  waiter.reject(new Error(message, cause === undefined ? undefined : { cause }))
}

/** Tells each waiter what the commit said about its item. */
function settle<Item, Result>(
  waiters: readonly Waiter<Item, Result>[],
  outcomes: readonly (Result | Error)[],
): void {
  for (const [index, waiter] of waiters.entries()) {
    if (waiter.done) continue
    const outcome = outcomes[index]
    if (outcome === undefined) fail(waiter, 'The store gave no answer for this write.')
    else if (outcome instanceof Error) fail(waiter, outcome.message, outcome)
    // "Settles before `signal` fires or rejects": an answer that comes too late is none.
    else if (waiter.signal.aborted) fail(waiter, 'The store answered too late.')
    else {
      waiter.done = true
      waiter.resolve(outcome)
    }
  }
}

/**
 * Gathers items while a commit is running and sends the next batch the moment it ends; an item that meets an idle store
 * starts in the same turn of the event loop, together with whatever else arrived in it. So one request alone waits for
 * one commit, and a crowd shares one.
 *
 * Deadlines cost nothing per item: a listener on each `AbortSignal` would take longer than the rest of `submit`. One timer
 * looks at all that wait, every {@link SWEEP_MILLISECONDS}, and stands still while nothing does.
 */
export function createGroupCommit<Item, Result>(
  { commit }: GroupCommitDeps<Item, Result>,
  { maxBatch, maxPending, maxRunning, stallMilliseconds }: GroupCommitOptions,
): GroupCommit<Item, Result> {
  let queue: Waiter<Item, Result>[] = []
  const running = new Set<Running<Item, Result>>()
  let pending = 0
  let stalled = 0
  let flushing = false
  let sweeping = false
  let sweeper: NodeJS.Timeout | undefined
  let whenDrained: (() => void) | undefined
  let closed = false

  function flush(): void {
    flushing = false
    while (queue.length > 0 && running.size < maxRunning) {
      const waiters = queue.length <= maxBatch ? queue : queue.slice(0, maxBatch)
      queue = queue.length <= maxBatch ? [] : queue.slice(maxBatch)
      void run({ waiters, sweeps: 0, stalled: false })
    }
  }

  async function run(batch: Running<Item, Result>): Promise<void> {
    running.add(batch)
    let outcomes: readonly (Result | Error)[]
    try {
      outcomes = await commit(batch.waiters.map((waiter) => waiter.item))
    } catch (error) {
      const failure =
        error instanceof Error ? error : new Error('The store failed.', { cause: error })
      outcomes = batch.waiters.map(() => failure)
    }
    running.delete(batch)
    if (batch.stalled) stalled -= 1
    pending -= batch.waiters.length
    flush() // before the callers go on: the store works while they do
    settle(batch.waiters, outcomes)
    if (pending === 0) whenDrained?.()
  }

  function sweep(): void {
    sweeping = false
    for (const waiter of queue) {
      if (waiter.signal.aborted) fail(waiter, 'The write was given up before the store began it.')
    }
    for (const batch of running) {
      for (const waiter of batch.waiters) {
        if (waiter.signal.aborted) fail(waiter, 'The store did not confirm the write in time.')
      }
      // Counted in sweeps, not by the clock: a process that was stopped for a minute has not waited for a minute.
      batch.sweeps += 1
      if (!batch.stalled && batch.sweeps * SWEEP_MILLISECONDS >= stallMilliseconds) stall(batch)
    }
    if (pending > 0) startSweeping()
  }

  function stall(batch: Running<Item, Result>): void {
    batch.stalled = true
    stalled += 1
    for (const waiter of batch.waiters) fail(waiter, 'The store has stalled.')
    if (stalled < maxRunning) return
    for (const waiter of queue) fail(waiter, 'The store has stalled.')
    pending -= queue.length
    queue = []
    whenDrained?.()
  }

  function startSweeping(): void {
    if (sweeping) return
    sweeping = true
    sweeper = sweeper?.refresh() ?? setTimeout(sweep, SWEEP_MILLISECONDS)
  }

  function refusal(signal: AbortSignal): string | undefined {
    if (closed) return 'The store is closed.'
    if (signal.aborted) return 'The write was given up before it began.'
    if (stalled >= maxRunning) return 'The store has stalled.'
    if (pending >= maxPending) return 'Too many writes are waiting for the store.'
    return undefined
  }

  return {
    submit(item, signal) {
      const reason = refusal(signal)
      if (reason !== undefined) return Promise.reject(new Error(reason))
      return new Promise<Result>((resolve, reject) => {
        queue.push({ item, signal, resolve, reject, done: false })
        pending += 1
        startSweeping()
        if (flushing || running.size >= maxRunning) return
        flushing = true
        setImmediate(flush)
      })
    },

    async close() {
      closed = true
      if (pending > 0 && stalled < maxRunning) {
        await new Promise<void>((resolve) => {
          whenDrained = resolve
        })
      }
      if (sweeper !== undefined) clearTimeout(sweeper)
      sweeper = undefined
      sweeping = true // a late answer must not start it again
    },
  }
}
