/** What all listeners share: one way in, one way to answer, one way to fail, one log line a request. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { LoadGate, Place, Priority } from '../admission/load.ts'
import { newTraceId, type Random } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { createBackPressure } from './backpressure.ts'
import { answerClientError } from './client-error.ts'
import { EdgeError } from './edge-error.ts'
import { knownError } from './fastify-errors.ts'
import { createFastifyServer, type SocketBounds, type TlsMaterial } from './fastify-server.ts'
import { renderError } from './render-refusal.ts'
import {
  connectionOf,
  createRequestTarget,
  maybeScopeOf,
  openScope,
  type RequestBudget,
  type RequestScope,
  type RequestTarget,
  requestId,
  scopeOf,
} from './request-scope.ts'
import { type Answer, createPathIndex, methodsOf, type RouteFacts } from './route.ts'
import { securityHeaders } from './security-headers.ts'

/** A request as routes see it. */
export interface Call {
  readonly scope: RequestScope
  readonly method: string
  readonly headers: IncomingMessage['headers']
  /** Parameters of the path. */
  readonly params: Readonly<Record<string, string>>
  /** The bytes that came; undefined when there were none. */
  readonly body: Buffer | undefined
}

/** What a listener is made of. */
export interface ListenerParts<R extends ServedRoute> {
  readonly name: 'public' | 'admin'
  readonly log: Log
  readonly metrics: Pick<Metrics, 'httpRequest'>
  readonly random: Random
  readonly routes: readonly R[]
  readonly tls: TlsMaterial | undefined
  readonly trustedProxies: readonly string[]
  readonly bounds: Partial<SocketBounds> | undefined
  /** Whose rules apply, and the path that is left for routing. */
  readonly locate: (target: RequestTarget) => {
    readonly tenant: Tenant | undefined
    readonly path: string
  }
  /** Base of the `type` of errors; empty for none. */
  readonly issuer: (scope: RequestScope) => string
  /**
   * Looks at a request before its body is read, unknown paths included; answers it, throws, or lets it pass. Spared those of a tenant
   * without pages of its own, as there is nothing to look at. May add to the headers of the scope.
   */
  readonly before: (call: Call) => Early | Promise<Early>
  readonly budget: RequestBudget
  /** Decides whether there is room for what can wait; without one there always is. */
  readonly load?: LoadGate | undefined
  /** The refusal of a tenant whose exchanges are known to be over their limit. */
  readonly full?: ((tenant: Tenant) => Refusal | undefined) | undefined
}

/** A route that can be asked. */
export interface ServedRoute extends RouteFacts {
  /** What it may be put off or refused for; left out: nothing. */
  readonly priority?: Priority
  /** Does what the route is for; by now `before` has let the request pass. `signal` fires when its time is up. */
  readonly handle: (call: Call, signal: AbortSignal) => Answer | Promise<Answer>
}

/** An answer that spares the route, or none. */
export type Early = Answer | undefined

/** A listener, complete but with no port open yet. */
export function createListener<R extends ServedRoute>(parts: ListenerParts<R>): FastifyInstance {
  const pathFacts = createPathIndex(parts.routes)
  const fail = createFail(parts, pathFacts)
  const enter = createEnter(parts)
  const serve = createServe(parts, fail)

  const app = createFastifyServer({
    tls: parts.tls,
    bounds: parts.bounds,
    trustedProxies: parts.trustedProxies,
    arriving: createArriving(parts, pathFacts, enter),
    pathOf: (message) => (maybeScopeOf(message) ?? enter(message)).path,
    requestIdOf: (message) => scopeOf(message).id,
    takeBody: (_request, body, done) => done(null, body),
    fail: (error, request, reply) => {
      // Fastify gave up before any hook of ours ran.
      begin(parts, request, reply)
      fail(error, request, reply)
    },
    failConnection: (error, socket) => {
      const id = newTraceId(parts.random)
      parts.log.info({ listener: parts.name, requestId: id, cause: codeOf(error) }, 'bad request')
      answerClientError(error, socket, id)
    },
  })

  app.setErrorHandler(fail)
  app.setNotFoundHandler((request, reply) =>
    fail(nothingHere(pathFacts(scopeOf(request.raw).path)?.methods), request, reply),
  )
  app.addHook('onRequest', (request, reply, done) => {
    begin(parts, request, reply)
    const { tenant } = scopeOf(request.raw)
    if (tenant !== undefined && tenant.corsOrigins.length === 0) {
      done()
      return
    }
    const settle = (early: Early): void => {
      if (early) send(reply, early)
      else done()
    }
    try {
      const early = parts.before(callOf(request))
      if (early instanceof Promise) early.then(settle, done)
      else settle(early)
    } catch (error) {
      done(error instanceof Error ? error : new TypeError('not an error'))
    }
  })
  for (const route of parts.routes) {
    app.route({
      method: [...methodsOf(route.method)],
      url: route.path,
      handler: (request, reply) => serve(route, request, reply),
    })
  }
  return app
}

