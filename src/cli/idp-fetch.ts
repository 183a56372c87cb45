import { parseStrictJson } from '../lib/strict-json.ts'
import { EXIT } from './exit-codes.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

/** A document of an IdP as it came, with what its headers say. */
export interface Answered {
  /** Undefined where there is a fault. */
  readonly document: unknown
  /** Why the server would not use it. */
  readonly fault: { readonly what: string; readonly mend: string } | undefined
  /** As the server reads it: seconds, 0 for `no-store`, undefined where nothing is said. */
  readonly maxAgeSeconds: number | undefined
  /** How far ahead of ours its clock is, in milliseconds; undefined without a `Date`. Good to half a second. */
  readonly aheadMilliseconds: number | undefined
  readonly milliseconds: number
}

const PATIENCE_MILLISECONDS = 10_000
const MAX_BODY_BYTES = 512 * 1024
const BOUNDS = { maxDepth: 16, maxMembers: 20_000 }
const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/jwk-set+json'])

/**
 * One GET as the server makes it: no redirect is followed, no encoding asked for.
 * @throws {CommandFailure} exit 6 when nothing answers.
 */
export async function fetchDocument(
  terminal: Pick<Terminal, 'fetch'>,
  url: string,
): Promise<Answered> {
  const begun = performance.now()
  let response: Response
  let body: Buffer | undefined
  try {
    response = await terminal.fetch(url, {
      redirect: 'manual',
      signal: AbortSignal.timeout(PATIENCE_MILLISECONDS),
      headers: {
        accept: 'application/jwk-set+json, application/json',
        'accept-encoding': 'identity',
        'user-agent': 'rolemint',
      },
    })
    body = await readBounded(response)
  } catch (error) {
    throw new CommandFailure(EXIT.unreachable, `no answer from ${url}: ${reasonOf(error)}`)
  }
  const milliseconds = performance.now() - begun
  const { headers } = response
  const sent = Date.parse(headers.get('date') ?? '')
  const read = faultOf(response, body) ?? parse(body)
  return {
    ...read,
    maxAgeSeconds: maxAge(headers.get('cache-control')),
    aheadMilliseconds: Number.isNaN(sent) ? undefined : skewOf(sent, milliseconds),
    milliseconds,
  }
}

/** `Date` is cut to whole seconds: the host's clock stood somewhere within that second, at some time between question and answer. */
function skewOf(sent: number, milliseconds: number): number {
  const now = Date.now()
  if (sent > now) return sent - now
  const late = now - milliseconds - (sent + 1000)
  return late > 0 ? -late : 0
}

type Outcome = Pick<Answered, 'document' | 'fault'>

function fault(what: string, mend: string): Outcome {
  return { document: undefined, fault: { what, mend } }
}

function faultOf(response: Response, body: Buffer | undefined): Outcome | undefined {
  const { status, headers } = response
  if (status >= 300 && status < 400)
    return fault(
      `answered with a redirect (${status})`,
      'name the final address: redirects are never followed, or whoever answers could choose where keys come from',
    )
  if (status !== 200)
    return fault(`answered with status ${status}`, 'check the address, and that it needs no login')
  const encoding = headers.get('content-encoding')
  if (encoding !== null && encoding !== 'identity')
    return fault('answered with an encoded body', 'serve it plain where Accept-Encoding says so')
  const type = headers.get('content-type')?.split(';', 1)[0]?.trim().toLowerCase()
  if (type === undefined || !JSON_TYPES.has(type))
    return fault(
      `answered with the media type ${type ?? '(none)'}`,
      'serve it as application/json; HTML is often the login page of a proxy in between',
    )
  if (body === undefined)
    return fault('answered with a body of more than 512 KiB', 'publish less: 100 keys are plenty')
  return undefined
}

function parse(body: Buffer | undefined): Outcome {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
    return { document: parseStrictJson(text, BOUNDS), fault: undefined }
  } catch (error) {
    const why = error instanceof Error ? error.message : 'unreadable'
    const mend = 'serve one JSON text in UTF-8, no member name twice, without a byte order mark'
    return { document: undefined, fault: { what: `is no acceptable JSON: ${why}`, mend } }
  }
}

/** Undefined when it is too large. */
async function readBounded({ body }: Response): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function maxAge(header: string | null): number | undefined {
  const directives = (header ?? '').toLowerCase().split(',')
  const named = directives.map((directive) => directive.trim())
  if (named.includes('no-store') || named.includes('no-cache')) return 0
  const found = named.find((directive) => /^max-age="?\d{1,10}"?$/.test(directive))
  return found === undefined ? undefined : Number(found.replace(/\D/g, ''))
}

/** Fetch hides why behind "fetch failed". */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  if (!(cause instanceof Error)) return 'unknown reason'
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.message
}
