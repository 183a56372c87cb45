import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { closeServer, listen } from './listen.ts'
import { DEMO_USERS, type DemoUser } from './users.ts'

const PAGE_SIZE = 2

/** How to start the demo entitlement API; everything has a default. */
export interface DemoEntitlementsOptions {
  /** 0, the default, takes a free port. */
  readonly port?: number
  readonly host?: '127.0.0.1'
  /** The bearer token it asks for; made anew when left out. */
  readonly bearer?: string
  readonly users?: readonly DemoUser[]
}

/** A running demo entitlement API. */
export interface DemoEntitlements {
  /** Its origin, without a path: `http://127.0.0.1:40123`. */
  readonly url: string
  /** The bearer token it asks for. */
  readonly bearer: string
  /** Requests answered since the start, whatever the answer. */
  requests(): number
  close(): Promise<void>
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

/**
 * Starts an entitlement API such as a company might have: `GET /users/{upn}/roles?page=N` behind a bearer token, two
 * roles a page, links to the next page, 404 for people it does not know.
 *
 * @throws {Error} when the port is taken.
 */
export async function startDemoEntitlements(
  options: DemoEntitlementsOptions = {},
): Promise<DemoEntitlements> {
  const bearer = options.bearer ?? randomBytes(32).toString('base64url')
  const users = new Map((options.users ?? DEMO_USERS).map((user) => [user.upn, user]))
  let requests = 0
  const server = createServer((request, response) => {
    requests += 1
    const { status, body } = isBearer(request.headers.authorization, bearer)
      ? answerTo(users, request.method ?? '', request.url ?? '/')
      : { status: 401, body: { error: 'a bearer token is required' } }
    response
      .writeHead(status, {
        'content-type': 'application/json',
        ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      })
      .end(JSON.stringify(body))
  })
  const port = await listen(server, options.port ?? 0, options.host)
  return {
    url: `http://127.0.0.1:${port}`,
    bearer,
    requests: () => requests,
    close: () => closeServer(server),
  }
}

function isBearer(header: string | undefined, bearer: string): boolean {
  const given = Buffer.from(header ?? '')
  const wanted = Buffer.from(`Bearer ${bearer}`)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}

function answerTo(users: ReadonlyMap<string, DemoUser>, method: string, target: string): Answer {
  const url = new URL(target, 'http://demo.invalid')
  const segment = /^\/users\/([^/]+)\/roles$/.exec(url.pathname)?.[1]
  if (segment === undefined) return { status: 404, body: { error: 'no such resource' } }
  if (method !== 'GET') return { status: 405, body: { error: 'only GET is supported' } }
  const page = Number(url.searchParams.get('page') ?? '1')
  if (!Number.isSafeInteger(page) || page < 1)
    return { status: 400, body: { error: 'page must be a positive whole number' } }
  let upn: string
  try {
    upn = decodeURIComponent(segment)
  } catch {
    return { status: 400, body: { error: 'the user is not valid percent-encoding' } }
  }
  const roles = users.get(upn)?.sourceRoles
  if (!roles) return { status: 404, body: { error: 'no such user' } }
  const isLast = page * PAGE_SIZE >= roles.length
  return {
    status: 200,
    body: {
      user: upn,
      items: roles.slice((page - 1) * PAGE_SIZE, page * PAGE_SIZE).map((role) => ({ role })),
      next: isLast ? null : `/users/${encodeURIComponent(upn)}/roles?page=${page + 1}`,
    },
  }
}
