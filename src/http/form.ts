import { isAscii, isUtf8 } from 'node:buffer'
import type { PresentedCredentials } from '../client/credentials.ts'
import type { ExchangeParameters } from '../exchange/request.ts'
import { Refusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'

/** The one media type of token and introspection requests (RFC 8693 §2.1, RFC 7662 §2.1). */
export const FORM_TYPE = 'application/x-www-form-urlencoded'

const MOST_PARAMETERS = 100

/** Headers that say how to read a body. */
export interface BodyHeaders {
  readonly 'content-type'?: string | undefined
  readonly 'content-encoding'?: string | undefined
}

/**
 * Reads the form of a POST to an OAuth endpoint, strictly: what two parsers could read differently is refused.
 *
 * Empty values are omitted parameters, and a repeated one is an error (RFC 6749 §3.2), except `audience` and `resource`
 * (RFC 8693 §2.1). Written by hand because it is on the path of every request: `URLSearchParams` costs several times as
 * much, replaces bytes that are no UTF-8 and keeps `%` that begin no escape.
 *
 * @throws {Refusal} `malformed_request`, `unsupported_media_type`; nothing of the body is quoted.
 */
export function parseForm(
  headers: BodyHeaders,
  query: string,
  body: Buffer | undefined,
): ExchangeParameters {
  // Whatever stands in a URL ends up in access logs and browser histories (RFC 6750 §2.3, §5.3), so nothing is read from there.
  if (query !== '') throw malformed('The URL had a query string; send every parameter in the body.')
  if (!isMediaType(headers['content-type'], FORM_TYPE))
    throw new Refusal(
      'unsupported_media_type',
      `The body was not declared as ${FORM_TYPE} in UTF-8.`,
    )
  if (headers['content-encoding'] !== undefined)
    throw new Refusal('unsupported_media_type', 'The body was compressed; send it as it is.')
  return parsePairs(textOf(body))
}

function textOf(body: Buffer | undefined): string {
  if (!body) return ''
  if (isAscii(body)) return body.toString('latin1')
  if (!isUtf8(body)) throw malformed('The body was not UTF-8.')
  return body.toString('utf8')
}

function parsePairs(text: string): ExchangeParameters {
  const single = new Map<string, string>()
  const audience: string[] = []
  const resource: string[] = []
  let count = 0
  for (let start = 0; start < text.length; ) {
    const ampersand = text.indexOf('&', start)
    const end = ampersand === -1 ? text.length : ampersand
    if (++count > MOST_PARAMETERS)
      throw malformed(`The body had more than ${MOST_PARAMETERS} parameters.`)
    const equals = text.indexOf('=', start)
    if (equals !== -1 && equals < end - 1) {
      const name = decode(text.slice(start, equals))
      const value = decode(text.slice(equals + 1, end))
      if (name === 'audience') audience.push(value)
      else if (name === 'resource') resource.push(value)
      else if (single.has(name)) throw repeated(name)
      else single.set(name, value)
    }
    start = end + 1
  }
  return { single, audience, resource }
}

/** Undoes form encoding, which a token, a URN and most names do not need. */
function decode(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text
  if (!spaced.includes('%')) return spaced
  try {
    // decodeURIComponent refuses stray percent signs and escapes that are no UTF-8.
    return decodeURIComponent(spaced)
  } catch {
    throw malformed('The body had a malformed percent escape.')
  }
}

/** Names come from the caller: only one that we know, or that looks like one, is said back. */
function repeated(name: string): Refusal {
  if (!/^[a-z_]{1,40}$/.test(name)) return malformed('A parameter was repeated.')
  return new Refusal('malformed_request', `The parameter ${name} was repeated.`, { param: name })
}

function malformed(message: string): Refusal {
  return new Refusal('malformed_request', message)
}

const PARAMETER = /;[ \t]*([^=;\s]+)=("[^"]*"|[^;\s"]*)[ \t]*/y

