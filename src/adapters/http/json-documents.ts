import { Agent, type Dispatcher } from 'undici'
import { type JsonBounds, parseStrictJson } from '../../lib/strict-json.ts'
import type { JsonDocuments } from '../../subject/keys.ts'

/** Settings of the fetcher. */
export interface HttpJsonDocumentsOptions {
  /** Accept plain `http:` URLs; only the dev profile may. */
  readonly allowHttp: boolean
}

const MAX_BODY_BYTES = 512 * 1024
const BOUNDS: JsonBounds = { maxDepth: 16, maxMembers: 20_000 }
const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/jwk-set+json'])

/**
 * Fetches JSON documents over HTTP: one GET to exactly the URL given, with no credentials, no proxy and no redirect (a redirect
 * would let whoever answers choose where we look next). Anything but a small, plain, well-typed 200 is an error.
 */
export function createHttpJsonDocuments(
  options: HttpJsonDocumentsOptions,
): JsonDocuments & { close(): Promise<void> } {
  const agent = new Agent({
    connections: 8,
    // A busy or dead host must not hold a socket for longer than its callers wait: the real deadline is their signal.
    connectTimeout: 2000,
    headersTimeout: 5000,
    bodyTimeout: 5000,
    maxHeaderSize: 16 * 1024,
  })
  return {
    async fetch(url, signal) {
      const { origin, path } = locate(url, options)
      const response = await agent.request({
        origin,
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
        throw new Error(fault)
      }
      return {
        document: parseStrictJson(await readText(response.body), BOUNDS),
        maxAgeSeconds: maxAge(response.headers['cache-control']),
      }
    },
    // Not close(), which would wait for bodies that a slow host is still sending.
    close: () => agent.destroy(),
  }
}

function locate(
  url: string,
  { allowHttp }: HttpJsonDocumentsOptions,
): { origin: string; path: string } {
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

/** Ends a body nobody will read, and its connection with it. Destroying reports an error on the stream: that is what was asked for. */
function discard(body: Dispatcher.ResponseData['body']): void {
  body.on('error', () => {})
  body.destroy()
}

async function readText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('a body that is no bytes')
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Error('answered with a body of more than 512 KiB')
    chunks.push(chunk)
  }
  // Fatal, and keeping a byte order mark, which is then no JSON.
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks))
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
