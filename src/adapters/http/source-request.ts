import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { errors, type Pool } from 'undici'
import type { Source } from '../../entitlement/options.ts'
import { type SourceExchange, SourceFailure } from '../../entitlement/source.ts'
import type { Clock } from '../../lib/clock.ts'
import { parseStrictJson, StrictJsonError } from '../../lib/strict-json.ts'
import { DeadlineExceeded } from '../../resilience/deadline.ts'
import { ShapeError } from './answer-path.ts'
import { EgressRefused } from './egress.ts'
import { judgeHttp, retryAfterOf } from './http-failure.ts'
import { AddressError } from './source-address.ts'

/** A body nobody reads is drained up to here, so that the connection can be used again; past it the connection is closed. */
const DRAINED_BYTES = 16 * 1024
/** The deepest and widest answer read; a list of 100 000 roles in objects of their own fits. */
const BOUNDS = { maxDepth: 32, maxMembers: 500_000 } as const

/** Longest wait believed. A source that asks for days would keep its users out long after it is well again. */
const LONGEST_WAIT_MILLISECONDS = 60 * 60 * 1000

const JSON_MEDIA_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json[ \t]*(?:;|$)/i

/** Statuses after which the same question may get an answer (RFC 9110 §15.5.9, §15.6, RFC 6585 §4). */
const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** A source that can be asked. */
export interface SourceLine {
  readonly source: Source
  readonly pool: Pool
  readonly clock: Clock
  readonly observed: ((exchange: SourceExchange) => void) | undefined
}

/** One question. */
export interface SourceQuestion {
  /** For messages: `page 3`. */
  readonly what: string
  readonly address: URL
  /** Statuses besides 200 that mean something; their body is not read. */
  readonly also?: readonly number[]
  /** Sent as JSON by POST; without it the question is a GET. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly maxBytes: number
}

/** The answer to it; `document` is undefined unless the status is 200. */
export interface SourceReply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly document: unknown
}

/** The source was silent for too long. */
class SilenceError extends Error {
  override readonly name = 'SilenceError'
}

/**
 * Asks once. No redirect is followed, nothing is unpacked, and no cache is used, whatever the answer's own cache headers say: undici does
 * none of that unless an interceptor is put in, and here is none.
 *
 * @throws {SourceFailure} for a status that means nothing here; else what {@link asFailure} takes.
 */
export async function ask(
  line: SourceLine,
  question: SourceQuestion,
  signal: AbortSignal,
): Promise<SourceReply> {
  const silence = listenFor(line.source.readMilliseconds, signal)
  try {
    return await askUnder(silence, line, question)
  } finally {
    silence.stop()
  }
}

async function askUnder(
  { signal, heard }: Silence,
  line: SourceLine,
  question: SourceQuestion,
): Promise<SourceReply> {
  const { source, pool, observed } = line
  const { address, what, maxBytes, also = [] } = question
  const began = performance.now()
  const method = question.body === undefined ? 'GET' : 'POST'
  const target = address.pathname + address.search
  const { statusCode, headers, body } = await pool.request({
    method,
    path: target,
    headers: headersFor(source, question),
    body: question.body === undefined ? null : JSON.stringify(question.body),
    // For a body that is drained after its look-up is over; too coarse for anything else.
    bodyTimeout: source.readMilliseconds,
    signal,
  })
  heard()
  // What goes wrong is seen by the read below. A body that is given up unread still emits its error, and without a
  // listener that would end the process.
  body.on('error', () => undefined)
  const report = (bytes: number): void => {
    const milliseconds = performance.now() - began
    observed?.({ method, target, status: statusCode, headers, bytes, milliseconds })
  }
  if (statusCode !== 200) {
    report(0)
    // Not waited for: the answer is known, and a slow body must not hold it back.
    void body.dump({ limit: DRAINED_BYTES }).catch(() => undefined)
    if (!also.includes(statusCode)) throw refusal(line, what, statusCode, headers)
    return { status: statusCode, headers, document: undefined }
  }
  try {
    mustBePlainJson(headers)
    const bytes = await readBody(body, maxBytes, heard)
    report(bytes.length)
    mustMatchDigest(headers['content-digest'], bytes)
    return { status: statusCode, headers, document: parseJson(bytes) }
  } finally {
    // Frees the connection on every way out; after a body read to its end this does nothing.
    body.destroy()
  }
}

/** A watch over one exchange: `signal` fires when its caller's does, or when nothing was heard for too long. */
interface Silence {
  readonly signal: AbortSignal
  readonly heard: () => void
  readonly stop: () => void
}

