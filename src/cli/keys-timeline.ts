import type { KeyFacts, RingFacts } from './keys-facts.ts'
import { shortKids } from './keys-facts.ts'
import { printable } from './output.ts'

/** A part of the life of a key. Times are milliseconds since the epoch. */
export interface Span {
  readonly state: 'published' | 'active' | 'verify-only'
  readonly from: number
  readonly to: number
}

/** The life of a key in JWKS, as far as it is known or planned. */
export interface KeyLife {
  readonly kid: string
  readonly alg: string
  readonly state: string
  readonly spans: readonly Span[]
  /** When it was killed. */
  readonly killedAt?: number
}

/** How a timeline is drawn. */
export interface Drawing {
  /** Milliseconds since the epoch. */
  readonly now: number
  /** Characters a line may have. */
  readonly columns: number
  /** Nothing but ASCII. */
  readonly plain: boolean
}

const LEAST_BAR = 20

const FANCY = { published: '░', active: '█', 'verify-only': '▒', killed: '✗', now: '│' } as const
const PLAIN = { published: '-', active: '=', 'verify-only': '.', killed: 'x', now: '|' } as const

/** What every key of a ring has been and will be. What lies ahead of now is the plan. */
export function livesOf({ keys }: RingFacts, now: number): readonly KeyLife[] {
  return keys.map((key) => {
    const killedAt = at(key.compromised_at)
    return {
      kid: key.kid,
      alg: key.alg,
      state: key.state,
      spans: spansOf(key, now),
      ...(killedAt === undefined ? {} : { killedAt }),
    }
  })
}

function spansOf(key: KeyFacts, now: number): readonly Span[] {
  const end = at(key.compromised_at) ?? at(key.retired_at)
  const published = at(key.published_at)
  const activated = at(key.activated_at)
  const stopped = at(key.verify_only_at)
  if (published === undefined) return []
  const signsTo = stopped ?? end ?? Math.max(at(key.due_at) ?? now, now)
  // Of a key that signs, it is known only that JWKS keeps it beyond signUntil.
  const leaves = end ?? Math.max(at(key.retirable_from) ?? at(key.sign_until) ?? signsTo, signsTo)
  const waitsTo = activated ?? end ?? Math.max(at(key.activatable_from) ?? now, now)
  const spans: readonly Span[] = [
    { state: 'published', from: published, to: waitsTo },
    ...(activated === undefined
      ? []
      : [
          { state: 'active', from: activated, to: signsTo } as const,
          { state: 'verify-only', from: signsTo, to: leaves } as const,
        ]),
  ]
  return spans.filter(({ from, to }) => to > from)
}

function at(iso: string | undefined): number | undefined {
  if (iso === undefined) return undefined
  const time = Date.parse(iso)
  return Number.isNaN(time) ? undefined : time
}

/**
 * A line for each key that is or will be in JWKS while those of now are, the oldest first, with a mark where now is.
 * Keys that were gone before the first of them was published are counted instead: their years would squeeze the rest.
 */
export function drawTimeline(lives: readonly KeyLife[], drawing: Drawing): string {
  const marks = drawing.plain ? PLAIN : FANCY
  const living = lives.filter(({ state }) => state !== 'retired' && state !== 'compromised')
  const [first, last] = reach(living.length > 0 ? living : lives, drawing.now)
  const shown = lives
    .filter(({ spans, killedAt = 0 }) => spans.some(({ to }) => to > first) || killedAt > first)
    .toSorted((a, b) => startOf(a) - startOf(b))
  const short = shortKids(shown)
  const labels = shown.map((life) => [short.get(life.kid) ?? life.kid, life.alg, life.state])
  const widths = [0, 1, 2].map((column) =>
    Math.max(0, ...labels.map((label) => label[column]?.length ?? 0)),
  )
  const margin = widths.reduce((sum, width) => sum + width + 2, 0)
  const bar = Math.max(LEAST_BAR, drawing.columns - margin)
  const columnOf = (time: number) =>
    Math.min(bar - 1, Math.max(0, Math.floor(((time - first) / (last - first)) * bar)))

  const lines = shown.map((life, row) => {
    const label = (labels[row] ?? []).map((text, column) => text.padEnd(widths[column] ?? 0))
    return `${label.join('  ')}  ${barOf(life, bar, columnOf, drawing.now, marks)}`.trimEnd()
  })
  const axis = `${' '.repeat(margin)}${axisOf(first, last, columnOf(drawing.now), bar)}`
  const legend = (['published', 'active', 'verify-only', 'killed', 'now'] as const)
    .map((name) => `${marks[name]} ${name}`)
    .join('   ')
  const left = lives.length - shown.length
  const more = left === 0 ? [] : [`${left} more that are gone or not public yet: keys list`]
  return [axis, ...lines, '', legend, ...more].map((line) => `${printable(line)}\n`).join('')
}

function startOf({ spans: [first] }: KeyLife): number {
  return first?.from ?? 0
}

function reach(lives: readonly KeyLife[], now: number): readonly [number, number] {
  const times = lives.flatMap(({ spans }) => spans.flatMap(({ from, to }) => [from, to]))
  const first = Math.min(now, ...times)
  return [first, Math.max(now, ...times, first + 1)]
}

type Marks = Readonly<Record<keyof typeof FANCY, string>>

function barOf(
  { spans, killedAt }: KeyLife,
  length: number,
  columnOf: (time: number) => number,
  now: number,
  marks: Marks,
): string {
  const cells = Array.from({ length }, () => ' ')
  const last = columnOf(Math.max(...spans.map(({ to }) => to)) - 1)
  // A state of minutes on a line of months still gets its character: each is drawn from its start to the end of all.
  for (const { state, from } of spans)
    for (let cell = columnOf(from); cell <= last; cell += 1) cells[cell] = marks[state]
  cells[columnOf(now)] = marks.now
  if (killedAt !== undefined) cells[columnOf(killedAt)] = marks.killed
  return cells.join('')
}

/** Dates at both ends, and `now` where there is room for it. */
function axisOf(first: number, last: number, now: number, length: number): string {
  const [left, right] = [stamp(first), stamp(last)]
  const cells = Array.from({ length }, () => ' ')
  const write = (text: string, from: number) => {
    for (let index = 0; index < text.length; index += 1) cells[from + index] = text.charAt(index)
  }
  write(left, 0)
  if (length >= left.length + right.length + 2) write(right, length - right.length)
  const start = now - 1
  const room = cells.slice(Math.max(0, start - 1), start + 4)
  if (start > 0 && start + 3 <= length && room.every((cell) => cell === ' ')) write('now', start)
  return cells.join('').trimEnd()
}

/** To the minute, UTC. */
function stamp(time: number): string {
  return new Date(time).toISOString().slice(0, 16).replace('T', ' ')
}
