import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

/** A request as the API saw it; `target` is the raw request target, before any decoding. */
export interface ApiRequest {
  readonly method: string
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One page, before it is made JSON. */
export interface ApiPage {
  readonly user: string
  readonly items: readonly unknown[]
  readonly next: unknown
}

/** The answer of the batch endpoint, before it is made JSON. */
export interface ApiBatch {
  readonly answers: readonly { readonly user: string; readonly roles: readonly unknown[] }[]
  readonly unknown: readonly string[]
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
  /** Changes the answer of the batch endpoint before it is sent. */
  lieInBatch: (batch: ApiBatch) => unknown
  /** Called before a page is made, with its number. */
  before: (page: number) => void
  /** Sends a strong ETag with every page, of its content, and heeds `If-None-Match`. */
  etags: boolean
  /** The `Authorization` asked for; anything else gets {@link refusedAs}. */
  authorization: string | undefined
  refusedAs: number
  /** The answer about a user nobody knows. */
  unknownAs: { readonly status: number; readonly body: string }
  /** Decodes the name twice, as a proxy before an application does. */
  decodesTwice: boolean
  /** Answers 400 to names with an encoded slash or percent sign. */
  refusesOddNames: boolean
}

/**
 * An entitlement API on loopback: GET `/users/{user}/roles` gives `{ user, items: [{ role }], next }`, POST `/roles` with `{ users }` gives
 * `{ answers: [{ user, roles }], unknown: [] }`.
 */
export interface EntitlementApi {
  readonly origin: string
  /** Address template for a source. */
  readonly url: string
  /** Address of the batch endpoint. */
  readonly batchUrl: string
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
  lieInBatch: (batch) => batch,
  before: () => undefined,
  etags: false,
  authorization: undefined,
  refusedAs: 401,
  unknownAs: { status: 404, body: '{"error":"none"}' },
  decodesTwice: false,
  refusesOddNames: false,
}

/** Starts the API on a free port. */
export async function startEntitlementApi(): Promise<EntitlementApi> {
  const users = new Map<string, readonly string[]>()
  const requests: ApiRequest[] = []
  let behaviour: ApiBehaviour = { ...HONEST }
  let connections = 0

  const server = createServer(async (request, response) => {
    const { url: target = '', method = '', headers } = request
    const body = await text(request).catch(() => '')
    requests.push({ method, target, headers, body })
    await answer({ method, target, headers, body }, response)
  })
  server.on('connection', () => (connections += 1))

  async function answer(request: ApiRequest, response: ServerResponse): Promise<void> {
    const { fromPage, hang, delayMilliseconds } = behaviour
    const { searchParams } = new URL(request.target, 'http://localhost')
    const number = Number(searchParams.get('page') ?? '1')
    const misbehaves = number >= fromPage
    if (hang && misbehaves) return
    if (delayMilliseconds > 0) await sleep(delayMilliseconds)
    behaviour.before(number)
    const { status, body } = replyTo(request, number, misbehaves)
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
    const headers = {
      'content-type': misbehaves ? behaviour.contentType : HONEST.contentType,
      ...(behaviour.etags && status === 200 ? { etag } : {}),
      ...(misbehaves && behaviour.location !== undefined ? { location: behaviour.location } : {}),
      ...(misbehaves ? behaviour.headers : {}),
    }
    const isKnown = behaviour.etags && status === 200 && request.headers['if-none-match'] === etag
    if (isKnown) response.writeHead(304, headers).end()
    else response.writeHead(status, headers).end(body)
  }

  function replyTo(request: ApiRequest, number: number, misbehaves: boolean) {
    const { authorization, refusedAs } = behaviour
    if (authorization !== undefined && request.headers.authorization !== authorization)
      return { status: refusedAs, body: JSON.stringify({ error: 'who are you' }) }
    if (misbehaves && behaviour.status !== undefined)
      return { status: behaviour.status, body: JSON.stringify({ items: [], next: null }) }
    return request.method === 'POST' ? batchOf(request) : pageOf(request, number, misbehaves)
  }

  function batchOf({ body }: ApiRequest) {
    const { users: asked } = JSON.parse(body) as { users: readonly string[] }
    const batch: ApiBatch = {
      answers: asked.flatMap((user) => {
        const roles = users.get(user)
        return roles ? [{ user, roles }] : []
      }),
      unknown: asked.filter((user) => !users.has(user)),
    }
    return { status: 200, body: behaviour.body ?? JSON.stringify(behaviour.lieInBatch(batch)) }
  }

  function decoded(segment: string): string {
    const once = decodeURIComponent(segment)
    // As by a proxy that also tidies the path.
    return behaviour.decodesTwice ? new URL(once, 'http://fake/').pathname.slice(1) : once
  }

  function pageOf({ target }: ApiRequest, number: number, misbehaves: boolean) {
    const match = /^\/users\/([^/?]+)\/roles(?:\?.*)?$/.exec(target)
    if (behaviour.refusesOddNames && /%2f|%25/i.test(target)) return { status: 400, body: '{}' }
    const user = match?.[1] === undefined ? undefined : decoded(match[1])
    const roles = user === undefined ? undefined : users.get(user)
    if (user === undefined || !roles) return behaviour.unknownAs
    if (misbehaves && behaviour.body !== undefined) return { status: 200, body: behaviour.body }
    const end = number * behaviour.pageSize
    const page: ApiPage = {
      user,
      items: roles.slice(end - behaviour.pageSize, end).map((role) => ({ role })),
      next: end < roles.length ? `?page=${number + 1}` : null,
    }
    return { status: 200, body: JSON.stringify(misbehaves ? behaviour.lie(page, number) : page) }
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}/users/{user}/roles`,
    batchUrl: `${origin}/roles`,
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
