/** Collects what is asked for at the same moment, so that one request to Vault carries it. */
export interface Batches<In, Out> {
  /** What `send` answered for this item. @throws what `send` threw or answered for it; {@link TooMany} when it was not even queued. */
  ask(item: In): Promise<Out>
}

/** As many items are on their way as may be; one more would only wait and time out. */
export class TooMany extends Error {
  override readonly name = 'TooMany'

  constructor(most: number) {
    super(`${most} items are waiting already`)
  }
}

/** Bounds of {@link createBatches}. */
export interface BatchLimits {
  /** Items in a batch. */
  readonly perBatch: number
  /** Items without an answer, those in batches on their way included. */
  readonly waiting: number
}

interface Waiting<In, Out> {
  readonly item: In
  readonly resolve: (result: Out) => void
  readonly reject: (error: unknown) => void
}

/**
 * Batches of what one turn of the event loop brings: nobody waits for a timer, a lone item leaves in the turn it came in, and the busier the
 * process is the more a batch holds.
 *
 * `send` answers one result or error for each item, in the same order. An error for one item is nobody else's.
 */
export function createBatches<In, Out>(
  send: (items: readonly In[]) => Promise<readonly (Out | Error)[]>,
  { perBatch, waiting: mostWaiting }: BatchLimits,
): Batches<In, Out> {
  let collected: Waiting<In, Out>[] = []
  let unanswered = 0
  let scheduled = false

  function flush(): void {
    const batch = collected
    collected = []
    if (batch.length > 0) void deliver(batch)
  }

  async function deliver(batch: readonly Waiting<In, Out>[]): Promise<void> {
    try {
      const outcomes = await send(batch.map(({ item }) => item))
      // Results have no name but their place: with one missing, everybody behind it would get what is somebody else's.
      if (outcomes.length !== batch.length)
        throw new Error(`${batch.length} items were sent and ${outcomes.length} answers came`)
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = outcomes[index]
        if (outcome === undefined || outcome instanceof Error) reject(outcome)
        else resolve(outcome)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    } finally {
      unanswered -= batch.length
    }
  }

  return {
    ask(item) {
      if (unanswered >= mostWaiting) return Promise.reject(new TooMany(mostWaiting))
      unanswered += 1
      const { promise, resolve, reject } = Promise.withResolvers<Out>()
      collected.push({ item, resolve, reject })
      if (collected.length >= perBatch) flush()
      else if (!scheduled) {
        scheduled = true
        setImmediate(() => {
          scheduled = false
          flush()
        })
      }
      return promise
    },
  }
}
