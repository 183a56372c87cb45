import type { IncomingMessage } from 'node:http'
import type { Place } from '../admission/load.ts'
import { newTraceId, type Random } from '../lib/id.ts'
import { MAPPED, plainAddress } from '../lib/network.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { createIsProxy, forwardedFor } from './forwarded.ts'
import type { AdminRole } from './options.ts'

/** A person who operates rolemint, once authenticated. */
export interface Operator {
  /** As the credential names its holder; ends up in the ledger. */
  readonly by: string
  readonly role: AdminRole
}

/** What the edge knows of one request, from its first byte to its log line. */
export interface RequestScope {
  /** 128 bits in hex; the trace id of the caller where it sent one. */
  readonly id: string
  /** Milliseconds of the monotonic clock. */
  readonly startedAt: number
  /** Path below the issuer; never logged, as it may hold anything. */
  readonly path: string
  /** What follows the question mark; never logged. */
  readonly query: string
  readonly tenant: Tenant | undefined
  /** Address of the caller, as far as it can be believed; undefined when the connection is gone. Not for the log. */
  readonly address: string | undefined
  /** Client that the request names, if the tenant has one of this name: a name, not yet a proof. For the log. */
  clientId: string | undefined
  /** Who was authenticated on the admin listener. */
  operator: Operator | undefined
  /** A client credential came as a parameter, so a 401 offers no HTTP scheme (RFC 6749 §5.2). */
  credentialInBody: boolean
  /** Headers of every answer of the listener, name and value in turn. */
  readonly always: readonly string[]
  /** Asked every few seconds by machines: a good answer is logged only when debugging. */
  quiet: boolean
  /** Headers that belong to whatever is answered, name and value in turn. */
  headers: string[]
  /** Code and cause of the error that was answered. For the log. */
  errorCode: string | undefined
  cause: unknown
  /** Its time; undefined until the request begins. */
  deadline: RequestDeadline | undefined
  /** Its place among those that are worked on, once it has one. */
  place: Place | undefined
}

/** Scopes by request: a symbol on the message itself, as a WeakMap costs more per request than all its fields. */
const SCOPE = Symbol('rolemint.scope')

interface Scoped extends IncomingMessage {
  [SCOPE]?: RequestScope
}

/** Begins the scope of a request. */
export function openScope(
  message: IncomingMessage,
  known: Pick<
    RequestScope,
    'id' | 'startedAt' | 'path' | 'query' | 'tenant' | 'address' | 'always'
  >,
): RequestScope {
  const scope: RequestScope = {
    id: known.id,
    startedAt: known.startedAt,
    path: known.path,
    query: known.query,
    tenant: known.tenant,
    address: known.address,
    clientId: undefined,
    operator: undefined,
    credentialInBody: false,
    always: known.always,
    quiet: false,
    headers: [],
    errorCode: undefined,
    cause: undefined,
    deadline: undefined,
    place: undefined,
  }
  const scoped: Scoped = message
  scoped[SCOPE] = scope
  return scope
}

/** The scope of a request, if {@link openScope} was called for it. */
export function maybeScopeOf(message: IncomingMessage): RequestScope | undefined {
  const scoped: Scoped = message
  return scoped[SCOPE]
}

/** The scope of a request that {@link openScope} was called for. */
export function scopeOf(message: IncomingMessage): RequestScope {
  const scope = maybeScopeOf(message)
  if (!scope) throw new TypeError('the request has no scope')
  return scope
}

/** What is known of a connection. */
export interface ConnectionState {
  /** Requests on it that are not answered yet. */
  open: number
  /** Requests on it that were. */
  answered: number
  /** The last request that began on it. */
  last: IncomingMessage | undefined
  /** When it was opened, or its last answer was given; milliseconds of the monotonic clock. */
  since: number
}

const CONNECTION = Symbol('rolemint.connection')

interface Known {
  [CONNECTION]?: ConnectionState
}

/** Makes the state of one socket that of another: TLS puts one of its own in front of the connection's. */
export function isOneConnection(socket: object, front: object): void {
  const known: Known = front
  known[CONNECTION] = connectionOf(socket)
}

/** The state of a connection; begun when first asked for. */
export function connectionOf(socket: object): ConnectionState {
  const known: Known = socket
  known[CONNECTION] ??= { open: 0, answered: 0, last: undefined, since: performance.now() }
  return known[CONNECTION]
}

/** The tenant of the request. @throws {Refusal} `unknown_tenant`. */
export function tenantOf(scope: RequestScope): Tenant {
  if (scope.tenant) return scope.tenant
  throw new Refusal('unknown_tenant', 'No tenant has an issuer with this host and path.')
}

/** Notes for the log which client the request names, as long as it is one of the tenant's. */
export function noteClient(scope: RequestScope, named: string | undefined): void {
  // Anything else is free text of the caller's choice, which has no business in a log.
  if (named !== undefined && scope.tenant?.clients.has(named)) scope.clientId = named
}

