import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import { withDeadline } from './deadline.ts'
import { type Kept, LoadFailed, type Served, type ShelfFacts } from './swr.ts'

/** One span between two purges of a shelf: what was begun in an earlier one is void, without any list of it. */
export interface Span {
  entries: number
  bytes: number
}

/** What a load is for. */
export interface Wanted<V> {
  readonly id: string
  /** The id with the name of its shelf. */
  readonly key: string
  readonly span: Span
  /** The span that the shelf is in now. */
  readonly current: () => Span
  readonly facts: ShelfFacts<V>
}

/** What an error of a load means: whether the source was asked at all, and how long it wants to be left alone. Undefined: it is a bug. */
export type FailureOf = (
  error: unknown,
) => { readonly asked: boolean; readonly waitMilliseconds: number } | undefined

interface LoadsDeps<V> {
  readonly clock: Clock
  /** At least 0, less than 1. */
  readonly chance: () => number
  readonly failureOf: FailureOf
  readonly keep: (key: string, kept: Kept<V>, span: Span) => void
  /** When the answer at hand was asked for; undefined when there is none. */
  readonly keptAt: (key: string, span: Span) => number | undefined
  readonly isFresh: (kept: Kept<V>, facts: ShelfFacts<V>) => boolean
}

interface Flight<V> {
  readonly span: Span
  readonly promise: Promise<Served<V>>
}

interface Failure {
  readonly span: Span
  readonly error: unknown
  readonly at: number
  readonly until: number
  readonly streak: number
}

/** Failures remembered. They are kept apart from answers, so that an outage pushes no answer out. */
const MAX_FAILURES = 10_000
const FIRST_WAIT_MILLISECONDS = 500
/** Long enough to spare a dead source, short enough that nobody waits long for one that is back. */
const LONGEST_WAIT_MILLISECONDS = 5000
/** A source may ask to be left alone for longer than we would. */
const LONGEST_ASKED_WAIT_MILLISECONDS = 60_000

/**
 * The loads under way, one a key, and the failures of a moment ago. Loads are as many as requests, which admission bounds, and each ends
 * at its deadline.
 */
export class Loads<V> {
  readonly #deps: LoadsDeps<V>
  readonly #underWay = new Map<string, Flight<V>>()
  readonly #failures = new LRUCache<string, Failure>({ max: MAX_FAILURES })
  #begun = 0

  constructor(deps: LoadsDeps<V>) {
    this.#deps = deps
  }

  get begun(): number {
    return this.#begun
  }

  get underWay(): number {
    return this.#underWay.size
  }

  /** True when loading has failed and no answer has come since. */
  hasFailed(key: string, span: Span, now: number): boolean {
    return this.#failure(key, span, now) !== undefined
  }

  /** False while a load is under way or the last failure is to be left alone. */
  isDue(key: string, span: Span, now: number): boolean {
    if (this.#underWay.get(key)?.span === span) return false
    return (this.#failure(key, span, now)?.until ?? now) <= now
  }

  /**
   * The load under way, or a new one.
   * @throws {LoadFailed} when it fails, or at once while the last failure is to be left alone; a bug as it is.
   */
  load(wanted: Wanted<V>): Promise<Served<V>> {
    const { key, span } = wanted
    const shared = this.#underWay.get(key)
    if (shared?.span === span) return shared.promise
    const now = this.#deps.clock.now()
    const failure = this.#failure(key, span, now)
    if (failure && now < failure.until)
      return Promise.reject(new LoadFailed(failure.error, failure.until - now))
    return this.#begin(wanted)
  }

  /** Forgets the failure of this key, and that a load of it is under way: whoever comes next begins another. */
  forget(key: string): void {
    this.#underWay.delete(key)
    this.#failures.delete(key)
  }

  #failure(key: string, span: Span, now: number): Failure | undefined {
    const failure = this.#failures.get(key)
    // One from the future is from before the clock was set back: how long ago it was nobody knows.
    return failure?.span === span && failure.at <= now ? failure : undefined
  }

  #begin(wanted: Wanted<V>): Promise<Served<V>> {
    const { key, span, current } = wanted
    const { promise, resolve, reject } = Promise.withResolvers<Served<V>>()
    const flight: Flight<V> = { span, promise }
    this.#begun += 1
    this.#underWay.set(key, flight)
    // A purge takes the load out of the list, or ends the span that it was begun in.
    const counts = (): boolean => this.#underWay.get(key) === flight && current() === span
    const landed = (): void => {
      if (this.#underWay.get(key) === flight) this.#underWay.delete(key)
    }
    this.#run(wanted, counts).finally(landed).then(resolve, reject)
    // Everybody may have stopped waiting by the time it fails; that is no bug of the process.
    promise.catch(() => undefined)
    return promise
  }

  async #run(wanted: Wanted<V>, counts: () => boolean): Promise<Served<V>> {
    try {
      // Under a deadline of its own: by the signal of one caller, one impatient client could fail everybody's request.
      return await withDeadline(wanted.facts.deadlineMilliseconds, (signal) =>
        this.#ask(wanted, counts, signal),
      )
    } catch (error) {
      throw this.#failed(wanted, error, counts)
    }
  }

  async #ask(
    { id, key, span, facts }: Wanted<V>,
    counts: () => boolean,
    signal: AbortSignal,
  ): Promise<Served<V>> {
    const { keep, keptAt, isFresh } = this.#deps
    const shared = await facts.second?.read(id, signal)
    if (shared && counts() && shared.askedAt > (keptAt(key, span) ?? 0)) {
      // One that is not fresh is kept as well: it may stand in should the source fail.
      keep(key, shared, span)
      if (isFresh(shared, facts)) {
        this.#failures.delete(key)
        return { kept: shared, from: 'shared' }
      }
    }
    const kept = await facts.load(id, signal)
    // Too late counts for nothing either: whoever waited was told that it failed.
    if (counts()) {
      keep(key, kept, span)
      this.#failures.delete(key)
      facts.second?.write(id, kept)
    }
    return { kept, from: 'source' }
  }

  #failed({ key, span }: Wanted<V>, error: unknown, counts: () => boolean): unknown {
    const found = this.#deps.failureOf(error)
    if (!found) return error
    const at = this.#deps.clock.now()
    const asked = Math.min(found.waitMilliseconds, LONGEST_ASKED_WAIT_MILLISECONDS)
    const streak = (this.#failure(key, span, at)?.streak ?? 0) + (found.asked ? 1 : 0)
    // Whoever keeps us from asking knows best when to try again, and costs nothing to try.
    const wait = found.asked ? Math.max(asked, this.#backoff(streak)) : 0
    if (counts()) this.#failures.set(key, { span, error, at, until: at + wait, streak })
    return new LoadFailed(error, found.asked ? wait : asked)
  }

  #backoff(streak: number): number {
    const doubled = Math.min(FIRST_WAIT_MILLISECONDS * 2 ** (streak - 1), LONGEST_WAIT_MILLISECONDS)
    return doubled * (1.1 - 0.2 * this.#deps.chance())
  }
}
