/** Stands between a client and a real HTTP server, for faults that the real one does not produce on demand. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the proxy does with every request. */
export type Fault =
  | 'none'
  /** Takes the request and never answers. */
  | 'hang'
  /** Breaks the connection. */
  | 'cut'
  /** Answers 200 with something that is no JSON. */
  | 'garbage'
  /** Answers with this status and an error body of Vault's. */
  | 403
  | 429
  | 500

export interface FaultProxy {
  readonly url: string
  /** Requests that came while the present fault was set. */
  readonly met: number
  set(fault: Fault): void
  close(): Promise<void>
}

/** Starts a proxy before the server at `target`. */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  let fault: Fault = 'none'
  let met = 0
  const server = createServer((incoming, outgoing) => {
    met += 1
    if (fault === 'none') forward(target, incoming, outgoing)
    else if (fault === 'cut') incoming.socket.destroy()
    else if (fault === 'garbage')
      outgoing.writeHead(200, { 'content-type': 'application/json' }).end('<html>{"data":')
    else if (fault !== 'hang')
      outgoing
        .writeHead(fault, { 'content-type': 'application/json' })
        .end(JSON.stringify({ errors: ['made by the fault proxy'] }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    get met() {
      return met
    },
    set(next) {
      fault = next
      met = 0
      // What hangs now is cut when the fault ends, as a network does.
      if (next === 'none') server.closeAllConnections()
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

function forward(target: string, incoming: IncomingMessage, outgoing: ServerResponse): void {
  const { method, headers, url } = incoming
  const onward = request(`${target}${url}`, { method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(outgoing)
  })
  onward.on('error', () => incoming.socket.destroy())
  outgoing.on('close', () => onward.destroy())
  incoming.pipe(onward)
}
