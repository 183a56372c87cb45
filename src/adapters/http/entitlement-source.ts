import { errors, Pool } from 'undici'
import type { Source } from '../../entitlement/options.ts'
import {
  type EntitlementSource,
  type SourceAnswer,
  SourceFailure,
} from '../../entitlement/source.ts'
import {
  type AnswerPath,
  collectStrings,
  compilePathToOne,
  compilePathToRoles,
  optionalAt,
  ShapeError,
} from './answer-path.ts'
import { AddressError, addressFor, follow, originOf } from './source-address.ts'

/** Longest page read. 100 000 roles of ten characters fit. */
const MAX_PAGE_BYTES = 1024 * 1024
/** Connections to one origin; more requests than that wait for one, under their own deadline. */
const MAX_CONNECTIONS = 64

const JSON_MEDIA_TYPE = /^application\/(?:[\w.!#$&^-]+\+)?json[ \t]*(?:;|$)/i

/** An {@link EntitlementSource} over HTTP, with connections of its own. */
export interface HttpEntitlementSource extends EntitlementSource {
  /** Ends every connection; calls under way fail. */
  close(): Promise<void>
}

/** What is worked out once for each configured source. */
interface Compiled {
  readonly origin: string
  readonly pool: Pool
  readonly roles: AnswerPath
  readonly next: readonly string[] | undefined
  readonly echo: readonly string[] | undefined
}

/**
 * Reads roles page by page from HTTP APIs.
 *
 * Trusts nothing about an answer but what the configuration says it is. No redirect is followed and no link leaves the
 * configured origin, so the credential goes nowhere else and a source cannot make us call inside our network.
 */
export function createHttpEntitlementSource(): HttpEntitlementSource {
  const pools = new Map<string, Pool>()
  const compiled = new WeakMap<Source, Compiled>()

  function poolFor(origin: string, connectMilliseconds: number): Pool {
    const key = `${connectMilliseconds} ${origin}`
    let pool = pools.get(key)
    if (!pool) {
      pool = new Pool(origin, {
        connections: MAX_CONNECTIONS,
        connect: { timeout: connectMilliseconds },
        // One request at a time on a connection: behind a slow answer another user's would wait.
        pipelining: 1,
        allowH2: false,
      })
      pools.set(key, pool)
    }
    return pool
  }

  function compile(source: Source): Compiled {
    let known = compiled.get(source)
    if (!known) {
      const origin = originOf(source.url)
      known = {
        origin,
        pool: poolFor(origin, source.connectMilliseconds),
        roles: compilePathToRoles(source.rolesPath),
        next: source.nextPagePath === undefined ? undefined : compilePathToOne(source.nextPagePath),
        echo: source.echoPath === undefined ? undefined : compilePathToOne(source.echoPath),
      }
      compiled.set(source, known)
    }
    return known
  }

  return {
    async rolesOf(source, user, maxRoles, signal) {
      try {
        return await readAllPages(source, compile(source), user, maxRoles, signal)
      } catch (error) {
        throw asFailure(source, error, signal)
      }
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()))
    },
  }
}

async function readAllPages(
  source: Source,
  { origin, pool, roles: rolesPath, next, echo }: Compiled,
  user: string,
  maxRoles: number,
  signal: AbortSignal,
): Promise<SourceAnswer> {
  const roles: string[] = []
  const visited = new Set<string>()
  let address = addressFor(source.url, user)
  for (let page = 1; page <= source.maxPages; page += 1) {
    // Would go on for ever if the pages also changed, and with the same pages it is no list.
    if (visited.has(address.href)) throw new ShapeError('the pages lead back to one already read')
    visited.add(address.href)

    const answer = await readPage(source, pool, address, page, signal)
    if (answer === undefined) return { known: false }
    if (echo !== undefined && optionalAt(answer, echo) !== user)
      throw new ShapeError('the answer is not about the user asked for')
    collectStrings(answer, rolesPath, roles, maxRoles)

    const link = next === undefined ? undefined : optionalAt(answer, next)
    if (link === undefined || link === '') return { known: true, roles }
    if (typeof link !== 'string') throw new ShapeError('the next page is not a text')
    address = follow(link, address, origin)
  }
  throw new ShapeError(`more than ${source.maxPages} pages`)
}

/** The parsed page, or undefined when the source says that it does not know the user. */
async function readPage(
  source: Source,
  pool: Pool,
  address: URL,
  page: number,
  signal: AbortSignal,
): Promise<unknown> {
  const { statusCode, headers, body } = await pool.request({
    method: 'GET',
    path: address.pathname + address.search,
    headers: {
      accept: 'application/json',
      // What comes is parsed as it is: a small compressed body could unpack to any size.
      'accept-encoding': 'identity',
      ...(source.auth && { [source.auth.header]: source.auth.value.reveal() }),
    },
    signal,
  })
  // What goes wrong is seen by the read below. A body that is given up unread still emits its error, and without a
  // listener that would end the process.
  body.on('error', () => undefined)
  try {
    // Only the first page can say so: a user who was there a moment ago is a list that broke off.
    const unknownUser = statusCode === 404 && page === 1
    if (statusCode !== 200 && !unknownUser)
      throw new SourceFailure(source.name, 'status', `page ${page}: status ${statusCode}`)
    if (unknownUser) {
      await readBody(body)
      return undefined
    }
    const mediaType = headers['content-type']
    if (typeof mediaType !== 'string' || !JSON_MEDIA_TYPE.test(mediaType))
      throw new ShapeError('the media type is not JSON')
    if ((headers['content-encoding'] ?? 'identity') !== 'identity')
      throw new ShapeError('the body is compressed')
    return parseJson(await readBody(body))
  } finally {
    // Frees the connection on every way out; after a body read to its end this does nothing.
    body.destroy()
  }
}

async function readBody(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > MAX_PAGE_BYTES) throw new ShapeError(`a page of more than ${MAX_PAGE_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

function parseJson(bytes: Buffer): unknown {
  try {
    // Fatal: a replacement character in a role name would make it another role.
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    // The parser's own message quotes the body, which holds personal data.
    throw new ShapeError('the body is not JSON in UTF-8')
  }
}

function asFailure(source: Source, error: unknown, signal: AbortSignal): unknown {
  if (error instanceof SourceFailure) return error
  if (signal.aborted)
    return new SourceFailure(source.name, 'timeout', 'no complete answer in time', error)
  if (error instanceof ShapeError || error instanceof AddressError)
    return new SourceFailure(source.name, 'contract', error.message)
  if (error instanceof errors.ConnectTimeoutError)
    return new SourceFailure(source.name, 'unreachable', 'no connection in time', error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code'
  return new SourceFailure(source.name, 'unreachable', `no usable connection (${code})`, error)
}
