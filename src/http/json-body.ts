import { isUtf8 } from 'node:buffer'
import { Refusal } from '../lib/refusal.ts'
import { isJsonObject, parseStrictJson, StrictJsonError } from '../lib/strict-json.ts'
import { type BodyHeaders, isMediaType } from './form.ts'

/** The one media type of our JSON APIs. */
export const JSON_TYPE = 'application/json'

const BOUNDS = { maxDepth: 8, maxMembers: 200 }

/**
 * The members of a JSON body; an object, in UTF-8, without duplicate names.
 *
 * @throws {Refusal} `unsupported_media_type`, `malformed_request`; nothing of the body is quoted.
 */
export function parseJsonBody(
  headers: BodyHeaders,
  body: Buffer | undefined,
): Readonly<Record<string, unknown>> {
  if (!isMediaType(headers['content-type'], JSON_TYPE))
    throw new Refusal('unsupported_media_type', 'The body was not declared as application/json.')
  if (headers['content-encoding'] !== undefined)
    throw new Refusal('unsupported_media_type', 'The body was compressed; send it as it is.')
  if (!body || !isUtf8(body)) throw malformed('not UTF-8')
  let value: unknown
  try {
    value = parseStrictJson(body.toString('utf8'), BOUNDS)
  } catch (error) {
    if (error instanceof StrictJsonError) throw malformed(error.message)
    throw error
  }
  if (!isJsonObject(value)) throw malformed('no object')
  return value
}

function malformed(what: string): Refusal {
  return new Refusal('malformed_request', `The body was not a strict JSON object: ${what}.`)
}