/** Requests that may be outstanding on one connection: more are no pipelining (RFC 9112 §9.3.2) but a way to be served before others. */
const MOST_PIPELINED = 16

/** Looks at a request as soon as its headers are there, before the framework and before its body: the cheapest place to refuse it. */
function createArriving<R extends ServedRoute>(
  parts: ListenerParts<R>,
  pathFacts: ReturnType<typeof createPathIndex<R>>,
  enter: (message: IncomingMessage) => RequestScope,
): (serve: RequestListener) => RequestListener {
  const { load } = parts
  const pressure = load && createBackPressure({ ...parts, load, listener: parts.name })
  const canWait = new Map(
    parts.routes.flatMap((route) =>
      (route.priority ?? 'vital') === 'vital' ? [] : [[`${route.method} ${route.path}`, route]],
    ),
  )
  /** True when it was refused. */
  function refuse(message: IncomingMessage, response: ServerResponse, scope: RequestScope) {
    if (!load || !pressure) return false
    const route = canWait.get(`${message.method ?? ''} ${scope.path}`)
    // What does not exist has no claim to be served first.
    const priority = route?.priority ?? (pathFacts(scope.path) ? 'vital' : 'exchange')
    const full = priority === 'exchange' && scope.tenant ? parts.full?.(scope.tenant) : undefined
    const refusal = full ?? load.refusal(scope.tenant, priority)
    // A page would not be told why without the headers that let it read the answer: those are added further on, as is the refusal.
    const isPage = message.headers.origin !== undefined && scope.tenant?.corsOrigins.length !== 0
    if (!refusal || isPage) return false
    const style = route?.errors ?? 'api'
    const issuer = parts.issuer(scope)
    pressure.refuse({
      message,
      response,
      scope,
      refusal,
      style,
      route: route?.path ?? 'unmatched',
      issuer,
    })
    return true
  }
  return (serve) => (message, response) => {
    const connection = connectionOf(message.socket)
    if (connection.open >= MOST_PIPELINED) {
      message.socket.destroy()
      return
    }
    connection.last = message
    if (!refuse(message, response, enter(message))) serve(message, response)
  }
}

/** What is to be done when a request begins, and once it is over. */
function begin<R extends ServedRoute>(
  parts: ListenerParts<R>,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { raw } = reply
  const { socket } = request.raw
  const scope = scopeOf(request.raw)
  const connection = connectionOf(socket)
  connection.open += 1
  scope.deadline = parts.budget.open(scope.startedAt, () => socket.destroy())
  // 'close' comes for every request exactly once, also when the caller went away before the answer.
  raw.on('close', () => {
    connection.open -= 1
    connection.answered += 1
    connection.since = performance.now()
    if (!raw.writableFinished) scope.deadline?.gone()
    scope.deadline?.end()
    scope.place?.leave()
    logRequest(parts, request, reply)
  })
}

/** Runs a route once there is room for it. No async function: Fastify would await its promise, and each promise costs every exchange. */
function createServe<R extends ServedRoute>(
  parts: ListenerParts<R>,
  fail: ReturnType<typeof createFail<R>>,
): (route: R, request: FastifyRequest, reply: FastifyReply) => void {
  function run(route: R, request: FastifyRequest, reply: FastifyReply): void {
    const call = callOf(request)
    call.scope.quiet = route.quiet ?? false
    const { deadline } = call.scope
    if (!deadline) throw new TypeError('the request has no deadline')
    const answer = route.handle(call, deadline.signal)
    if (!(answer instanceof Promise)) {
      send(reply, answer)
      return
    }
    answer.then(
      (settled) => send(reply, settled),
      (error: unknown) => fail(error, request, reply),
    )
  }
  return (route, request, reply) => {
    const { load } = parts
    if (!load || !route.priority || route.priority === 'vital') {
      run(route, request, reply)
      return
    }
    const scope = scopeOf(request.raw)
    const placed = (place: Place): void => {
      scope.place = place
      run(route, request, reply)
    }
    // The body is complete by now: somebody who sends theirs slowly holds no place meanwhile.
    const entered = load.enter(scope.tenant, route.priority)
    if (!(entered instanceof Promise)) {
      placed(entered)
      return
    }
    const given = (place: Place): void => {
      // Its caller may have gone while it waited.
      if (reply.raw.closed) place.leave()
      else placed(place)
    }
    entered.then(given).catch((error: unknown) => fail(error, request, reply))
  }
}

