import type { Shape } from './shape.ts'
import type { Place } from './tree.ts'

/** Allows what is written at a place to be shown in error messages. */
export function reveal(place: Place): void {
  if (place.kind === 'file') place.source.reveal(place.start)
}

/**
 * True when a key that does not exist may be repeated. `{ bearer:s3cr3t }`, where the space after the colon was
 * forgotten, is a key to YAML; so is a password alone in braces. Words without digits are taken for words.
 */
export function isPrintableKey(key: string): boolean {
  return /^[A-Za-z][A-Za-z_.-]{0,31}$/.test(key)
}

/** Reveals a key if it looks like one. */
export function revealKey(key: string, place: Place): void {
  if (isPrintableKey(key)) reveal(place)
}

/**
 * Keys whose values are no secrets but lie where people put one by mistake: a client secret itself has the same
 * form as its SHA-256.
 */
export const KEPT_BACK: ReadonlySet<string> = new Set(['sha256'])

/** True when a value that failed its check may be repeated: it is of a kind nobody mistakes for a place for secrets. */
export function mayRepeat(value: string, shape: Shape): boolean {
  const kind = shape['x-kind']
  const harmless = kind === 'duration' || kind === 'size' || kind === 'rate' || kind === 'address'
  return (
    (harmless || shape.enum !== undefined || shape.const !== undefined) &&
    /^[\w./:-]{1,24}$/.test(value)
  )
}

/** True when a URL carries a name or password (`https://user:pass@host`). */
export function hasUserinfo(url: string): boolean {
  return /^[^/?#]*\/\/[^/?#]*@/.test(url)
}
