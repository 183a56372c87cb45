import { isAscii, isUtf8 } from 'node:buffer'
import { Refusal } from '../lib/refusal.ts'
import {
  isJsonObject,
  type JsonBounds,
  parseStrictJson,
  StrictJsonError,
} from '../lib/strict-json.ts'
import { ALGORITHM_NAMES, type AlgorithmName } from './options.ts'

/** Bounds on a compact JWS. */
export interface JwsLimits {
  /** Longest token, in bytes of its compact form. */
  readonly tokenBytes: number
}

/** The claims of a token: an object without prototype, to be read and never merged into another. */
export type Claims = Readonly<Record<string, unknown>>

/** The header of a JWS, checked; nothing else in a header has a meaning here. */
export interface JwsHeader {
  readonly alg: AlgorithmName
  readonly kid: string | undefined
  /** As it came; compare it with {@link foldMediaType}. */
  readonly typ: string | undefined
}

/** A JWS whose form is right. Nothing in it is true until the signature was checked. */
export interface JwsEnvelope extends JwsHeader {
  readonly payloadBytes: Buffer
  /** Exactly what was signed: the token's text up to its last dot (RFC 7515 §5.2, step 8). */
  readonly signingInput: string
  readonly signature: Buffer
}

/** A JWT whose form is right. Nothing in it is true until the signature was checked. */
export interface ParsedJws extends JwsEnvelope {
  readonly payload: Claims
}

/**
 * Headers read before, by their part of the token exactly as it came. What a header says follows from its text alone, and the
 * tokens of one key have the same, so it need not be read again.
 */
export interface KnownHeaders {
  get(segment: string): JwsHeader | undefined
}

const MAX_HEADER_BYTES = 2048
const HEADER_BOUNDS: JsonBounds = { maxDepth: 16, maxMembers: 64 }
const PAYLOAD_BOUNDS: JsonBounds = { maxDepth: 16, maxMembers: 4096 }

/**
 * Header members that change how a token is to be read, or that bring their own key. A verifier may ignore some of them;
 * refusing is safer than ignoring, since no honest issuer of ours needs them (RFC 8725 §3.10; `crit` and `b64`: RFC 7797).
 */
const FORBIDDEN_MEMBERS = ['crit', 'b64', 'zip', 'enc', 'jku', 'jwk', 'x5u', 'x5c', 'p2c'] as const

const PRINTABLE_KID = /^[\x20-\x7e]{1,256}$/
const KNOWN_ALGORITHMS: ReadonlySet<string> = new Set(ALGORITHM_NAMES)

/**
 * Reads a JWT in compact form, strictly: one spelling per token, so that nothing is signed one way and read another.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc7515.html#section-5.2 RFC 7515 §5.2}, RFC 7519 §7.2
 * @throws {Refusal} `token_too_large`; `algorithm_not_allowed` for an algorithm that is never accepted; else `malformed_token`.
 */
export function parseCompactJws(
  token: string,
  limits: JwsLimits,
  headers?: KnownHeaders,
): ParsedJws {
  const { alg, kid, typ, payloadBytes, signingInput, signature } = parseJwsEnvelope(
    token,
    limits,
    headers,
  )
  const payload = parseObject(payloadBytes, PAYLOAD_BOUNDS, 'payload')
  return { alg, kid, typ, payloadBytes, signingInput, signature, payload }
}

/** The part of {@link parseCompactJws} that holds for any JWS, whatever its payload is. */
export function parseJwsEnvelope(
  token: string,
  limits: JwsLimits,
  headers?: KnownHeaders,
): JwsEnvelope {
  checkTokenSize(token, limits)
  // By position, not by split(): a megabyte of dots must not become a million strings (CVE-2025-27144).
  const first = token.indexOf('.')
  const second = first === -1 ? -1 : token.indexOf('.', first + 1)
  if (second === -1)
    throw malformed('The token was not a JWS in compact form: it had too few parts.')
  // Four more dots would be a JWE; we never decrypt, so it is not even looked at (RFC 8725 §3.3).
  if (token.indexOf('.', second + 1) !== -1)
    throw malformed('The token was not a signed JWS in compact form: it had too many parts.')

  const segment = token.slice(0, first)
  const header = headers?.get(segment) ?? decodeSegment(segment)
  const payloadBytes = decodeSegment(token.slice(first + 1, second))
  const signature = decodeSegment(token.slice(second + 1))
  const { alg, kid, typ } = Buffer.isBuffer(header) ? readHeader(header) : header
  return { alg, kid, typ, payloadBytes, signingInput: token.slice(0, second), signature }
}

