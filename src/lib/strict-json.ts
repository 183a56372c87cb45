/** Bounds on a JSON text. */
export interface JsonBounds {
  /** Deepest nesting of objects and arrays; a lone object is depth 1. */
  readonly maxDepth: number
  /** Most object members and array elements in the whole text, each object and array counting as one more. */
  readonly maxMembers: number
}

/** A text that is no JSON we accept. The message names the rule and holds nothing of the text. */
export class StrictJsonError extends Error {
  override readonly name = 'StrictJsonError'
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
/** An escaped UTF-16 surrogate, the only way for a lone one to hide in a well-formed text. */
const ESCAPED_SURROGATE = /\\u[dD][89a-fA-F]/

/**
 * Parses JSON from outside, refusing what two parsers could read differently: duplicate member names, also when one is
 * spelt with escapes (RFC 8259 §4, RFC 7515 §4), lone surrogates (RFC 7493 §2.1), a byte order mark, and texts that are
 * too deep or too large. Objects come without a prototype, so `__proto__` and `constructor` are names like any other and
 * a member that is absent is `undefined`, never something inherited.
 *
 * Duplicates are found by counting: `JSON.parse` keeps one member per name, so an object tree with fewer members than the
 * text has colons outside strings lost some. That needs no set of names and no unescaping, which keeps it cheap on the
 * request path.
 *
 * @throws {StrictJsonError}
 */
export function parseStrictJson(text: string, bounds: JsonBounds): unknown {
  const colons = countColons(text, bounds)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // V8's message quotes the text, so it is not kept as the cause: the text may be a token.
    throw new StrictJsonError('not JSON')
  }
  if (!text.isWellFormed()) throw new StrictJsonError('lone surrogate')
  const members = disinherit(value, ESCAPED_SURROGATE.test(text))
  if (members !== colons) throw new StrictJsonError('duplicate member name')
  return value
}

/** True for a JSON object, as opposed to an array, `null` or a scalar. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Colons outside strings, with the bounds checked on the way, before anything is built from the text. */
function countColons(text: string, { maxDepth, maxMembers }: JsonBounds): number {
  let colons = 0
  let depth = 0
  let entries = 0
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case QUOTE:
        at = endOfString(text, at)
        break
      case 0x3a: // :
        colons++
        break
      case 0x2c: // ,
        entries++
        break
      case 0x7b: // {
      case 0x5b: // [
        entries++
        if (++depth > maxDepth) throw new StrictJsonError('nested too deeply')
        break
      case 0x7d: // }
      case 0x5d: // ]
        depth--
        break
      default:
    }
    if (entries > maxMembers) throw new StrictJsonError('too many members')
  }
  return colons
}

/** Position of the quote that ends the string opened at `start`: the first one behind an even run of backslashes. */
function endOfString(text: string, start: number): number {
  let end = start
  for (;;) {
    end = text.indexOf('"', end + 1)
    if (end === -1) throw new StrictJsonError('not JSON')
    let before = end - 1
    while (text.charCodeAt(before) === BACKSLASH) before--
    if ((end - before) % 2 === 1) return end
  }
}

/** Takes every object's prototype away; returns how many members the tree has. Depth is bounded before this runs. */
function disinherit(value: unknown, checkSurrogates: boolean): number {
  if (typeof value === 'string') {
    if (checkSurrogates && !value.isWellFormed()) throw new StrictJsonError('lone surrogate')
    return 0
  }
  let members = 0
  if (Array.isArray(value)) {
    for (const element of value) members += disinherit(element, checkSurrogates)
  } else if (isJsonObject(value)) {
    const names = Object.keys(value)
    Object.setPrototypeOf(value, null)
    for (const name of names) {
      if (checkSurrogates && !name.isWellFormed()) throw new StrictJsonError('lone surrogate')
      members += 1 + disinherit(value[name], checkSurrogates)
    }
  }
  return members
}
