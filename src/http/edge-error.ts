/** Answers that only the edge gives: nothing was asked of the product yet, so no refusal code fits. */
export type EdgeCode = 'not_found' | 'conflict' | 'admin_unauthenticated' | 'admin_forbidden'

/** What an edge error may carry besides its code and its public sentence. */
export interface EdgeErrorDetails {
  /** For the log only; never rendered to a caller. */
  readonly cause?: unknown
  /** Request parameter the error is about, when one can be named. */
  readonly param?: string
  /** Rendered as response headers, e.g. `WWW-Authenticate`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * An error of the HTTP edge itself: an unknown path, an operator without credential or without the right, a change that lost a race.
 *
 * The same promise as with a refusal: `message` is safe for the caller.
 */
export class EdgeError extends Error {
  override readonly name = 'EdgeError'
  readonly code: EdgeCode
  readonly param: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor(code: EdgeCode, publicMessage: string, details: EdgeErrorDetails = {}) {
    super(publicMessage, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.param = details.param
    this.headers = details.headers ?? {}
  }
}
