import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { jsonObject } from './json.ts'
import { closeServer, listen } from './listen.ts'
import { DEMO_USERS, type DemoUser } from './users.ts'

const PAGE_SIZE = 2
/** As many users as one request may ask about. */
const BATCH_SIZE = 100
const MAX_BODY_BYTES = 64 * 1024

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

/** The people, and the state of the list: a new version whenever it changes. Here it never does. */
interface Directory {
  readonly users: ReadonlyMap<string, DemoUser>
  readonly version: string
}

/**
 * Starts an entitlement API such as a company might have, behind a bearer token, as docs/contracts/source.md asks for:
 *
 * - `GET /users/{upn}/roles?page=N`: two roles a page, the version of the list on every page, links to the next page, a
 *   strong ETag, 404 for people it does not know;
 * - `POST /roles` with `{ "users": [...] }`: the roles of many people at once.
 *
 * @throws {Error} when the port is taken.
 */
export async function startDemoEntitlements(
  options: DemoEntitlementsOptions = {},
): Promise<DemoEntitlements> {
  const bearer = options.bearer ?? randomBytes(32).toString('base64url')
  const directory = directoryOf(options.users ?? DEMO_USERS)
  let requests = 0
  const server = createServer(async (request, response) => {
    requests += 1
    const { status, body } = isBearer(request.headers.authorization, bearer)
      ? await answerTo(directory, request)
      : { status: 401, body: { error: 'a bearer token is required' } }
    const json = JSON.stringify(body)
    const sha256 = createHash('sha256').update(json)
    const digest = sha256.copy().digest('base64')
    const etag = `"${sha256.digest('base64url')}"`
    const headers = {
      'content-type': 'application/json',
      'cache-control': 'private, no-cache',
      'content-digest': `sha-256=:${digest}:`,
      ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...(status === 200 ? { etag } : {}),
    }
    if (status === 200 && request.headers['if-none-match'] === etag)
      response.writeHead(304, { etag }).end()
    else response.writeHead(status, headers).end(json)
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

function directoryOf(people: readonly DemoUser[]): Directory {
  const version = createHash('sha256').update(JSON.stringify(people)).digest('base64url')
  return {
    users: new Map(people.map((user) => [user.upn, user])),
    version: version.slice(0, 16),
  }
}

async function answerTo(directory: Directory, request: IncomingMessage): Promise<Answer> {
  const { method = '', url: target = '/' } = request
  const url = new URL(target, 'http://demo.invalid')
  const segment = /^\/users\/([^/]+)\/roles$/.exec(url.pathname)?.[1]
  if (segment !== undefined)
    return method === 'GET'
      ? pageOf(directory, segment, url.searchParams)
      : { status: 405, body: { error: 'only GET is supported' } }
  if (url.pathname !== '/roles') return { status: 404, body: { error: 'no such resource' } }
  if (method !== 'POST') return { status: 405, body: { error: 'only POST is supported' } }
  return batchOf(directory, await usersIn(request))
}

function pageOf({ users, version }: Directory, segment: string, query: URLSearchParams): Answer {
  const page = Number(query.get('page') ?? '1')
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
      version,
      items: roles.slice((page - 1) * PAGE_SIZE, page * PAGE_SIZE).map((role) => ({ role })),
      next: isLast ? null : `/users/${encodeURIComponent(upn)}/roles?page=${page + 1}`,
    },
  }
}

function batchOf({ users, version }: Directory, asked: readonly string[] | undefined): Answer {
  if (!asked || asked.length > BATCH_SIZE)
    return { status: 400, body: { error: `users must list at most ${BATCH_SIZE} names` } }
  const rolesOf = (user: string) => users.get(user)?.sourceRoles
  return {
    status: 200,
    body: {
      version,
      answers: asked.flatMap((user) => {
        const roles = rolesOf(user)
        return roles ? [{ user, roles }] : []
      }),
      unknown: asked.filter((user) => !rolesOf(user)),
    },
  }
}

/** The names in a request for a batch; undefined when it is none, or does not say how long it is. */
async function usersIn(request: IncomingMessage): Promise<readonly string[] | undefined> {
  if (!(Number(request.headers['content-length']) <= MAX_BODY_BYTES)) return undefined
  try {
    const { users } = jsonObject(JSON.parse(await text(request)))
    return Array.isArray(users) && users.every((user) => typeof user === 'string')
      ? users
      : undefined
  } catch {
    return undefined
  }
}
