import { LRUCache } from 'lru-cache'
import type { Dispatcher, Pool } from 'undici'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { type JsonBounds, parseStrictJson } from '../../lib/strict-json.ts'
import type { JsonDocuments } from '../../subject/keys.ts'
import { createEgress, type Egress } from './egress.ts'
import { HttpFailure, retryAfterOf } from './http-failure.ts'

/** Settings of the fetcher. */
export interface HttpJsonDocumentsOptions {
  /** Accept plain `http:` URLs; only the dev profile may. */
  readonly allowHttp: boolean
}

/** What the fetcher takes from outside. */
export interface HttpJsonDocumentsDeps {
  /** Left out: one that calls the public internet, and loopback where plain `http:` is accepted. */
  readonly egress?: Egress
  /** For a `Retry-After` that is a date. */
  readonly clock?: Clock
}

const MAX_BODY_BYTES = 512 * 1024
const BOUNDS: JsonBounds = { maxDepth: 16, maxMembers: 20_000 }
const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/jwk-set+json'])
/** Origins that keep connections; the one used longest ago gives way. */
const MAX_POOLS = 1024
const POOL = { connections: 8, connectMilliseconds: 2000, idleMilliseconds: 5000 }

/**
 * Fetches JSON documents over HTTP: one GET to exactly the URL given, with no credentials, no proxy and no redirect (a redirect
 * would let whoever answers choose where we look next). Anything but a small, plain, well-typed 200 is an error, a {@link HttpFailure}
 * where the host did answer.
 */
export function createHttpJsonDocuments(
  { allowHttp }: HttpJsonDocumentsOptions,
  {
    egress = createEgress({ allow: [], allowLoopback: allowHttp }),
    clock = systemClock,
  }: HttpJsonDocumentsDeps = {},
): JsonDocuments & { close(): Promise<void> } {
  const pools = new LRUCache<string, Pool>({
    max: MAX_POOLS,
    // Calls under way end first; they do by the deadlines of the pool at the latest.
    dispose: (pool, _origin, reason) => void (reason === 'evict' && pool.close()),
  })

  function poolFor(origin: string): Pool {
    const known = pools.get(origin)
    if (known) return known
    const pool = egress.pool(origin, POOL)
    pools.set(origin, pool)
    return pool
  }

  return {
    async fetch(url, signal) {
      const { origin, path } = locate(url, allowHttp)
      const response = await poolFor(origin).request({
        path,
        method: 'GET',
        signal,
        headers: {
          accept: 'application/jwk-set+json, application/json',
          // A compressed body could grow a thousandfold on our side (corpus row 31).
          'accept-encoding': 'identity',
          'user-agent': 'rolemint',
        },
      })
      const fault = faultOf(response)
      if (fault !== undefined) {
        discard(response.body)
        const retryAfterMilliseconds = retryAfterOf(response.headers, clock.now())
        throw new HttpFailure(fault, { status: response.statusCode, retryAfterMilliseconds })
      }
      return {
        document: parse(await readBody(response.body)),
        maxAgeSeconds: maxAge(response.headers['cache-control']),
      }
    },
    // Not close(), which would wait for bodies that a slow host is still sending.
    async close() {
      const open = [...pools.values()]
      pools.clear()
      await Promise.all(open.map((pool) => pool.destroy()))
    },
  }
}

function locate(url: string, allowHttp: boolean): { origin: string; path: string } {
  if (!URL.canParse(url)) throw new Error('not a URL')
  const { protocol, username, password, origin, pathname, search } = new URL(url)
  if (protocol !== 'https:' && !(allowHttp && protocol === 'http:'))
    throw new Error('not an https URL')
  if (username !== '' || password !== '') throw new Error('a URL with credentials')
  return { origin, path: pathname + search }
}

function faultOf({ statusCode, headers }: Dispatcher.ResponseData): string | undefined {
  if (statusCode !== 200) return `answered with status ${statusCode}`
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') return 'answered with an encoded body'
  const type = headers['content-type']
  const essence = typeof type === 'string' ? type.split(';', 1)[0]?.trim().toLowerCase() : undefined
  if (essence === undefined || !JSON_TYPES.has(essence))
    return 'answered with a media type that is not JSON'
  return undefined
}

function parse(bytes: Buffer): unknown {
  try {
    // Fatal, and keeping a byte order mark, which is then no JSON.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    return parseStrictJson(text, BOUNDS)
  } catch (cause) {
    throw new HttpFailure('answered with a body that is no JSON in UTF-8', { cause })
  }
}

/** Ends a body nobody will read, and its connection with it. Destroying reports an error on the stream: that is what was asked for. */
function discard(body: Dispatcher.ResponseData['body']): void {
  body.on('error', () => {})
  body.destroy()
}

async function readBody(body: Dispatcher.ResponseData['body']): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('a body that is no bytes')
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new HttpFailure('answered with a body of more than 512 KiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

/** `max-age` in seconds (RFC 9111 §5.2.2.1); 0 where the answer may not be reused at all; undefined where it says nothing. */
function maxAge(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined
  const directives = (Array.isArray(header) ? header.join() : header)
    .toLowerCase()
    .split(',')
    .map((directive) => directive.trim())
  if (directives.includes('no-store') || directives.includes('no-cache')) return 0
  for (const directive of directives) {
    const match = /^max-age="?([0-9]{1,10})"?$/.exec(directive)
    if (match) return Number(match[1])
  }
  return undefined
}
