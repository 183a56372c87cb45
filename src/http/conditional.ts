import { createHash } from 'node:crypto'
import type { Answer } from './route.ts'

/** A document that may be kept and asked for again by its entity tag. */
export interface TaggedDocument {
  readonly body: string
  /** Strong entity tag, quotes included (RFC 9110 §8.8.3). */
  readonly etag: string
}

/** Gives a document the tag of its content. */
export function tagged(body: string): TaggedDocument {
  return { body, etag: `"${createHash('sha256').update(body).digest('base64url')}"` }
}

/**
 * The document, or 304 without a body when the caller has it already.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-13.1.2 RFC 9110 §13.1.2}
 */
export function conditional(
  document: TaggedDocument,
  ifNoneMatch: string | undefined,
  headers: Readonly<Record<string, string>>,
): Answer {
  const all = { ...headers, etag: document.etag }
  if (ifNoneMatch !== undefined && hasTag(ifNoneMatch, document.etag)) {
    // RFC 9110 §15.4.5: of the representation's own headers only those that guide caches.
    const { 'content-type': _, ...kept } = all as Record<string, string>
    return { status: 304, headers: kept, body: undefined }
  }
  return { status: 200, headers: all, body: document.body }
}

/** Weak comparison (RFC 9110 §8.8.3.2): a proxy that compressed the answer has made the tag weak. */
function hasTag(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch.trim() === '*') return true
  const tags = ifNoneMatch.match(/(?:W\/)?"[^"]*"/g) ?? []
  return tags.some((tag) => tag.replace(/^W\//, '') === etag)
}
