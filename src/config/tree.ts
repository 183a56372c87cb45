import type { Source } from './source.ts'

/** Where a value was written. */
export type Place =
  | { readonly kind: 'file'; readonly source: Source; readonly start: number; readonly end: number }
  | { readonly kind: 'env'; readonly name: string }
  | { readonly kind: 'flag'; readonly name: string }
  | { readonly kind: 'default' }

/** A configuration before it is checked: what was written, and where. */
export type Node =
  | { readonly kind: 'map'; readonly place: Place; readonly entries: Map<string, Entry> }
  | { readonly kind: 'list'; readonly place: Place; readonly items: readonly Node[] }
  | {
      readonly kind: 'scalar'
      readonly place: Place
      readonly value: string | number | boolean | null
    }

/** One key with its value. */
export interface Entry {
  readonly keyPlace: Place
  readonly value: Node
}

/** Names and list positions from the root down. */
export type Path = readonly (string | number)[]

/** A path as people write it: `tenants.acme.roles.map[0].to`. */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, step) =>
      typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`,
    '',
  )
}

/** A path in a message. */
export function label(path: Path): string {
  return path.length === 0 ? 'the file' : pathText(path)
}

/** A place as people read it: `tenants/acme.yaml:38:9`, `env ROLEMINT_LISTEN_PUBLIC`, `flag listen.public`, `default`. */
export function placeText(place: Place): string {
  if (place.kind === 'file') {
    const { line, column } = place.source.position(place.start)
    return `${place.source.file}:${line}:${column}`
  }
  return place.kind === 'default' ? 'default' : `${place.kind} ${place.name}`
}

/** The place of values nobody wrote. */
export const BY_DEFAULT: Place = { kind: 'default' }

/** A tree over plain data, all of it from one place. */
export function plainNode(value: unknown, place: Place): Node {
  if (Array.isArray(value)) {
    return { kind: 'list', place, items: value.map((item) => plainNode(item, place)) }
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(
      ([key, inner]) => [key, { keyPlace: place, value: plainNode(inner, place) }] as const,
    )
    return { kind: 'map', place, entries: new Map(entries) }
  }
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
    return { kind: 'scalar', place, value }
  }
  return { kind: 'scalar', place, value: null }
}

/** The plain data of a tree. Own properties only, so that a key `__proto__` is just a key. */
export function plainData(node: Node): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plainData)
  return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, plainData(value)]))
}
