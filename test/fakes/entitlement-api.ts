import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A request as the API saw it; `target` is the raw request target, before any decoding. */
export interface ApiRequest {
  readonly target: string
  readonly headers: IncomingHttpHeaders
}

/** One page, before it is made JSON. */
export interface ApiPage {
  readonly user: string
  readonly items: readonly unknown[]
  readonly next: unknown
}

/** How the API behaves. The first values are those of an honest one. */
export interface ApiBehaviour {
  pageSize: number
  delayMilliseconds: number
  /** The first page that misbehaves in the ways below; pages before it are honest. */
  fromPage: number
  /** Answers with this status and a JSON body that lists no roles. */
  status: number | undefined
  /** Sent as `location`. */
  location: string | undefined
  contentType: string
  headers: Readonly<Record<string, string>>
  /** Sent as the body instead of the page. */
  body: string | Buffer | undefined
  /** Changes a page before it is sent. */
  lie: (page: ApiPage, number: number) => unknown
  /** Never answers. */
  hang: boolean
  /** How the end of a body is marked; anything but `http` is written byte by byte, on a connection of its own. */
  framing: 'http' | 'length' | 'chunked' | 'close'
  /** Bytes written in all, over all answers, before connections are ended; with a framing other than `http`. */
  bytes: number
}

/** A paginated entitlement API on loopback: GET `/users/{user}/roles` gives `{ user, items: [{ role }], next }`. */
export interface EntitlementApi {
  readonly origin: string
  /** Address template for a source. */
  readonly url: string
  readonly users: Map<string, readonly string[]>
  readonly requests: readonly ApiRequest[]
  /** Connections that were opened so far. */
  connections(): number
  /** Changes the behaviour; what is not named stays as it is. */
  behave(change: Partial<ApiBehaviour>): void
  /** Forgets the requests seen. */
  forget(): void
  close(): Promise<void>
}

const HONEST: ApiBehaviour = {
  pageSize: 2,
  delayMilliseconds: 0,
  fromPage: 1,
  status: undefined,
  location: undefined,
  contentType: 'application/json',
  headers: {},
  body: undefined,
  lie: (page) => page,
  hang: false,
  framing: 'http',
  bytes: Number.POSITIVE_INFINITY,
}

/** Starts the API on a free port. */
export async function startEntitlementApi(): Promise<EntitlementApi> {
  const users = new Map<string, readonly string[]>()
  const requests: ApiRequest[] = []
  let behaviour: ApiBehaviour = { ...HONEST }
  let connections = 0

  const server = createServer((request, response) => {
    const target = request.url ?? ''
    requests.push({ target, headers: request.headers })
    void answer(target, response)
  })
  server.on('connection', () => (connections += 1))

  async function answer(target: string, response: ServerResponse): Promise<void> {
    const { fromPage, hang, delayMilliseconds } = behaviour
    const number = Number(new URL(target, 'http://localhost').searchParams.get('page') ?? '1')
    const misbehaves = number >= fromPage
    if (hang && misbehaves) return
    if (delayMilliseconds > 0) await sleep(delayMilliseconds)
    const { status, body } = pageOf(target, number, misbehaves)
    const headers = {
      'content-type': misbehaves ? behaviour.contentType : HONEST.contentType,
      ...(misbehaves && behaviour.location !== undefined ? { location: behaviour.location } : {}),
      ...(misbehaves ? behaviour.headers : {}),
    }
    if (behaviour.framing === 'http') response.writeHead(status, headers).end(body)
    else writeRaw(response, status, headers, Buffer.from(body))
  }

  function pageOf(target: string, number: number, misbehaves: boolean) {
    const match = /^\/users\/([^/?]+)\/roles(?:\?.*)?$/.exec(target)
    const user = match?.[1] === undefined ? undefined : decodeURIComponent(match[1])
    const roles = user === undefined ? undefined : users.get(user)
    if (misbehaves && behaviour.status !== undefined)
      return { status: behaviour.status, body: JSON.stringify({ items: [], next: null }) }
    if (user === undefined || !roles)
      return { status: 404, body: JSON.stringify({ error: 'none' }) }
    if (misbehaves && behaviour.body !== undefined) return { status: 200, body: behaviour.body }
    const end = number * behaviour.pageSize
    const page: ApiPage = {
      user,
      items: roles.slice(end - behaviour.pageSize, end).map((role) => ({ role })),
      next: end < roles.length ? `?page=${number + 1}` : null,
    }
    return { status: 200, body: JSON.stringify(misbehaves ? behaviour.lie(page, number) : page) }
  }

  function writeRaw(
    response: ServerResponse,
    status: number,
    headers: Readonly<Record<string, string>>,
    body: Buffer,
  ): void {
    const framing: Record<string, string> = {
      http: '',
      length: `content-length: ${body.length}\r\n`,
      chunked: 'transfer-encoding: chunked\r\n',
      close: 'connection: close\r\n',
    }
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const head = `HTTP/1.1 ${status} X\r\n${fields.join('')}${framing[behaviour.framing]}\r\n`
    const framed =
      behaviour.framing === 'chunked'
        ? [`${body.length.toString(16)}\r\n`, body, '\r\n0\r\n\r\n']
        : [body]
    const whole = Buffer.concat([head, ...framed].map((part) => Buffer.from(part as string)))
    const sent = whole.subarray(0, behaviour.bytes)
    behaviour.bytes -= sent.length
    // A FIN, not a reset: the end of the bytes looks like the end of the answer.
    response.socket?.end(sent)
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}/users/{user}/roles`,
    users,
    requests,
    connections: () => connections,
    behave(change) {
      behaviour = { ...behaviour, ...change }
    },
    forget() {
      requests.length = 0
    },
    close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeAllConnections()
      return closed
    },
  }
}
