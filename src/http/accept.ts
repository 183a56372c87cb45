/** One range of an `Accept` header and how much it is wanted, 0 to 1. */
interface Range {
  readonly type: string
  readonly quality: number
}

/**
 * True when the caller wants `type` strictly more than `other`.
 *
 * Strictly: whoever sends no `Accept`, or ranks both alike by a wildcard, gets the default.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110.html#section-12.5.1 RFC 9110 §12.5.1}
 */
export function prefers(accept: string | undefined, type: string, other: string): boolean {
  if (accept === undefined || !mayName(accept, type)) return false
  const ranges = accept.split(',').map(parseRange)
  return qualityOf(ranges, type) > qualityOf(ranges, other)
}

/** A type that is in no range by name or by its first half cannot outrank another of the same first half. */
function mayName(accept: string, type: string): boolean {
  const lower = accept.toLowerCase()
  return lower.includes(type) || lower.includes(`${type.slice(0, type.indexOf('/'))}/*`)
}

function parseRange(text: string): Range {
  const [type = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase())
  const weight = parameters.find((parameter) => parameter.startsWith('q='))
  const quality = weight === undefined ? 1 : Number(weight.slice(2))
  return { type, quality: quality >= 0 && quality <= 1 ? quality : 0 }
}

/** The most specific range that covers the type decides, wherever it stands. */
function qualityOf(ranges: readonly Range[], type: string): number {
  const halfOpen = `${type.slice(0, type.indexOf('/'))}/*`
  for (const name of [type, halfOpen, '*/*']) {
    const range = ranges.find((candidate) => candidate.type === name)
    if (range) return range.quality
  }
  return 0
}
