import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { newTraceId, type Random } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
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
}

/** Scopes by request: a symbol on the message itself, as a WeakMap costs more per request than all its fields. */
const SCOPE = Symbol('rolemint.scope')

interface Scoped extends IncomingMessage {
  [SCOPE]?: RequestScope
}

/** Begins the scope of a request. */
export function openScope(
  message: IncomingMessage,
  known: Pick<RequestScope, 'id' | 'startedAt' | 'path' | 'query' | 'tenant' | 'always'>,
): RequestScope {
  const scope: RequestScope = {
    id: known.id,
    startedAt: known.startedAt,
    path: known.path,
    query: known.query,
    tenant: known.tenant,
    clientId: undefined,
    operator: undefined,
    credentialInBody: false,
    always: known.always,
    quiet: false,
    headers: [],
    errorCode: undefined,
    cause: undefined,
  }
  const scoped: Scoped = message
  scoped[SCOPE] = scope
  return scope
}

/** The scope of a request that {@link openScope} was called for. */
export function scopeOf(message: IncomingMessage): RequestScope {
  const scoped: Scoped = message
  const scope = scoped[SCOPE]
  if (!scope) throw new TypeError('the request has no scope')
  return scope
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

/** Where a request was sent to, as its sender sees it. */
export interface RequestTarget {
  /** Lower case, without the scheme's own port; undefined when there was none. */
  readonly host: string | undefined
  readonly path: string
  /** Without the question mark; empty when there was none. */
  readonly query: string
}

const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i
const OWN_PORT = /:(?:80|443)$/

/**
 * Reads where requests were sent to. `X-Forwarded-Host` is believed from trusted proxies alone (ASVS 5.0, 4.1.3): from anyone
 * else it would let a caller choose the tenant that a proxy chose for it.
 *
 * @throws {TypeError} when a network of `trustedProxies` is neither an address nor `address/prefix`.
 */
export function createRequestTarget(
  trustedProxies: readonly string[],
): (message: IncomingMessage) => RequestTarget {
  const trusted = trustedProxies.length > 0 ? networks(trustedProxies) : undefined
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
    if (trusted && isTrusted(trusted, message.socket.remoteAddress)) {
      // The last value is the one that the proxy next to us wrote.
      const forwarded = lastOf(message.headers['x-forwarded-host'])
      if (forwarded !== undefined) host = forwarded
    }
    const question = rest.indexOf('?')
    return {
      host: host?.toLowerCase().replace(OWN_PORT, ''),
      path: question === -1 ? rest : rest.slice(0, question),
      query: question === -1 ? '' : rest.slice(question + 1),
    }
  }
}

function networks(list: readonly string[]): BlockList {
  const trusted = new BlockList()
  for (const network of list) {
    const [address = '', prefix] = network.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? (version === 6 ? 128 : 32) : Number(prefix)
    if (version === 0 || !Number.isInteger(bits) || bits < 0 || bits > (version === 6 ? 128 : 32))
      throw new TypeError(`not a network: ${network}`)
    trusted.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return trusted
}

function isTrusted(trusted: BlockList, address: string | undefined): boolean {
  if (address === undefined) return false
  // A dual-stack socket names IPv4 peers ::ffff:10.0.0.1; such an address is looked up as the IPv4 address it is.
  const plain = address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
  return trusted.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
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

/** Gives every request a signal that fires when its time is up. */
export interface RequestBudget {
  /** Fires between `budgetMilliseconds` and one slot later from `now` on (milliseconds of a monotonic clock). */
  signal(now: number): AbortSignal
}

/** How long a request may take, and how finely that is measured. */
export interface RequestBudgetOptions {
  readonly budgetMilliseconds: number
  /** Requests that begin within one slot share a signal, and so a timer. */
  readonly slotMilliseconds: number
}

/**
 * Shares one timer among all requests that begin within the same slot.
 *
 * `AbortSignal.timeout()` for each request costs a timer and a finalisation entry each, which is what a request's whole
 * share of the edge may cost. A shared signal must not gather listeners for ever: it lives for the budget and one slot.
 */
export function createRequestBudget(options: RequestBudgetOptions): RequestBudget {
  const { budgetMilliseconds, slotMilliseconds } = options
  let current: AbortController | undefined
  let slotEndsAt = Number.NEGATIVE_INFINITY
  return {
    signal(now) {
      if (!current || now >= slotEndsAt) {
        const controller = new AbortController()
        current = controller
        slotEndsAt = now + slotMilliseconds
        setTimeout(() => {
          controller.abort(outOfTime())
        }, budgetMilliseconds + slotMilliseconds).unref()
      }
      return current.signal
    },
  }
}

/** What a request ends with when no step on its way had a better reason. */
function outOfTime(): Refusal {
  return new Refusal('overloaded', 'The request took too long and was given up; retry later.', {
    retryAfterSeconds: 2,
  })
}
