import { LRUCache } from 'lru-cache'
import type {
  AnswerPlace,
  Purge,
  SharedAnswer,
  SharedAnswers,
} from '../../entitlement/shared-answers.ts'
import type { Clock } from '../../lib/clock.ts'

const MAX_ANSWERS = 10_000
const MAX_PURGES = 10_000
/** Replicas' clocks may differ by this much: an answer that was asked for just after a purge is not shared. */
const SLACK_MILLISECONDS = 2000

interface Stored {
  readonly place: AnswerPlace
  readonly answer: SharedAnswer
  readonly until: number
}

type Listener = (what: Purge) => void

/**
 * Answers shared by the replicas of one process, as in a test or a simulation. Each call of the function returned is the connection of
 * one replica; a purge is told to all others before it is done.
 */
export function createMemorySharedAnswers({
  clock,
}: {
  readonly clock: Clock
}): () => SharedAnswers {
  const stored = new LRUCache<string, Stored>({ max: MAX_ANSWERS })
  const purges = new LRUCache<string, number>({ max: MAX_PURGES })
  const replicas = new Set<Set<Listener>>()

  function isPurged({ tenant, source, user }: AnswerPlace, askedAt: number): boolean {
    const name = nameOf(source)
    const covering: readonly Purge[] = [
      { tenant },
      { tenant, user },
      { tenant, source: name },
      { tenant, source: name, user },
    ]
    return covering.some(
      (purge) => askedAt <= (purges.get(keyOf(purge)) ?? -SLACK_MILLISECONDS) + SLACK_MILLISECONDS,
    )
  }

  return () => {
    const own = new Set<Listener>()
    replicas.add(own)
    return {
      async get(place, signal) {
        signal.throwIfAborted()
        const found = stored.get(keyOf(place))
        return found && clock.now() < found.until ? found.answer : undefined
      },
      async put(place, answer, keepMilliseconds, signal) {
        signal.throwIfAborted()
        if (isPurged(place, answer.askedAt)) return
        const until = clock.now() + keepMilliseconds
        stored.set(keyOf(place), { place, answer: structuredClone(answer), until })
      },
      async purge(what, signal) {
        signal.throwIfAborted()
        purges.set(keyOf(what), clock.now())
        for (const [key, { place }] of stored) if (covers(what, place)) stored.delete(key)
        for (const others of replicas)
          if (others !== own) for (const listener of others) listener(what)
      },
      onPurge(listener) {
        own.add(listener)
        return () => void own.delete(listener)
      },
    }
  }
}

function keyOf({ tenant, source, user }: Purge): string {
  return JSON.stringify([tenant, source ?? null, user ?? null])
}

/** The source of a place carries a digest of its settings behind a `#`, which no name holds. */
function nameOf(source: string): string {
  return source.split('#', 1)[0] ?? ''
}

function covers(what: Purge, place: AnswerPlace): boolean {
  return (
    what.tenant === place.tenant &&
    (what.user === undefined || what.user === place.user) &&
    (what.source === undefined || what.source === nameOf(place.source))
  )
}
