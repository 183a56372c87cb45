/** Saying no when there is no room: as cheaply as can be, and later rather than at once when even that is too much. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { LoadGate } from '../admission/load.ts'
import type { Refusal } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import { prefers } from './accept.ts'
import { renderError } from './render-refusal.ts'
import { connectionOf, type RequestScope } from './request-scope.ts'
import type { ErrorStyle } from './route.ts'

/** What back-pressure is made of. */
export interface BackPressureDeps {
  readonly load: LoadGate
  readonly log: Log
  readonly metrics: Pick<Metrics, 'httpRequest'>
  readonly listener: 'public' | 'admin'
}

/** A request that is not going to be served. */
export interface Shed {
  readonly message: IncomingMessage
  readonly response: ServerResponse
  readonly scope: RequestScope
  readonly refusal: Refusal
  readonly style: ErrorStyle
  /** For the metrics. */
  readonly route: string
  /** Base of the `type` of the error. */
  readonly issuer: string
}

/** Answers what is shed. */
export interface BackPressure {
  refuse(shed: Shed): void
}

const RELEASE_MILLISECONDS = 20
/** Nobody is kept waiting for a no for longer: less than any `Retry-After`, and than clients commonly wait. */
const LONGEST_HOLD_MILLISECONDS = 800
/** Beyond these a connection is closed without a word: its state is memory. */
const MOST_HELD = 4096
const LOG_MILLISECONDS = 1000
const MOST_TEMPLATES = 1000
/** A longer body is not read to its end for the sake of the connection. */
const LONGEST_SKIPPED_BODY = 64 * 1024

/**
 * Refuses before the framework is entered and before the body is read, with bytes made once, and without a log line each.
 *
 * A refusal still costs about a sixth of an exchange, most of it in Node's reading of the request: at five times the load that can be served, refusing
 * at once would take all there is. When the gate is overwhelmed the answer is held back, for as long as it takes to keep refusing within its
 * budget. A connection with an answer outstanding brings no other request, so what its client would send stays in its own queue and costs nothing here;
 * no byte is left unread meanwhile, so whatever does arrive is fresh, and what must be served at once is seen at once.
 */
export function createBackPressure(deps: BackPressureDeps): BackPressure {
  const { load } = deps
  const write = createWriter(deps)
  const held: (Shed & { readonly heldSince: number })[] = []
  let timer: NodeJS.Timeout | undefined
  let loggedAt = Number.NEGATIVE_INFINITY
  const unlogged = new Map<string, number>()

  function answer(shed: Shed): void {
    if (shed.response.destroyed) return
    load.refused()
    write(shed)
  }

  function release(): void {
    const now = performance.now()
    let released = 0
    for (const shed of held) {
      if (load.overwhelmed && now - shed.heldSince < LONGEST_HOLD_MILLISECONDS) break
      released += 1
      connectionOf(shed.message.socket).open -= 1
      answer(shed)
    }
    held.splice(0, released)
    timer = held.length > 0 ? setTimeout(release, RELEASE_MILLISECONDS).unref() : undefined
  }

  function hold(shed: Shed): void {
    if (held.length >= MOST_HELD) {
      shed.message.socket.destroy()
      return
    }
    // The body is not kept for as long.
    shed.message.resume()
    connectionOf(shed.message.socket).open += 1
    held.push({ ...shed, heldSince: performance.now() })
    timer ??= setTimeout(release, RELEASE_MILLISECONDS).unref()
  }

  function note({ code }: Refusal): void {
    unlogged.set(code, (unlogged.get(code) ?? 0) + 1)
    const now = performance.now()
    if (now - loggedAt < LOG_MILLISECONDS) return
    const { limit, inFlight, queued } = load.facts()
    // By code: a server that lacks room and a tenant over its limit want different hands.
    const refused = Object.fromEntries(unlogged)
    const counts = { refused, held: held.length, limit, inFlight, queued }
    deps.log.warn({ listener: deps.listener, ...counts }, 'requests refused before they were read')
    loggedAt = now
    unlogged.clear()
  }

  return {
    refuse(shed) {
      note(shed.refusal)
      if (load.overwhelmed) hold(shed)
      else answer(shed)
    },
  }
}

interface Template {
  readonly lines: readonly string[]
  /** What stands before and after the request id in the body. */
  readonly before: string
  readonly after: string
  readonly status: number
}

const PLACEHOLDER = '00000000000000000000000000000000'

/** Writes answers that differ in nothing but the id of the request. */
function createWriter({ metrics, listener }: BackPressureDeps): (shed: Shed) => void {
  const templates = new Map<string, Template>()
  function templateOf({ message, scope, refusal, style, issuer }: Shed): Template {
    const { accept } = message.headers
    const problem =
      style === 'api' || prefers(accept, 'application/problem+json', 'application/json')
    const key = `${style} ${problem} ${refusal.code} ${refusal.retryAfterSeconds} ${issuer}`
    let template = templates.get(key)
    if (!template) {
      template = makeTemplate(
        renderError(refusal, { style, accept, issuer, requestId: PLACEHOLDER, challenge: false }),
        scope.always,
      )
      // There are as many as there are issuers, unless the configuration changes them again and again.
      if (templates.size >= MOST_TEMPLATES) templates.clear()
      templates.set(key, template)
    }
    return template
  }
  return (shed) => {
    const { message, response, scope, route } = shed
    const { lines, before, after, status } = templateOf(shed)
    const headers = [...lines, 'x-request-id', scope.id]
    if (!mayBeSkipped(message)) headers.push('connection', 'close')
    response.writeHead(status, headers)
    response.end(message.method === 'HEAD' ? undefined : before + scope.id + after)
    metrics.httpRequest(listener, route, status, (performance.now() - scope.startedAt) / 1000)
  }
}

function makeTemplate(answer: ReturnType<typeof renderError>, always: readonly string[]): Template {
  const body = answer.body ?? ''
  const at = body.indexOf(PLACEHOLDER)
  return {
    status: answer.status,
    lines: [
      ...always,
      ...Object.entries(answer.headers).flat(),
      'content-length',
      String(Buffer.byteLength(body)),
    ],
    before: body.slice(0, at),
    after: body.slice(at + PLACEHOLDER.length),
  }
}

/** Whether the rest of the request is short enough to be read for the sake of the connection. */
function mayBeSkipped({ headers }: IncomingMessage): boolean {
  if (headers['transfer-encoding'] !== undefined) return false
  return Number(headers['content-length'] ?? 0) <= LONGEST_SKIPPED_BODY
}
