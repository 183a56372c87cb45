import type { Verdict } from '../../resilience/upstream.ts'
import { EgressRefused } from './egress.ts'

/** What more is known about a failure than its message. */
export interface HttpFailureFacts {
  /** Status of the answer; undefined when there was an answer of 200 that could not be used. */
  readonly status?: number
  /** What the host asked for, see {@link retryAfterOf}. */
  readonly retryAfterMilliseconds?: number | undefined
  readonly cause?: unknown
}

/** A host answered, and not as agreed. The message holds neither address nor body text. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  readonly status: number | undefined
  readonly retryAfterMilliseconds: number | undefined

  constructor(message: string, { status, retryAfterMilliseconds, cause }: HttpFailureFacts = {}) {
    super(message, { cause })
    this.status = status
    this.retryAfterMilliseconds = retryAfterMilliseconds
  }
}

/** Statuses that say "not now" (RFC 9110 §15.6.3–5, RFC 6585 §4). 500 is not among them: the same request finds the same bug. */
const NOT_NOW: ReadonlySet<number> = new Set([429, 502, 503, 504])

/**
 * What the failure of a GET says about the host. Asking twice does no harm then.
 *
 * Anything that is no answer as agreed counts against it: a page in HTML where JSON was agreed is what a broken proxy sends. Only a
 * client error is an answer: the host is well, and refused us.
 */
export function judgeHttp(error: unknown): Verdict {
  if (error instanceof HttpFailure) {
    const { status, retryAfterMilliseconds, message } = error
    const refusedUs = status !== undefined && status >= 400 && status < 500 && !NOT_NOW.has(status)
    return {
      kind: refusedUs ? 'answer' : 'failure',
      retryable: status !== undefined && NOT_NOW.has(status),
      ...(retryAfterMilliseconds !== undefined && { retryAfterMilliseconds }),
      summary: message,
    }
  }
  if (error instanceof EgressRefused)
    // Without the host, which facts for operators leave out.
    return { kind: 'failure', retryable: false, summary: `the address is ${error.kind}` }
  return { kind: 'failure', retryable: PASSING.has(codeOf(error)) }
}

/**
 * Faults of a connection that may be gone the next moment. Not among them: a name that does not exist, a certificate that is not trusted,
 * bytes that are no HTTP, and undici's complaints about what we ask of it; those come back however often it is asked.
 */
const PASSING: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
])

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Headers of an answer, as undici gives them: a name that came twice has an array. */
type AnswerHeaders = Readonly<Record<string, string | string[] | undefined>>

/**
 * `Retry-After` in milliseconds (RFC 9110 §10.2.3), which is seconds or a date; undefined when it is neither.
 *
 * A date counts from the `Date` of the same answer where there is one: that host's clock said both.
 */
export function retryAfterOf(headers: AnswerHeaders, now: number): number | undefined {
  const text = headers['retry-after']
  if (typeof text !== 'string') return undefined
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1000
  const until = httpDate(text)
  if (until === undefined) return undefined
  return Math.max(0, until - (httpDate(headers['date']) ?? now))
}

/** IMF-fixdate alone (RFC 9110 §5.6.7): `Date.parse` would take `1` for a year. */
function httpDate(text: string | string[] | undefined): number | undefined {
  if (
    typeof text !== 'string' ||
    !/^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/.test(text)
  )
    return undefined
  const time = Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}