function readHeader(bytes: Buffer): JwsHeader {
  if (bytes.length > MAX_HEADER_BYTES) throw malformed('The header of the token was too long.')
  return checkHeader(parseObject(bytes, HEADER_BOUNDS, 'header'))
}

/** @throws {Refusal} `token_too_large` */
export function checkTokenSize(token: string, { tokenBytes }: JwsLimits): void {
  // UTF-16 units, not bytes: they differ only for tokens with characters that the parser refuses.
  if (token.length > tokenBytes)
    throw new Refusal('token_too_large', 'The token was longer than this server accepts.')
}

/** `typ` and `cty` as they are compared: lower case, without `application/` (RFC 7515 §4.1.9, RFC 8725 §3.11). */
export function foldMediaType(type: string): string {
  const lower = type.toLowerCase()
  return lower.startsWith('application/') ? lower.slice('application/'.length) : lower
}

function malformed(message: string, cause?: unknown): Refusal {
  return new Refusal('malformed_token', message, { cause })
}

/**
 * Decodes base64url and insists that encoding it again gives the same text. That one comparison refuses padding,
 * whitespace, the `+/` alphabet, any other character, and trailing bits that are not zero (RFC 4648 §3.5), all of which
 * Node's decoder ignores: each would be a second spelling of the same token.
 */
function decodeSegment(segment: string): Buffer {
  const bytes = Buffer.from(segment, 'base64url')
  if (bytes.toString('base64url') !== segment)
    throw malformed('A part of the token was not canonical base64url.')
  return bytes
}

function parseObject(bytes: Buffer, bounds: JsonBounds, part: string): Record<string, unknown> {
  // A byte order mark survives toString() and is then no JSON; UTF-16 has zero bytes, which are no JSON either.
  const isPlain = isAscii(bytes)
  if (!isPlain && !isUtf8(bytes)) throw malformed(`The ${part} of the token was not UTF-8.`)
  let value: unknown
  try {
    value = parseStrictJson(bytes.toString(isPlain ? 'latin1' : 'utf8'), bounds)
  } catch (error) {
    if (!(error instanceof StrictJsonError)) throw error
    throw malformed(`The ${part} of the token was not acceptable JSON: ${error.message}.`, error)
  }
  if (!isJsonObject(value)) throw malformed(`The ${part} of the token was not a JSON object.`)
  return value
}

function checkHeader(header: Record<string, unknown>): JwsHeader {
  for (const member of FORBIDDEN_MEMBERS) {
    if (member in header)
      throw malformed(`The header of the token had the member ${member}, which is never accepted.`)
  }
  const { alg, kid, typ, cty } = header
  if (kid !== undefined && (typeof kid !== 'string' || !PRINTABLE_KID.test(kid)))
    throw malformed('The header of the token had a kid that is no short printable text.')
  if (typ !== undefined && typeof typ !== 'string')
    throw malformed('The header of the token had a typ that is no text.')
  // A JWT inside a JWT (RFC 7519 §5.2): what is inside would escape every check made on the outside.
  if (cty !== undefined && (typeof cty !== 'string' || foldMediaType(cty) === 'jwt'))
    throw malformed('The token was nested in another one, which is never accepted.')
  if (typeof alg !== 'string') throw malformed('The header of the token named no algorithm.')
  if (!isKnownAlgorithm(alg))
    throw new Refusal(
      'algorithm_not_allowed',
      'The token was signed by an algorithm that is never accepted.',
    )
  return { alg, kid, typ }
}

function isKnownAlgorithm(alg: string): alg is AlgorithmName {
  return KNOWN_ALGORITHMS.has(alg)
}
