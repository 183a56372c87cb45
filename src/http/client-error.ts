import type { Duplex } from 'node:stream'
import { Refusal } from '../lib/refusal.ts'
import { renderError } from './render-refusal.ts'

/** Reason phrases of the three statuses below (RFC 9110 §15.5, RFC 6585 §5). */
const REASONS = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
} as const

/**
 * Answers what never became a request: broken framing (also a request with both `Content-Length` and `Transfer-Encoding`),
 * headers that are too large or too slow. The connection ends with it, as nobody can tell where the next request would begin.
 */
export function answerClientError(
  error: Error & { readonly code?: string },
  socket: Duplex,
  requestId: string,
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = statusOf(error.code)
  // The parser's own message quotes bytes of the request, so it is not passed on.
  const refusal = new Refusal('malformed_request', 'The request was no well-formed HTTP request.')
  const answer = renderError(refusal, {
    style: 'api',
    accept: undefined,
    issuer: '',
    requestId,
    challenge: false,
  })
  const body = (answer.body ?? '').replace('"status":400', `"status":${status}`)
  const headers = {
    ...answer.headers,
    'x-content-type-options': 'nosniff',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${REASONS[status]}\r\n${lines.join('')}\r\n${body}`)
}

function statusOf(code: string | undefined): keyof typeof REASONS {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408
  if (code === 'HPE_HEADER_OVERFLOW') return 431
  return 400
}
