const UNITS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** What a duration looks like in the configuration: `30s`, `12h`, `250ms`. */
export const DURATION_PATTERN = '^(0|[1-9][0-9]{0,8})(ms|s|m|h|d)$'
const DURATION = new RegExp(DURATION_PATTERN)

/** Milliseconds meant by `30s`, `12h`, `1d`; undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text)
  if (!match) return undefined
  return Number(match[1]) * unit(UNITS, match[2])
}

const SIZES = new Map([
  ['B', 1],
  ['KiB', 1024],
  ['MiB', 1024 * 1024],
])

/** What a size looks like in the configuration: `512B`, `16KiB`, `1MiB`. */
export const SIZE_PATTERN = '^(0|[1-9][0-9]{0,8})(B|KiB|MiB)$'
const SIZE = new RegExp(SIZE_PATTERN)

/** Bytes meant by `16KiB`; undefined when the text is no size. */
export function parseSize(text: string): number | undefined {
  const match = SIZE.exec(text)
  if (!match) return undefined
  return Number(match[1]) * unit(SIZES, match[2])
}

/** What a rate looks like in the configuration: `50/s`, `10/m`. */
export const RATE_PATTERN = '^([1-9][0-9]{0,8})/(s|m|h)$'
const RATE = new RegExp(RATE_PATTERN)

/** So many events in so long a time. */
export interface Rate {
  readonly count: number
  readonly perMilliseconds: number
}

/** The rate meant by `50/s` or `10/m`; undefined when the text is none. */
export function parseRate(text: string): Rate | undefined {
  const match = RATE.exec(text)
  if (!match) return undefined
  return { count: Number(match[1]), perMilliseconds: unit(UNITS, match[2]) }
}

/** The length of a unit that a pattern has already matched. */
function unit(units: ReadonlyMap<string, number>, name: string | undefined): number {
  const length = units.get(name ?? '')
  if (length === undefined) throw new TypeError(`no such unit: ${String(name)}`)
  return length
}
