/** The words of the cache in swr-cache.ts; nothing here runs but the making of an error. */
/** How long answers live; milliseconds. All but `negative` count for answers that say something. */
export interface Lives {
  /** How long an answer is used as it is. */
  readonly fresh: number
  /** How long after that it is used while a new one is loaded. */
  readonly stale: number
  /** How long after `fresh` it is used when loading fails. */
  readonly staleIfError: number
  /** How long "there is no such thing" is used; never longer, as that would keep out what came to be since. */
  readonly negative: number
}

/** An answer and when it was asked for. Its age counts from the question: whoever answered may have read at once and answered slowly. */
export interface Kept<V> {
  readonly value: V
  /** Milliseconds since the epoch. */
  readonly askedAt: number
  /** "There is no such thing". */
  readonly negative: boolean
}

/** An answer and where it came from. */
export interface Served<V> {
  readonly kept: Kept<V>
  readonly from: 'memory' | 'source' | 'shared'
}

/** A cache shared with others, behind this one. Neither call may reject or take longer than a moment. */
export interface SecondLevel<V> {
  read(id: string, signal: AbortSignal): Promise<Kept<V> | undefined>
  /** Keeps it for as long as it may be of use; nobody waits for that. */
  write(id: string, kept: Kept<V>): void
}

/** What a shelf holds, for how long, and how it is filled. */
export interface ShelfFacts<V> {
  /** By which answers are purged, e.g. `tenant acme` and `source hr`. */
  readonly tags: readonly string[]
  /** Digest of all that answers depend on. Another version is another shelf; the four newest under the same tags are kept. */
  readonly version: string
  readonly lives: Lives
  /** Whether an answer older than `fresh` may be used although loading has failed. If not, `stale` ends with the first failure. */
  readonly bridgesFailure: boolean
  /** How long one load may take, whoever waits for it. */
  readonly deadlineMilliseconds: number
  readonly load: (id: string, signal: AbortSignal) => Promise<Kept<V>>
  readonly second?: SecondLevel<V> | undefined
}

/** Answers of one kind, by id. */
export interface Shelf<V> {
  /**
   * An answer that may be used at once: a fresh one, or within `stale` an older one. Costs no promise and no object. Begins to load a
   * new one when it is time for that. Its age tells which it is.
   */
  atHand(id: string, now: number): Kept<V> | undefined
  /**
   * An answer, whatever it takes. Many callers share one load, whose failure is remembered for a moment. The wait is the caller's to
   * end; the load goes on for the others.
   *
   * @throws {LoadFailed} when loading failed and no answer may be used; whatever `load` throws that is no failure but a bug.
   */
  get(id: string): Promise<Served<V>>
  /** The last answer, however old. For reasoning about, not for use. */
  last(id: string): Kept<V> | undefined
}

/** Loading failed, now or a moment ago; `cause` says how. */
export class LoadFailed extends Error {
  override readonly name = 'LoadFailed'
  /** How long nobody will try again. */
  readonly retryAfterMilliseconds: number

  constructor(cause: unknown, retryAfterMilliseconds: number) {
    super('not loaded', { cause })
    this.retryAfterMilliseconds = retryAfterMilliseconds
  }
}

/** What is kept under one set of tags; numbers for an operator. */
export interface ShelfNumbers {
  readonly tags: readonly string[]
  readonly entries: number
  readonly bytes: number
}

/** What a cache holds and did since it was made. */
export interface SwrCacheFacts {
  readonly entries: number
  readonly bytes: number
  readonly maxBytes: number
  readonly loading: number
  /** Answers from memory, fresh or stale. */
  readonly hits: number
  readonly loads: number
  readonly shelves: readonly ShelfNumbers[]
}

/** What to forget: everything that bears all these tags, or only these ids of it. */
export interface Forget {
  readonly tags: readonly string[]
  readonly ids?: readonly string[] | undefined
}

/** Fresh, then stale while a new one is loaded, then stale if that fails, then nothing: answers with a hard limit to their age. */
export interface SwrCache<V> {
  shelf(facts: ShelfFacts<V>): Shelf<V>
  /** Forgets, and lets no load that is under way be kept. Returns how many answers were forgotten. */
  purge(what: Forget): number
  facts(): SwrCacheFacts
}
