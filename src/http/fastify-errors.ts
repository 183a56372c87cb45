import { isRefusal, Refusal } from '../lib/refusal.ts'
import { EdgeError } from './edge-error.ts'
import { internal } from './render-refusal.ts'

/** Fastify's own errors that the caller brought about, in our words; its messages quote the request, so they stay inside. */
const TRANSLATED: Readonly<Record<string, () => Refusal>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () =>
    new Refusal('body_too_large', 'The body was longer than 64 KiB.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () =>
    new Refusal('unsupported_media_type', 'The Content-Type was not a media type.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () =>
    new Refusal('malformed_request', 'The body was not as long as Content-Length said.'),
  FST_ERR_BAD_URL: () =>
    new Refusal('malformed_request', 'The path had a malformed percent escape.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new Refusal('malformed_request', 'The path was too long.'),
}

/** What was thrown, as an error that can be rendered; whatever nobody expected is `internal` with the original as its cause. */
export function knownError(error: unknown): Refusal | EdgeError {
  if (isRefusal(error) || error instanceof EdgeError) return error
  const code = codeOf(error)
  const translate =
    code !== undefined && Object.hasOwn(TRANSLATED, code) ? TRANSLATED[code] : undefined
  if (translate) return translate()
  // The body stopped before its end: the caller is gone, and nobody will read the answer.
  if (code === 'ECONNRESET') return new Refusal('malformed_request', 'The body was cut off.')
  return internal(error)
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}
