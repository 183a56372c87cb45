import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import type { Random } from '../lib/id.ts'
import {
  type Forget,
  type Kept,
  type Lives,
  LoadFailed,
  type Served,
  type Shelf,
  type ShelfFacts,
  type SwrCache,
  type SwrCacheFacts,
} from './swr.ts'
import { type FailureOf, Loads, type Span } from './swr-loads.ts'

/** What a cache needs. */
interface SwrCacheDeps {
  readonly clock: Clock
  readonly random: Random
}

/** How a cache is bounded and what its failures mean. */
interface SwrCacheOptions<V> {
  readonly maxEntries: number
  readonly maxBytes: number
  /** Bytes of an answer without its key. */
  readonly sizeOf: (value: V) => number
  readonly failureOf: FailureOf
  /** Told of a bug in a load that nobody waited for. */
  readonly unexpected: (error: unknown) => void
}

interface Entry<V> extends Kept<V> {
  readonly span: Span
  readonly bytes: number
  /** Which part of its life passes before a new answer is loaded. */
  readonly share: number
}

/** The data of a shelf, which outlives the configuration it was made for. */
interface Stock {
  readonly tags: readonly string[]
  readonly version: string
  readonly prefix: string
  span: Span
}

/** A new answer is loaded after this part of `fresh` at the earliest, and at its end at the latest: ten per cent either side of 0.9. */
const LEAST_SHARE = 0.8
const VERSIONS_KEPT = 4
/** What an entry costs besides value and key: objects and places in the maps. */
const ENTRY_BYTES = 400

/**
 * Makes a cache. Nothing in it runs on a timer but the deadlines of loads.
 *
 * lru-cache only stores, by `get` and `set`: its `fetch` turns a failed first load into `undefined`, lets the signal of one caller end
 * the load of all, and knows no limit to staleness. Times are judged here alone, by the clock given.
 */
export function createSwrCache<V>(deps: SwrCacheDeps, options: SwrCacheOptions<V>): SwrCache<V> {
  return new Cache(deps, options)
}

class Cache<V> implements SwrCache<V> {
  readonly clock: Clock
  readonly unexpected: (error: unknown) => void
  readonly loads: Loads<V>
  hits = 0
  readonly #random: Random
  readonly #options: SwrCacheOptions<V>
  readonly #entries: LRUCache<string, Entry<V>>
  /** By tags; the newest version last. As many as were ever configured. */
  readonly #stocks = new Map<string, Stock[]>()

  constructor({ clock, random }: SwrCacheDeps, options: SwrCacheOptions<V>) {
    this.clock = clock
    this.unexpected = options.unexpected
    this.#random = random
    this.#options = options
    this.#entries = new LRUCache({
      max: options.maxEntries,
      maxSize: options.maxBytes,
      sizeCalculation: ({ bytes }) => bytes,
      dispose: ({ span, bytes }) => {
        span.entries -= 1
        span.bytes -= bytes
      },
    })
    this.loads = new Loads({
      clock,
      chance: () => this.#chance(),
      failureOf: options.failureOf,
      keep: (key, kept, span) => this.#keep(key, kept, span),
      keptAt: (key, span) => this.current(key, span)?.askedAt,
      isFresh: (kept, { lives }) => isFresh(kept, lives, clock.now()),
    })
  }

  shelf(facts: ShelfFacts<V>): Shelf<V> {
    const name = facts.tags.join('\0')
    const versions = this.#stocks.get(name) ?? []
    let stock = versions.find(({ version }) => version === facts.version)
    if (!stock) {
      const prefix = `${name}\0${facts.version}\0`
      stock = { tags: facts.tags, version: facts.version, prefix, span: newSpan() }
      versions.push(stock)
      this.#stocks.set(name, versions)
      // Should its configuration come back, its answers must not: no purge would have reached them.
      if (versions.length > VERSIONS_KEPT) this.#empty(versions.shift())
    }
    return new StockedShelf(this, stock, facts)
  }

  purge({ tags, ids }: Forget): number {
    const stocks = [...this.#stocks.values()]
      .flat()
      .filter((stock) => tags.every((tag) => stock.tags.includes(tag)))
    return stocks.reduce(
      (total, stock) => total + (ids ? this.#forget(stock, ids) : this.#empty(stock)),
      0,
    )
  }

  facts(): SwrCacheFacts {
    return {
      entries: this.#entries.size,
      bytes: this.#entries.calculatedSize,
      maxBytes: this.#options.maxBytes,
      loading: this.loads.underWay,
      hits: this.hits,
      loads: this.loads.begun,
      shelves: [...this.#stocks.values()].map((versions) => {
        const spans = versions.map(({ span }) => span)
        const tags = versions[0]?.tags ?? []
        return { tags, entries: sum(spans, 'entries'), bytes: sum(spans, 'bytes') }
      }),
    }
  }

  /** The answer under this key, unless a purge came after it. */
  current(key: string, span: Span): Entry<V> | undefined {
    const entry = this.#entries.get(key)
    return entry?.span === span ? entry : undefined
  }

  drop(key: string): void {
    this.#entries.delete(key)
  }

  #keep(key: string, { value, askedAt, negative }: Kept<V>, span: Span): void {
    const bytes = Math.ceil(this.#options.sizeOf(value)) + 2 * key.length + ENTRY_BYTES
    const share = 1 - (1 - LEAST_SHARE) * this.#chance()
    // One that is larger than the whole cache is not stored, and takes the one before it away.
    this.#entries.set(key, { value, askedAt, negative, span, bytes, share })
    if (bytes > this.#options.maxBytes) return
    span.entries += 1
    span.bytes += bytes
  }

  #forget({ prefix, span }: Stock, ids: readonly string[]): number {
    let forgotten = 0
    for (const id of ids) {
      const key = prefix + id
      if (this.current(key, span)) forgotten += 1
      this.#entries.delete(key)
      this.loads.forget(key)
    }
    return forgotten
  }

  /** What was in it stays in memory, unreachable, until newer answers push it out. */
  #empty(stock: Stock | undefined): number {
    if (!stock) return 0
    const { entries } = stock.span
    stock.span = newSpan()
    return entries
  }

  /** At least 0, less than 1. */
  #chance(): number {
    return this.#random.bytes(4).readUInt32BE() / 2 ** 32
  }
}