/** Opens the scope of a request; the path in it is what is to be routed: below the issuer, and without the query. */
function createEnter<R extends ServedRoute>(
  parts: ListenerParts<R>,
): (message: IncomingMessage) => RequestScope {
  const targetOf = createRequestTarget(parts.trustedProxies)
  const always = Object.entries(securityHeaders(parts.tls !== undefined)).flat()
  return (message) => {
    const target = targetOf(message)
    const { tenant, path } = parts.locate(target)
    const traceparent = message.headers['traceparent']
    return openScope(message, {
      id: requestId(typeof traceparent === 'string' ? traceparent : undefined, parts.random),
      startedAt: performance.now(),
      path,
      query: target.query,
      tenant,
      address: target.address,
      always,
    })
  }
}

/** The one place where an error becomes an answer. */
function createFail<R extends ServedRoute>(
  parts: ListenerParts<R>,
  pathFacts: ReturnType<typeof createPathIndex<R>>,
): (error: unknown, request: FastifyRequest, reply: FastifyReply) => FastifyReply {
  return (error, request, reply) => {
    const scope = scopeOf(request.raw)
    const known = knownError(error)
    scope.errorCode = known.code
    scope.cause = known.cause
    if (known.code === 'internal') {
      parts.log.error(
        { err: known.cause ?? known, requestId: scope.id, tenant: scope.tenant?.name },
        'request failed on a bug',
      )
    }
    const answer = renderError(known, {
      style: pathFacts(scope.path)?.routes[0]?.errors ?? 'api',
      accept: request.headers.accept,
      issuer: parts.issuer(scope),
      requestId: scope.id,
      challenge: !scope.credentialInBody,
    })
    return send(reply, answer)
  }
}

function nothingHere(methods: readonly string[] | undefined): Refusal | EdgeError {
  if (!methods) return new EdgeError('not_found', 'There is nothing at this path.')
  return new Refusal('method_not_allowed', 'The path exists, but not for this method.', {
    headers: { allow: methods.join(', ') },
  })
}

function callOf(request: FastifyRequest): Call {
  return {
    scope: scopeOf(request.raw),
    method: request.method,
    headers: request.headers,
    params: isTexts(request.params) ? request.params : {},
    body: Buffer.isBuffer(request.body) ? request.body : undefined,
  }
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return typeof value === 'object' && value !== null
}

/**
 * Writes an answer in one go, straight to Node: by Fastify's way every header is looked at several times, which is most of what a
 * framework costs here. Fastify is told that the answer is taken care of.
 */
function send(reply: FastifyReply, answer: Answer): FastifyReply {
  const { raw } = reply.hijack()
  const scope = scopeOf(reply.request.raw)
  const lines = [...scope.always, 'x-request-id', scope.id]
  for (const name in answer.headers) {
    // What the answer says of itself comes before what every answer says.
    const value = answer.headers[name] ?? ''
    const at = lines.indexOf(name)
    if (at === -1) lines.push(name, value)
    else lines[at + 1] = value
  }
  addEarlyHeaders(lines, scope.headers)
  if (answer.body !== undefined)
    lines.push('content-length', String(Buffer.byteLength(answer.body)))
  raw.writeHead(answer.status, lines)
  raw.end(answer.body)
  return reply
}

/** What `before` found the answer to vary by still counts when the answer varies by more. */
function addEarlyHeaders(lines: string[], early: readonly string[]): void {
  for (let at = 0; at < early.length; at += 2) {
    const [name = '', value = ''] = early.slice(at, at + 2)
    const there = name === 'vary' ? lines.indexOf(name) : -1
    if (there === -1) lines.push(name, value)
    else lines[there + 1] = `${value}, ${lines[there + 1] ?? ''}`
  }
}

/** One line a request: names and codes only, never a body, a URL or a header. */
function logRequest<R extends ServedRoute>(
  parts: ListenerParts<R>,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const scope = scopeOf(request.raw)
  const milliseconds = performance.now() - scope.startedAt
  const route = request.routeOptions.url ?? 'unmatched'
  const status = reply.raw.headersSent ? reply.raw.statusCode : 499
  const quiet = scope.quiet
  parts.metrics.httpRequest(parts.name, route, status, milliseconds / 1000)
  parts.log[quiet && status < 400 ? 'debug' : 'info'](
    {
      listener: parts.name,
      tenant: scope.tenant?.name,
      method: request.method,
      route,
      status,
      code: scope.errorCode,
      cause: scope.cause instanceof Error ? scope.cause.message : undefined,
      client: scope.clientId,
      operator: scope.operator?.by,
      requestId: scope.id,
      ms: Math.round(milliseconds * 100) / 100,
    },
    'request',
  )
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