/** Where a request was sent to and by whom, as far as either can be believed. */
export interface RequestTarget {
  /** Lower case, without the scheme's own port; undefined when there was none. */
  readonly host: string | undefined
  readonly path: string
  /** Without the question mark; empty when there was none. */
  readonly query: string
  readonly address: string | undefined
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i
const OWN_PORT = /:(?:80|443)$/

/**
 * Reads where requests were sent to and who sent them. `X-Forwarded-Host` and `X-Forwarded-For` are believed from trusted proxies alone (ASVS 5.0,
 * 4.1.3): from anyone else the one would let a caller choose the tenant that a proxy chose for it, and the other the address whose limits it uses up.
 *
 * @throws {TypeError} when a network of `trustedProxies` is neither an address nor `address/prefix`.
 */
export function createRequestTarget(
  trustedProxies: readonly string[],
): (message: IncomingMessage) => RequestTarget {
  const isProxy = trustedProxies.length > 0 ? createIsProxy(trustedProxies) : undefined
  return (message) => {
    let host = message.headers.host
    let rest = message.url ?? '/'
    if (!rest.startsWith('/')) {
      // RFC 9112 §3.2.2: the authority of an absolute request target replaces Host.
      const absolute = ABSOLUTE.exec(rest)
      if (absolute) {
        host = absolute[1]
        rest = absolute[2]?.startsWith('/') ? absolute[2] : `/${absolute[2] ?? ''}`
      }
    }
    let address = message.socket.remoteAddress
    if (address?.startsWith(MAPPED)) address = plainAddress(address)
    if (isProxy?.(address)) {
      // The last value is the one that the proxy next to us wrote.
      const forwarded = lastOf(message.headers['x-forwarded-host'])
      if (forwarded !== undefined) host = forwarded
      address = forwardedFor(message.headers['x-forwarded-for'], isProxy) ?? address
    }
    const question = rest.indexOf('?')
    return {
      host: host?.toLowerCase().replace(OWN_PORT, ''),
      path: question === -1 ? rest : rest.slice(0, question),
      query: question === -1 ? '' : rest.slice(question + 1),
      address,
    }
  }
}

function lastOf(header: string | string[] | undefined): string | undefined {
  const text = Array.isArray(header) ? header.at(-1) : header
  const last = text?.split(',').at(-1)?.trim()
  return last === '' ? undefined : last
}

/** `version-traceid-parentid-flags`; later versions may append fields, version 00 may not. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/
const LONGEST_TRACEPARENT = 512

/**
 * The id of a request: the caller's trace id when its `traceparent` is well-formed, else a fresh one.
 *
 * Nothing else from outside is taken: an `x-request-id` is free text that would end up in logs and answers.
 *
 * @see {@link https://www.w3.org/TR/trace-context/#traceparent-header-field-values Trace Context §3.2.2}
 */
export function requestId(traceparent: string | undefined, random: Random): string {
  return (traceparent && traceIdOf(traceparent)) || newTraceId(random)
}

function traceIdOf(traceparent: string): string | undefined {
  if (traceparent.length > LONGEST_TRACEPARENT) return undefined
  const [, version, traceId = '', parentId = '', more] = TRACEPARENT.exec(traceparent) ?? []
  if (version === undefined || (version === '00' && more !== undefined)) return undefined
  return isZero(traceId) || isZero(parentId) ? undefined : traceId
}

function isZero(hex: string): boolean {
  return /^0+$/.test(hex)
}

/** Gives every request its time. */
export interface RequestBudget {
  /**
   * Begins the time of a request at `now` (milliseconds of a monotonic clock): `budgetMilliseconds` and at most one slot more. `cut` is called when the
   * request is still not over a while later: its caller does not read the answer, or the work does not heed the signal.
   */
  open(now: number, cut: () => void): RequestDeadline
}

/** The time of one request. */
export interface RequestDeadline {
  /** Fires when the time is up or the caller has gone, with a refusal as its reason. */
  readonly signal: AbortSignal
  /** The caller went away: nobody needs the answer. Work shared with others runs under deadlines of its own. */
  gone(): void
  /** The request is over: nothing fires any more. */
  end(): void
}

/** How long a request may take, and how finely that is measured. */
export interface RequestBudgetOptions {
  readonly budgetMilliseconds: number
  /** Requests that begin within one slot share a timer. */
  readonly slotMilliseconds: number
}

/** From the end of its time until a request that is not over is cut off: enough for an answer on a slow line. */
const LINGER_MILLISECONDS = 10_000

/**
 * Shares one timer among all requests that begin within the same slot.
 *
 * `AbortSignal.timeout()` for each request costs a timer and a finalisation entry each, which is what a request's whole
 * share of the edge may cost; an `AbortController` in the set of its slot costs 0.2 µs.
 */
export function createRequestBudget(options: RequestBudgetOptions): RequestBudget {
  const { budgetMilliseconds, slotMilliseconds } = options
  let current: Set<OpenRequest> | undefined
  let slotEndsAt = Number.NEGATIVE_INFINITY
  return {
    open(now, cut) {
      if (!current || now >= slotEndsAt) {
        current = new Set()
        slotEndsAt = now + slotMilliseconds
        const slot = current
        setTimeout(() => {
          timeIsUp(slot)
        }, budgetMilliseconds + slotMilliseconds).unref()
      }
      const request = new OpenRequest(current, cut)
      current.add(request)
      return request
    },
  }
}

function timeIsUp(slot: ReadonlySet<OpenRequest>): void {
  for (const request of slot)
    request.abort('The request took too long and was given up; retry later.')
  if (slot.size === 0) return
  setTimeout(() => {
    for (const request of slot) request.cut()
  }, LINGER_MILLISECONDS).unref()
}

class OpenRequest implements RequestDeadline {
  readonly cut: () => void
  readonly #controller = new AbortController()
  readonly #slot: Set<OpenRequest>

  constructor(slot: Set<OpenRequest>, cut: () => void) {
    this.#slot = slot
    this.cut = cut
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** What a request ends with when no step on its way had a better reason. */
  abort(message: string): void {
    this.#controller.abort(new Refusal('overloaded', message, { retryAfterSeconds: 2 }))
  }

  gone(): void {
    this.abort('The caller went away before its answer.')
  }

  end(): void {
    this.#slot.delete(this)
  }
}
