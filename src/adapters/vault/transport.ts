import { Agent, type Dispatcher } from 'undici'
import type { Secret } from '../../lib/secret.ts'
import { isJsonObject, type JsonBounds, parseStrictJson } from '../../lib/strict-json.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'

/** One request to Vault's API. */
export interface VaultRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Below `/v1/`: a mount and what is in it, with no slash at the front. */
  readonly path: string
  readonly query?: string
  readonly body?: object
  readonly token?: Secret
  /** False for the few calls that exist outside of namespaces only. */
  readonly inNamespace?: boolean
}

/** What came back. */
export interface VaultAnswer {
  readonly status: number
  /** The JSON object of the body; undefined when the body was empty or was none. */
  readonly body: Record<string, unknown> | undefined
  /** From `Retry-After`, where it counts seconds (RFC 9110 §10.2.3). */
  readonly retryAfterSeconds: number | undefined
}

/** Carries single requests to one Vault. */
export interface VaultTransport {
  /**
   * Sends once and never again; follows no redirect: the token would go wherever the answer points.
   * @throws {DependencyUnavailable} when no complete answer came before `signal` fired.
   */
  send(request: VaultRequest, signal: AbortSignal): Promise<VaultAnswer>
  close(): Promise<void>
}

/** Where Vault is. */
export interface VaultAddress {
  /** Scheme, host, port, and a path where a proxy wants one; no slash at the end. */
  readonly addr: string
  readonly namespace?: string | undefined
  /** CA certificates (PEM) that vouch for it instead of the usual ones. */
  readonly ca?: string | undefined
}

/** A batch of 64 signatures takes 40 KiB at most; a key in KV 6 KiB. */
const MAX_BODY_BYTES = 256 * 1024
const BOUNDS: JsonBounds = { maxDepth: 16, maxMembers: 10_000 }
/** More calls than that wait for a connection, under their own deadline. */
const MAX_CONNECTIONS = 16
/**
 * Steps of a path. Vault decodes `%2F` before it looks at rights, and a proxy may fold `..`: a name with either would reach
 * another path than the one it was written for.
 */
const PATH = /^(?!.*(?:^|\/)\.{1,2}(?:\/|$))[A-Za-z0-9._~-]+(?:\/[A-Za-z0-9._~-]+)*$/

/** Connects to Vault when the first request is sent. */
export function createVaultTransport({ addr, namespace, ca }: VaultAddress): VaultTransport {
  const { origin, pathname } = new URL(addr)
  const prefix = `${pathname.replace(/\/+$/, '')}/v1/`
  const agent = new Agent({
    connections: MAX_CONNECTIONS,
    // One at a time on a connection: behind a slow answer every other call would wait.
    pipelining: 1,
    maxHeaderSize: 16 * 1024,
    connect: { ...(ca !== undefined && { ca }), timeout: 5000 },
  })

  return {
    async send(request, signal) {
      const { method, path, query, body, token, inNamespace = true } = request
      if (!PATH.test(path)) throw new Error('A path of Vault has a step that is not allowed there.')
      // A Buffer and not a string, so that a private key in it can be overwritten.
      const sent = body === undefined ? null : Buffer.from(JSON.stringify(body))
      try {
        const answer = await agent.request({
          origin,
          path: `${prefix}${path}${query === undefined ? '' : `?${query}`}`,
          method,
          headers: {
            accept: 'application/json',
            // What comes is parsed as it is: a small compressed body could unpack to any size.
            'accept-encoding': 'identity',
            // Vault's agents and proxies take it as proof that no browser was tricked into the request.
            'x-vault-request': 'true',
            ...(inNamespace && namespace !== undefined && { 'x-vault-namespace': namespace }),
            ...(token && { 'x-vault-token': token.reveal() }),
            ...(sent && { 'content-type': 'application/json' }),
          },
          body: sent,
          signal,
        })
        return await readAnswer(answer)
      } catch (error) {
        throw asUnavailable(error, signal)
      } finally {
        sent?.fill(0)
      }
    },
    // Not close(), which would wait for answers that a stopped server never sends.
    close: () => agent.destroy(),
  }
}

async function readAnswer({
  statusCode,
  headers,
  body,
}: Dispatcher.ResponseData): Promise<VaultAnswer> {
  // Destroying a body reports an error on it; without a listener that would end the process.
  body.on('error', () => {})
  try {
    const text = await readText(body)
    const parsed = text === '' ? undefined : parseObject(text)
    const ok = statusCode >= 200 && statusCode < 300
    if (ok && statusCode !== 204 && parsed === undefined)
      throw new DependencyUnavailable('Vault gave an answer that is no JSON object.')
    return {
      status: statusCode,
      body: parsed,
      retryAfterSeconds: secondsOf(headers['retry-after']),
    }
  } finally {
    // Frees the connection on every way out; after a body read to its end this does nothing.
    body.destroy()
  }
}

/**
 * The bytes are overwritten as soon as they are text. The text, and what `JSON.parse` cuts from it, cannot be: a key or a token
 * that came in an answer stays in the heap until the collector has reused its place.
 */
async function readText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of body) {
      if (!Buffer.isBuffer(chunk)) throw new TypeError('a body that is no bytes')
      chunks.push(chunk)
      size += chunk.length
      if (size > MAX_BODY_BYTES)
        throw new DependencyUnavailable('Vault gave an answer of more than 256 KiB.')
    }
    const whole = Buffer.concat(chunks, size)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(whole)
    } catch {
      throw new DependencyUnavailable('Vault gave an answer that is not in UTF-8.')
    } finally {
      whole.fill(0)
    }
  } finally {
    for (const chunk of chunks) chunk.fill(0)
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value = parseStrictJson(text, BOUNDS)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined // "no JSON" is all that the caller needs to know
  }
}

function secondsOf(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^[0-9]{1,6}$/.test(header) ? Number(header) : undefined
}

function asUnavailable(error: unknown, signal: AbortSignal): DependencyUnavailable {
  if (error instanceof DependencyUnavailable) return error
  if (signal.aborted)
    return new DependencyUnavailable('Vault gave no answer in time.', { cause: signal.reason })
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'no code'
  // Not the error itself as the cause: what undici says about a connection names the address.
  return new DependencyUnavailable(`Vault could not be reached (${code}).`)
}