class StockedShelf<V> implements Shelf<V> {
  readonly #cache: Cache<V>
  readonly #stock: Stock
  readonly #facts: ShelfFacts<V>

  constructor(cache: Cache<V>, stock: Stock, facts: ShelfFacts<V>) {
    this.#cache = cache
    this.#stock = stock
    this.#facts = facts
  }

  atHand(id: string, now: number): Kept<V> | undefined {
    const key = this.#stock.prefix + id
    const entry = this.#cache.current(key, this.#stock.span)
    if (!entry) return undefined
    const age = now - entry.askedAt
    if (age < 0) {
      // The clock was set back. How old the answer really is nobody knows; kept, it would be young again one day.
      this.#cache.drop(key)
      return undefined
    }
    const { lives } = this.#facts
    const fresh = entry.negative ? lives.negative : lives.fresh
    if (age >= fresh * entry.share) {
      if (age >= fresh && !this.#isUsableStale(entry, age, key, now)) return undefined
      this.#refresh(id, key, now)
    }
    this.#cache.hits += 1
    return entry
  }

  async get(id: string): Promise<Served<V>> {
    const kept = this.atHand(id, this.#cache.clock.now())
    if (kept) return { kept, from: 'memory' }
    const key = this.#stock.prefix + id
    try {
      return await this.#load(id, key)
    } catch (error) {
      const last = error instanceof LoadFailed ? this.last(id) : undefined
      if (!last || !this.#mayStandIn(last)) throw error
      this.#cache.hits += 1
      return { kept: last, from: 'memory' }
    }
  }

  last(id: string): Kept<V> | undefined {
    return this.#cache.current(this.#stock.prefix + id, this.#stock.span)
  }

  #isUsableStale({ negative }: Entry<V>, age: number, key: string, now: number): boolean {
    const { lives, bridgesFailure } = this.#facts
    if (negative || age >= lives.fresh + lives.stale) return false
    return bridgesFailure || !this.#cache.loads.hasFailed(key, this.#stock.span, now)
  }

  /** Whether it may be used now that loading has failed. */
  #mayStandIn(last: Kept<V>): boolean {
    const { lives, bridgesFailure } = this.#facts
    const now = this.#cache.clock.now()
    if (isFresh(last, lives, now)) return true
    const age = now - last.askedAt
    const limit = lives.fresh + Math.max(lives.stale, lives.staleIfError)
    return bridgesFailure && !last.negative && age >= 0 && age < limit
  }

  #load(id: string, key: string): Promise<Served<V>> {
    const stock = this.#stock
    const { span } = stock
    return this.#cache.loads.load({ id, key, span, current: () => stock.span, facts: this.#facts })
  }

  /** Loads without anybody waiting. A failure is remembered by the load itself. */
  #refresh(id: string, key: string, now: number): void {
    if (!this.#cache.loads.isDue(key, this.#stock.span, now)) return
    this.#load(id, key).catch((error: unknown) => {
      if (!(error instanceof LoadFailed)) this.#cache.unexpected(error)
    })
  }
}

function isFresh(kept: Kept<unknown>, lives: Lives, now: number): boolean {
  const age = now - kept.askedAt
  return age >= 0 && age < (kept.negative ? lives.negative : lives.fresh)
}

function sum(spans: readonly Span[], of: keyof Span): number {
  return spans.reduce((total, span) => total + span[of], 0)
}

function newSpan(): Span {
  return { entries: 0, bytes: 0 }
}
