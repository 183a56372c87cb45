import { createHash } from 'node:crypto'

/** Starts a text that could not be stored as it is. */
const ESCAPE = '\u0001'

/** Longest claim key stored as it is: PostgreSQL refuses index rows of more than about 2700 bytes. */
const LONGEST_KEY = 512

/**
 * A text as a column can hold it, one stored text for each text.
 *
 * A `sub` or `jti` may carry U+0000, which PostgreSQL refuses and with it every other entry of the same commit, or a lone
 * surrogate, which UTF-8 turns into U+FFFD, so that two ids would become one. JSON spells both in ASCII.
 */
export function storedText(text: string): string {
  return text.isWellFormed() && !text.includes('\0') && !text.startsWith(ESCAPE)
    ? text
    : ESCAPE + JSON.stringify(text)
}

/** The text that {@link storedText} was given. */
export function originalText(stored: string): string {
  if (!stored.startsWith(ESCAPE)) return stored
  const text: string = JSON.parse(stored.slice(1))
  return text
}

/** A claim key as the index can hold it: only compared, never read back, so a long one is stored as its SHA-256. */
export function storedKey(key: string): string {
  const stored = storedText(key)
  if (stored.length <= LONGEST_KEY) return stored
  return `${ESCAPE}sha256:${createHash('sha256').update(stored).digest('base64url')}`
}
