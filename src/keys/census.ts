import type { Ring, RingKey } from './ring.ts'
import type { ConsumerFetch, ConsumerStore } from './store.ts'

/** A verifier that the configuration knows. */
export interface NamedConsumer {
  /** How long it is known to keep a copy of the key set (milliseconds); undefined: for as long as the cache headers allow. */
  readonly cachesMilliseconds: number | undefined
}

/** What is known of one verifier. Evidence: a name in a query proves nothing, and a verifier that never names itself is not seen. */
export interface ConsumerReport {
  readonly consumer: string
  /** The newest key set it fetched, and when; undefined when it never named itself. */
  readonly latest: ConsumerFetch | undefined
  /** How long it may go on with a copy (milliseconds). */
  readonly keepsMilliseconds: number
  /** Keys of the ring in JWKS now that it has not fetched yet. */
  readonly lacks: readonly string[]
  /** Killed keys that it may still accept, and until when (milliseconds since the epoch). */
  readonly exposed: readonly { readonly kid: string; readonly until: number }[]
}

/** What each configured verifier knows of a ring, by what it fetched. */
export function censusOf(
  ring: Ring,
  configured: ReadonlyMap<string, NamedConsumer>,
  fetches: readonly ConsumerFetch[],
  headersAllowMilliseconds: number,
  now: number,
): readonly ConsumerReport[] {
  const served = ring.keys.filter(isServed).map(({ kid }) => kid)
  const killed = ring.keys.filter(({ state }) => state === 'compromised')
  return [...configured].map(([consumer, { cachesMilliseconds }]) => {
    const own = fetches
      .filter((one) => one.consumer === consumer)
      .toSorted((a, b) => b.lastAt - a.lastAt)
    const [latest] = own
    const keepsMilliseconds = cachesMilliseconds ?? headersAllowMilliseconds
    return {
      consumer,
      latest,
      keepsMilliseconds,
      lacks: served.filter((kid) => !latest?.kids.includes(kid)),
      exposed: killed.flatMap(({ kid, compromisedAt = now }) => {
        const last = own.find(({ kids }) => kids.includes(kid))
        if (own.length > 0 && !last) return []
        // A newer fetch does not end it: several instances may share a name. Of one that never named itself nothing is known but
        // that it cannot have fetched the key after the kill.
        const until = Math.min(last?.lastAt ?? compromisedAt, compromisedAt) + keepsMilliseconds
        return until <= now ? [] : [{ kid, until }]
      }),
    }
  })
}

/** True when every configured verifier fetched a key set with this key: nobody known would meet an unknown `kid`. */
export function isSeenByAll({ kid }: RingKey, census: readonly ConsumerReport[]): boolean {
  return census.every(({ lacks }) => !lacks.includes(kid))
}

function isServed({ state }: RingKey): boolean {
  return state === 'published' || state === 'active' || state === 'verify-only'
}

/** Notes who fetched which key set, in memory, and writes it down from time to time. */
export interface Census {
  /** Counts one fetch, 304 answers included. A name that the tenant does not know is left out. No I/O. */
  fetched(
    tenant: { readonly name: string; readonly consumers: ReadonlyMap<string, NamedConsumer> },
    consumer: string,
    set: { readonly kids: readonly string[]; readonly etag: string },
  ): void
  /** Writes down what was noted. @throws {Error} when that fails; what was noted is kept for the next call. */
  flush(signal: AbortSignal): Promise<void>
}

/** The census of this process. Memory is bounded by the configured names, and by the key sets there are between two flushes. */
export function createCensus(store: ConsumerStore, clock: { now(): number }): Census {
  let noted = new Map<string, { tenant: string; fetch: ConsumerFetch }>()

  return {
    fetched({ name, consumers }, consumer, { kids, etag }) {
      if (!consumers.has(consumer)) return
      const now = clock.now()
      const id = JSON.stringify([name, consumer, etag])
      const before = noted.get(id)?.fetch
      const fetches = (before?.fetches ?? 0) + 1
      const fetch = { consumer, kids, etag, firstAt: before?.firstAt ?? now, lastAt: now, fetches }
      noted.set(id, { tenant: name, fetch })
    },

    async flush(signal) {
      const taken = noted
      noted = new Map()
      for (const [id, { tenant, fetch }] of taken) {
        try {
          await store.add(tenant, fetch, signal)
          taken.delete(id)
        } catch (error) {
          // What came in the meantime is the newer of the two: it stays, and the older is lost for its count only.
          noted = new Map([...taken, ...noted])
          throw error
        }
      }
    },
  }
}
