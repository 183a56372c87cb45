/** One answer of a source, as replicas share it. Sealed by the adapter: whoever can write the cache must not be able to make roles. */
export interface SharedAnswer {
  /** When the source was asked; milliseconds since the epoch. Its age counts from here, on every replica. */
  readonly askedAt: number
  readonly known: boolean
  readonly roles: readonly string[]
}

/** Whom an answer is about. `source` names the source together with the digest of the settings that the answer depends on. */
export interface AnswerPlace {
  readonly tenant: string
  readonly source: string
  readonly user: string
}

/** What to forget: all of a tenant, or of one of its sources, or of one of its users. */
export interface Purge {
  readonly tenant: string
  /** Name in the configuration, without digest. */
  readonly source?: string
  readonly user?: string
}

/**
 * The second level of the entitlement cache, shared by replicas. Losing it costs calls of a source, never safety. Every adapter passes
 * `test/contracts/shared-answers.ts`.
 */
export interface SharedAnswers {
  /** @throws {DependencyUnavailable}; an entry that was tampered with or moved to another place is as good as absent. */
  get(place: AnswerPlace, signal: AbortSignal): Promise<SharedAnswer | undefined>
  /** Kept for `keepMilliseconds` at most. @throws {DependencyUnavailable} */
  put(
    place: AnswerPlace,
    answer: SharedAnswer,
    keepMilliseconds: number,
    signal: AbortSignal,
  ): Promise<void>
  /** Forgets, here and (as soon as they hear of it) in every replica that listens. @throws {DependencyUnavailable} */
  purge(what: Purge, signal: AbortSignal): Promise<void>
  /** Told of every purge by another replica. Returns the function that ends it. */
  onPurge(listener: (what: Purge) => void): () => void
}
