import type { Source } from './options.ts'

/** What a source says about a user. */
export type SourceAnswer =
  | { readonly known: true; readonly roles: readonly string[] }
  | { readonly known: false }

/**
 * Asks one entitlement source. Every adapter passes `test/contracts/entitlement-source.ts`.
 */
export interface EntitlementSource {
  /**
   * The complete set of roles the source has for `user`, of one state of its list: every page, or nothing. Order and duplicates are as the
   * source gave them. `known: false` only when the source says so. At most `maxRoles` roles and `source.maxPages` pages.
   *
   * One attempt: what is worth another says so by {@link SourceFailure.retryable}, and when is up to the caller.
   * @throws {SourceFailure} for anything else: no answer in time, a broken or partial answer, too many roles, an answer about another user.
   */
  rolesOf(
    source: Source,
    user: string,
    maxRoles: number,
    signal: AbortSignal,
  ): Promise<SourceAnswer>
}

/** What was asked of an HTTP source and what came back, without any secret: for the check of its contract. */
export interface SourceExchange {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Of the body; 0 where it was not read. */
  readonly bytes: number
  /** From the question, the wait for a connection included, to the last byte read. */
  readonly milliseconds: number
}

/** What a {@link SourceFailure} may say besides what was wrong. */
export interface FailureFacts {
  /** Status of the answer, where there was one and it was the reason. */
  readonly status?: number | undefined
  /** How long the source asked to be left alone (`Retry-After`), bounded to an hour; milliseconds. */
  readonly retryAfterMilliseconds?: number | undefined
  /** Default: what is unreachable or too slow may be better at the next attempt, a status or a breach of contract not. */
  readonly retryable?: boolean
}

/** A source did not give a usable answer. The message names what was wrong, for the operator; it never reaches a caller. */
export class SourceFailure extends Error {
  override readonly name = 'SourceFailure'
  readonly kind: 'unreachable' | 'timeout' | 'status' | 'contract'
  readonly source: string
  readonly status: number | undefined
  readonly retryAfterMilliseconds: number | undefined
  /** Whether asking again may help and does no harm. */
  readonly retryable: boolean

  constructor(
    source: string,
    kind: SourceFailure['kind'],
    message: string,
    cause?: unknown,
    { status, retryAfterMilliseconds, retryable }: FailureFacts = {},
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.source = source
    this.kind = kind
    this.status = status
    this.retryAfterMilliseconds = retryAfterMilliseconds
    this.retryable = retryable ?? (kind === 'unreachable' || kind === 'timeout')
  }
}
