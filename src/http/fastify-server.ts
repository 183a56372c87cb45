import type { IncomingMessage } from 'node:http'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'

/** Certificate chain and key of a listener, PEM. */
export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
}

/** Bounds on connections; times in milliseconds. */
export interface SocketBounds {
  /** From the first byte of a request to the end of its headers. */
  readonly headersMilliseconds: number
  /** From the first byte of a request to the end of its body. */
  readonly requestMilliseconds: number
  /** Between two requests on one connection. */
  readonly keepAliveMilliseconds: number
  /** How often the first two are looked after. */
  readonly checkMilliseconds: number
}

const SOCKET_BOUNDS: SocketBounds = {
  headersMilliseconds: 10_000,
  requestMilliseconds: 15_000,
  // Longer than the usual 60 s of load balancers: if we closed first, requests already on their way would be lost.
  keepAliveMilliseconds: 72_000,
  checkMilliseconds: 2_000,
}

const MOST_HEADER_BYTES = 16 * 1024
const MOST_BODY_BYTES = 64 * 1024

/** What the server is told about one listener. */
export interface ServerParts {
  readonly tls: TlsMaterial | undefined
  readonly bounds: Partial<SocketBounds> | undefined
  /** Called first for each request; returns the path to route. */
  readonly enter: (message: IncomingMessage) => string
  readonly requestIdOf: (message: IncomingMessage) => string
  /** Takes a body as it is. */
  readonly takeBody: (
    request: FastifyRequest,
    body: Buffer,
    done: (error: null, body: Buffer) => void,
  ) => void
  /** Answers an error. */
  readonly fail: (error: unknown, request: FastifyRequest, reply: FastifyReply) => void
  /** Answers what never became a request. */
  readonly failConnection: (error: Error, socket: Duplex) => void
}

/** A Fastify that adds nothing of its own to an answer and leaves every body as the bytes that came. */
export function createFastifyServer(parts: ServerParts): FastifyInstance {
  const app = Fastify({
    serverFactory: (handler) => createNodeServer(handler, parts),
    logger: false,
    bodyLimit: MOST_BODY_BYTES,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    genReqId: parts.requestIdOf,
    rewriteUrl: parts.enter,
    // While we close, requests that still arrive on open connections are served: the load balancer has not heard yet.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    frameworkErrors: (error, request, reply) => {
      parts.fail(error, request, reply)
    },
    clientErrorHandler: (error, socket) => {
      parts.failConnection(error, socket)
    },
  })
  app.removeAllContentTypeParsers()
  // The two by name as well: what Fastify finds only by its wildcard it looks for anew, and parses the media type for, each time.
  app.addContentTypeParser(
    ['application/x-www-form-urlencoded', 'application/json', '*'],
    { parseAs: 'buffer' },
    parts.takeBody,
  )
  return app
}

function createNodeServer(handler: RequestListener, parts: ServerParts): Server {
  const bounds = { ...SOCKET_BOUNDS, ...parts.bounds }
  const options: ServerOptions = {
    maxHeaderSize: MOST_HEADER_BYTES,
    headersTimeout: bounds.headersMilliseconds,
    requestTimeout: bounds.requestMilliseconds,
    keepAliveTimeout: bounds.keepAliveMilliseconds,
    connectionsCheckingInterval: bounds.checkMilliseconds,
    // Two Authorization headers become one that no parser of ours accepts, instead of the second vanishing unseen.
    joinDuplicateHeaders: true,
    insecureHTTPParser: false,
  }
  if (!parts.tls) return createServer(options, handler)
  return createTlsServer({ ...options, ...parts.tls, minVersion: 'TLSv1.2' }, handler)
}