/** undici's own timeouts tick once a second: 100 ms would become 1 s, and a look-up has 800 ms in all. */
export function listenFor(milliseconds: number, caller: AbortSignal): Silence {
  const controller = new AbortController()
  const end = (): void => controller.abort(caller.reason)
  const wait = () => setTimeout(() => controller.abort(new SilenceError()), milliseconds)
  let timer = wait()
  if (caller.aborted) end()
  else caller.addEventListener('abort', end, { once: true })
  return {
    signal: controller.signal,
    heard() {
      clearTimeout(timer)
      timer = wait()
    },
    stop() {
      clearTimeout(timer)
      caller.removeEventListener('abort', end)
    },
  }
}

function headersFor(source: Source, { body, headers }: SourceQuestion): Record<string, string> {
  return {
    accept: 'application/json',
    // What comes is parsed as it is: a small compressed body could unpack to any size.
    'accept-encoding': 'identity',
    // A cache on the way must not answer by itself (RFC 9111 §5.2.1.4): how old an answer is counts from our question.
    'cache-control': 'no-cache',
    'user-agent': 'rolemint',
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(source.auth && { [source.auth.header]: source.auth.value.reveal() }),
    ...headers,
  }
}

function refusal(
  { source, clock }: SourceLine,
  what: string,
  status: number,
  headers: IncomingHttpHeaders,
): SourceFailure {
  const said = `${what}: status ${status}`
  // Ours to mend, and asking again with the same credential may lock it.
  if (status === 401 || status === 403) {
    const why = source.auth ? 'the source refused our credential' : 'the source wants a credential'
    return new SourceFailure(source.name, 'contract', `${said}: ${why}`, undefined, { status })
  }
  const isRedirect = status >= 300 && status < 400
  const wait = retryAfterOf(headers, clock.now())
  const message = isRedirect ? `${said}: only the configured address is asked` : said
  return new SourceFailure(source.name, 'status', message, undefined, {
    status,
    retryable: isPassing(status),
    retryAfterMilliseconds:
      wait === undefined ? undefined : Math.min(wait, LONGEST_WAIT_MILLISECONDS),
  })
}

function mustBePlainJson(headers: IncomingHttpHeaders): void {
  const mediaType = headers['content-type']
  if (typeof mediaType !== 'string' || !JSON_MEDIA_TYPE.test(mediaType))
    throw new ShapeError('the media type is not JSON')
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw new ShapeError('the body is compressed')
}

async function readBody(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  heard: () => void,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    heard()
    size += chunk.length
    if (size > maxBytes) throw new ShapeError(`an answer of more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

/**
 * Compares the body with the digest that came with it (RFC 9530 §2), where one did. Without TLS nothing else notices a byte that was changed
 * on the way, and one byte can make `next` another member, and so the list shorter.
 */
function mustMatchDigest(field: string | string[] | undefined, bytes: Buffer): void {
  const given = String(field ?? '').matchAll(/(?:^|,)[ \t]*(sha-256|sha-512)=:([^:]*):/g)
  for (const [, algorithm = '', digest] of given) {
    const own = createHash(algorithm.replace('-', '')).update(bytes).digest('base64')
    if (own !== digest) throw new ShapeError('the body does not match its digest')
  }
}

function parseJson(bytes: Buffer): unknown {
  let text: string
  try {
    // Fatal: a replacement character in a role name would make it another role.
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new ShapeError('the body is not UTF-8')
  }
  try {
    return parseStrictJson(text, BOUNDS)
  } catch (error) {
    // Its message names the rule and never quotes the body, which holds personal data.
    if (error instanceof StrictJsonError)
      throw new ShapeError(`the body is not JSON we accept: ${error.message}`)
    throw error
  }
}

/** What went wrong, as the port says it. */
export function asFailure(source: Source, error: unknown, signal: AbortSignal): SourceFailure {
  if (error instanceof SourceFailure) return error
  // The caller's time, or that of a request shared with others.
  if (signal.aborted || error instanceof DeadlineExceeded)
    return new SourceFailure(source.name, 'timeout', 'no complete answer in time', error)
  if (error instanceof ShapeError || error instanceof AddressError)
    return new SourceFailure(source.name, 'contract', error.message)
  // An address that may not be called is a matter of configuration, however often it is tried.
  if (error instanceof EgressRefused)
    return new SourceFailure(source.name, 'contract', error.message, error)
  if (error instanceof errors.ConnectTimeoutError)
    return new SourceFailure(source.name, 'unreachable', 'no connection in time', error)
  if (error instanceof SilenceError) {
    const silence = `nothing was heard for ${source.readMilliseconds} ms`
    return new SourceFailure(source.name, 'timeout', silence)
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code'
  const { retryable } = judgeHttp(error)
  return new SourceFailure(source.name, 'unreachable', `no usable connection (${code})`, error, {
    retryable,
  })
}
