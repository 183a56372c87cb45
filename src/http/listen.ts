import { once } from 'node:events'
import { createServer, isIP, type ListenOptions, type Server, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { TlsMaterial } from './fastify-server.ts'
import type { ListenerOptions } from './options.ts'

/** A listener that was made and is not open yet. Outside this folder nobody needs to know that it is a Fastify. */
export type HttpServer = FastifyInstance

/** Reads a file; disk comes in as an argument. */
export type ReadFile = (path: string) => Promise<Buffer>

/** The certificate and key of a listener, or undefined when it speaks plain HTTP. Rejects when a file cannot be read. */
export async function readTls(
  options: ListenerOptions,
  readFile: ReadFile,
): Promise<TlsMaterial | undefined> {
  if (!options.tls) return undefined
  const [cert, key] = await Promise.all([readFile(options.tls.cert), readFile(options.tls.key)])
  return { cert, key }
}

/** A listener with its port open. */
export interface OpenListener {
  /** Where it listens, e.g. `http://127.0.0.1:8080`; tells the port when 0 was asked for. */
  readonly url: string
  /**
   * Takes no new connection, lets the requests in hand finish, and resolves when the last is answered or `drainMilliseconds` have
   * passed; what is left then is cut.
   */
  close(drainMilliseconds: number): Promise<void>
}

const SWEEP_MILLISECONDS = 100

/** Connections that the kernel keeps for us until they are accepted; it has the last word (`net.core.somaxconn`). */
const BACKLOG = 2048

/** Opens the port. Rejects when it is taken or may not be opened. */
export async function openListener(
  server: HttpServer,
  options: ListenerOptions,
): Promise<OpenListener> {
  // Before the first connection can come.
  await server.ready()
  const more = await openMore(server, options)
  const { host, port: wanted } = options
  try {
    const shared = more[0] && { reusePort: true, port: portOf(more[0]) }
    await server.listen({ host, port: wanted, backlog: BACKLOG, ...shared })
  } catch (error) {
    await Promise.all(more.map(closed))
    throw error
  }
  const name = host.includes(':') ? `[${host}]` : host
  return {
    url: `${options.tls ? 'https' : 'http'}://${name}:${portOf(server.server)}`,
    async close(drainMilliseconds) {
      const cut = setTimeout(() => {
        server.server.closeAllConnections()
      }, drainMilliseconds)
      // A connection whose request was in hand when closing began is kept alive after its answer, waiting for a next one.
      const sweep = setInterval(() => {
        server.server.closeIdleConnections()
      }, SWEEP_MILLISECONDS)
      try {
        await Promise.all([server.close(), ...more.map(closed)])
      } finally {
        clearTimeout(cut)
        clearInterval(sweep)
      }
    },
  }
}

/**
 * Opens the port several times over where the system can (SO_REUSEPORT), as Node accepts one connection of each listening socket per turn of the
 * event loop: under load, with a few hundred turns a second, all the clients who dial anew would otherwise wait for seconds, the probes of
 * an orchestrator among them. Gives all but the one of the server itself; none where one is enough or must do.
 */
async function openMore(
  { server }: HttpServer,
  { host, port, tls, handles = 1 }: ListenerOptions,
): Promise<readonly Server[]> {
  // A name may stand for several addresses.
  if (handles === 1 || isIP(host) === 0) return []
  // The system would let a second process of the same user have the port as well, and half of the requests, unseen. Port 0 is nobody's.
  if (port !== 0) await closed(await listening(createServer(), { host, port }))
  const more: Server[] = []
  try {
    while (more.length < handles - 1) {
      // As the server's own sockets are made. What comes is the server's from then on, bounds and closing included.
      const handle = createServer({ noDelay: true, allowHalfOpen: !tls }, (socket: Socket) =>
        server.emit('connection', socket),
      )
      const at = more[0] ? portOf(more[0]) : port
      more.push(await listening(handle, { host, port: at, backlog: BACKLOG, reusePort: true }))
    }
  } catch (error) {
    await Promise.all(more.map(closed))
    if (!isUnsupported(error)) throw error
    return []
  }
  return more
}

async function listening(server: Server, options: ListenOptions): Promise<Server> {
  server.listen(options)
  await once(server, 'listening')
  return server
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

function portOf(server: Pick<Server, 'address'>): number {
  const bound = server.address()
  if (typeof bound !== 'object' || bound === null) throw new TypeError('the server has no port')
  return bound.port
}

function isUnsupported(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ENOTSUP' || error.code === 'EINVAL')
  )
}