/**
 * True when a `Content-Type` names this media type, in UTF-8 or without saying so.
 *
 * Another charset is refused rather than converted: two parsers that read the same bytes differently are how a request
 * is smuggled past a filter.
 */
export function isMediaType(contentType: string | undefined, wanted: string): boolean {
  if (contentType === undefined) return false
  if (contentType === wanted) return true
  const semicolon = contentType.indexOf(';')
  const type = semicolon === -1 ? contentType : contentType.slice(0, semicolon)
  if (type.trim().toLowerCase() !== wanted) return false
  return semicolon === -1 || hasOnlyUtf8(contentType.slice(semicolon))
}

function hasOnlyUtf8(parameters: string): boolean {
  const rest = new RegExp(PARAMETER)
  while (rest.lastIndex < parameters.length) {
    const [, name = '', value = ''] = rest.exec(parameters) ?? []
    if (name === '') return false
    if (name.toLowerCase() !== 'charset') continue
    if (value.replaceAll('"', '').toLowerCase() !== 'utf-8') return false
  }
  return true
}

const BASIC = /^basic /i
const BEARER = /^bearer +/i
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const TOKEN68 = /^[A-Za-z0-9._~+/-]+=*$/

/** The parameters that carry a credential, wherever they were read from. */
type Parameters = ReadonlyMap<string, string>

/**
 * Everything a request says about who asks, exactly as it came; judging it is the client room's work.
 *
 * @throws {Refusal} `client_auth_failed` for an `Authorization` header that holds no well-formed Basic credential.
 */
export function presentedCredentials(
  authorization: string | undefined,
  single: Parameters,
  from?: string,
): PresentedCredentials {
  const clientId = single.get('client_id')
  const clientSecret = single.get('client_secret')
  const assertion = single.get('client_assertion')
  const assertionType = single.get('client_assertion_type')
  return {
    ...(authorization === undefined ? {} : { basic: parseBasic(authorization) }),
    ...(clientId === undefined ? {} : { clientId }),
    ...(clientSecret === undefined ? {} : { clientSecret: new Secret(clientSecret) }),
    ...(assertion === undefined ? {} : { assertion: new Secret(assertion) }),
    ...(assertionType === undefined ? {} : { assertionType }),
    ...(from === undefined ? {} : { from }),
  }
}

/** True when the parameters name a client or prove one, so that HTTP authentication was not what the caller meant. */
export function carriesCredential(single: Parameters): boolean {
  return single.has('client_secret') || single.has('client_assertion')
}

/** The token of `Authorization: Bearer`, or undefined when the header is absent or of another scheme. @throws {Refusal} `malformed_request`. */
export function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || !BEARER.test(authorization)) return undefined
  const token = authorization.replace(BEARER, '')
  if (!TOKEN68.test(token))
    throw new Refusal('malformed_request', 'The Authorization header held no bearer token.', {
      param: 'authorization',
    })
  return token
}

/** RFC 7617 §2 and RFC 6749 §2.3.1: both halves are form-encoded before base64. */
function parseBasic(authorization: string): { id: string; secret: Secret } {
  const encoded = BASIC.test(authorization) ? authorization.slice('basic '.length) : ''
  if (!BASE64.test(encoded)) throw badBasic()
  const bytes = Buffer.from(encoded, 'base64')
  // Lenient decoders skip what they do not like; one credential has one spelling here.
  if (bytes.toString('base64') !== encoded || !isUtf8(bytes)) throw badBasic()
  const text = bytes.toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 1) throw badBasic()
  return {
    id: decodeHalf(text.slice(0, colon)),
    secret: new Secret(decodeHalf(text.slice(colon + 1))),
  }
}

function decodeHalf(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    throw badBasic()
  }
}

function badBasic(): Refusal {
  return new Refusal(
    'client_auth_failed',
    'The Authorization header held no well-formed Basic credential.',
  )
}
