import type { IncomingMessage } from 'node:http'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { boundConnections } from './connections.ts'
import { createIsProxy } from './forwarded.ts'
import type { ListenerBounds } from './options.ts'

/** Certificate chain and key of a listener, PEM. */
export interface TlsMaterial {
  readonly cert: Buffer
  readonly key: Buffer
}

/** Bounds on connections. */
export interface SocketBounds extends ListenerBounds {
  /** How often slow headers and bodies are looked after, milliseconds. */
  readonly checkMilliseconds: number
}

const SOCKET_BOUNDS: SocketBounds = {
  // A client sends its headers in one piece. Five seconds leave room for two retransmissions of it.
  headersMilliseconds: 5000,
  requestMilliseconds: 10_000,
  // Longer than the usual 60 s of load balancers: if we closed first, requests already on their way would be lost.
  keepAliveMilliseconds: 72_000,
  checkMilliseconds: 1000,
  connections: 10_000,
  // A gateway or an office behind one address lives with it, as only connections in use count for good.
  connectionsPerAddress: 512,
}

const MOST_HEADER_BYTES = 16 * 1024
const MOST_BODY_BYTES = 64 * 1024

/** What the server is told about one listener. */
export interface ServerParts {
  readonly tls: TlsMaterial | undefined
  readonly bounds: Partial<SocketBounds> | undefined
  /** Networks whose connections carry the requests of many. */
  readonly trustedProxies: readonly string[]
  /** What is called for each request that comes over a socket, when it is to call `serve` for those that are to be served. */
  readonly arriving: (serve: RequestListener) => RequestListener
  /** The path to route. */
  readonly pathOf: (message: IncomingMessage) => string
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
    rewriteUrl: parts.pathOf,
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
  const listener = parts.arriving(handler)
  const server = parts.tls
    ? createTlsServer(
        {
          ...options,
          ...parts.tls,
          minVersion: 'TLSv1.2',
          handshakeTimeout: bounds.headersMilliseconds,
        },
        listener,
      )
    : createServer(options, listener)
  boundConnections(server, {
    most: bounds.connections,
    perAddress: bounds.connectionsPerAddress,
    isProxy: createIsProxy(parts.trustedProxies),
  })
  return server
}
