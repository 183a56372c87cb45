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

/** Opens the port. Rejects when it is taken or may not be opened. */
export async function openListener(
  server: HttpServer,
  options: ListenerOptions,
): Promise<OpenListener> {
  await server.listen({ host: options.host, port: options.port })
  const bound = server.server.address()
  const port = typeof bound === 'object' ? (bound?.port ?? options.port) : options.port
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    async close(drainMilliseconds) {
      const cut = setTimeout(() => {
        server.server.closeAllConnections()
      }, drainMilliseconds)
      // A connection whose request was in hand when closing began is kept alive after its answer, waiting for a next one.
      const sweep = setInterval(() => {
        server.server.closeIdleConnections()
      }, SWEEP_MILLISECONDS)
      try {
        await server.close()
      } finally {
        clearTimeout(cut)
        clearInterval(sweep)
      }
    },
  }
}
