import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Passes requests on to other servers and counts them, for what does not say itself when it fetches. */
export interface Relay {
  /** The address that stands for target number `index`. */
  uri(index: number): string
  count(): number
  close(): Promise<void>
}

const DEADLINE_MILLISECONDS = 20_000

/** Starts a relay to these addresses on a free port. Nothing is kept in it: it must not be a cache of its own. */
export async function startRelay(targets: readonly string[]): Promise<Relay> {
  let count = 0
  const server = createServer((request, response) => {
    count += 1
    const target = targets[Number(request.url?.slice(1))] ?? ''
    void passOn(target, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    uri: (index) => `http://127.0.0.1:${port}/${index}`,
    count: () => count,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function passOn(target: string, response: ServerResponse): Promise<void> {
  try {
    const answer = await fetch(target, { signal: AbortSignal.timeout(DEADLINE_MILLISECONDS) })
    const body = await answer.text()
    const type = answer.headers.get('content-type') ?? 'text/plain'
    response.writeHead(answer.status, { 'content-type': type }).end(body)
  } catch (error) {
    response.writeHead(502).end(String(error))
  }
}
