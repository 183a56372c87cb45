/**
 * The text of a configuration file, and what of it may be shown.
 *
 * A line in an error message may hold a secret that somebody wrote into the file by mistake, right beside the
 * mistake the message is about. So nothing of a value is shown unless the checker revealed it: it knows which
 * keys and values are no secrets. Comments are never shown.
 */
export interface Source {
  /** The name shown to people: relative to the folder of the main configuration file. */
  readonly file: string
  /** The folder in which relative paths of this file start. */
  readonly folder: string
  readonly text: string
  /** Counted from 1; columns in UTF-16 code units. */
  position(offset: number): { readonly line: number; readonly column: number }
  /** Declares that a key or value of the document is at this span; hidden until revealed. */
  token(start: number, end: number): void
  /** Allows the token at this offset to be shown. */
  reveal(start: number): void
  /** The line at `start` with everything hidden replaced, and where the span is in it (from 0). */
  excerpt(start: number, end: number, vocabulary: ReadonlySet<string>): Excerpt
}

/** One line of a file, fit to be shown. */
export interface Excerpt {
  readonly text: string
  readonly from: number
  readonly length: number
}

interface Token {
  readonly end: number
  visible: boolean
}

const STRUCTURE = new Set('{}[],:-?"\'|>')
const REDACTED = '[redacted]'
const WIDEST = 120

/** A {@link Source} over a text whose tokens are not known yet. */
export function createSource(file: string, folder: string, text: string): Source {
  const lineStarts = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1))
    lineStarts.push(at + 1)
  const tokens = new Map<number, Token>()

  function lineIndex(offset: number): number {
    let low = 0
    let high = lineStarts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((lineStarts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  return {
    file,
    folder,
    text,
    position(offset) {
      const index = lineIndex(offset)
      return { line: index + 1, column: offset - (lineStarts[index] ?? 0) + 1 }
    },
    token: (start, end) => void tokens.set(start, { end, visible: false }),
    reveal(start) {
      const token = tokens.get(start)
      if (token) token.visible = true
    },
    excerpt(start, end, vocabulary) {
      const from = lineStarts[lineIndex(start)] ?? 0
      const newline = text.indexOf('\n', from)
      const to = newline < 0 ? text.length : newline
      const pieces =
        tokens.size > 0
          ? knownPieces(text, from, to, tokens)
          : unknownPieces(text, from, to, vocabulary)
      return assemble(pieces, start, Math.min(Math.max(end, start + 1), to))
    },
  }
}

interface Piece {
  readonly from: number
  readonly to: number
  readonly shown: string
}

/** Cuts a line of a file whose tokens are known: revealed tokens as they are, hidden ones redacted, a comment ends the line. */
function knownPieces(
  text: string,
  from: number,
  to: number,
  tokens: ReadonlyMap<number, Token>,
): Piece[] {
  const inLine = [...tokens]
    .filter(([start, token]) => start < to && token.end > from)
    .toSorted(([left], [right]) => left - right)
  const pieces: Piece[] = []
  let at = from
  for (const [tokenStart, token] of inLine) {
    const start = Math.max(from, tokenStart)
    const end = Math.min(to, token.end)
    if (start < at) continue
    if (!between(text, at, start, pieces)) return pieces
    pieces.push({ from: start, to: end, shown: token.visible ? text.slice(start, end) : REDACTED })
    at = end
  }
  between(text, at, to, pieces)
  return pieces
}

/** Adds what stands between tokens, sign by sign; false when a comment began. */
function between(text: string, from: number, to: number, pieces: Piece[]): boolean {
  for (let at = from; at < to; at++) {
    const sign = text[at] ?? ''
    if (sign === '#') return false
    const plain = /\s/.test(sign) || STRUCTURE.has(sign)
    pieces.push({ from: at, to: at + 1, shown: plain ? sign : '…' })
  }
  return true
}

/**
 * Cuts a line of a file that is no YAML, so that nobody knows what its parts are: only words of our own
 * vocabulary, references and punctuation are shown.
 */
function unknownPieces(
  text: string,
  from: number,
  to: number,
  vocabulary: ReadonlySet<string>,
): Piece[] {
  const pieces: Piece[] = []
  for (const match of text
    .slice(from, to)
    .matchAll(/\$\{(?:env|file|vault):[^}\s]*\}|[^\s{}[\],:"']+|[\s\S]/g)) {
    const [part] = match
    const at = from + match.index
    if (part.startsWith('#')) break
    const shown =
      /^\s$/.test(part) || STRUCTURE.has(part) || part.startsWith('${') || vocabulary.has(part)
    pieces.push({ from: at, to: at + part.length, shown: shown ? part : '…' })
  }
  return pieces
}

/** Joins the pieces, finds the span again in the result, and cuts a window out of a long line. */
function assemble(pieces: readonly Piece[], start: number, end: number): Excerpt {
  let text = ''
  let from: number | undefined
  let until: number | undefined
  for (const piece of pieces) {
    const exact = piece.shown.length === piece.to - piece.from
    const place = (offset: number) => text.length + (exact ? offset - piece.from : 0)
    if (from === undefined && start < piece.to) from = place(Math.max(start, piece.from))
    const past = text.length + piece.shown.length
    if (end > piece.from) until = exact ? Math.min(past, place(end)) : past
    text += piece.shown
  }
  const shown = text.trimEnd().replace(/[^\P{C}]/gu, ' ')
  const caret = from ?? shown.length
  const length = Math.max(1, (until ?? caret) - caret)
  if (shown.length <= WIDEST) return { text: shown, from: caret, length }
  const cut = Math.max(0, caret - 40)
  const window = shown.slice(cut, cut + WIDEST)
  return {
    text: (cut > 0 ? '…' : '') + window,
    from: caret - cut + (cut > 0 ? 1 : 0),
    length: Math.max(1, Math.min(length, window.length - (caret - cut))),
  }
}
