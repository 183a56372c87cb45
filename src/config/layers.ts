import { nearest } from './nearest.ts'
import { type Findings, quoted } from './problem.ts'
import { kindOf, type Shape, valueShape } from './shape.ts'
import type { Entry, Node, Path, Place } from './tree.ts'
import { plainNode } from './tree.ts'

/** Names that other parts of rolemint read; they set no key. */
const RESERVED = new Set([
  'ROLEMINT_SERVER',
  'ROLEMINT_ADMIN_TOKEN',
  'ROLEMINT_REQUIRE',
  'ROLEMINT_CONFIG',
])

/**
 * What Kubernetes puts into every container beside a Service called `rolemint` or `rolemint-…`. Refusing these
 * would stop the very deployment that the refusal is meant to protect.
 */
const SERVICE_LINK =
  /^ROLEMINT_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/

/** One key that an environment variable can set. */
export interface EnvironmentKey {
  readonly path: readonly string[]
  readonly shape: Shape
}

/** The name of the variable that sets a key: `keys.rotateEvery` is `ROLEMINT_KEYS_ROTATE_EVERY`. */
export function environmentName(path: readonly string[]): string {
  const words = path.map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase())
  return `ROLEMINT_${words.join('_')}`
}

/** Every variable there is: keys with fixed names that hold one value or a list of texts. */
export function environmentKeys(root: Shape): ReadonlyMap<string, EnvironmentKey> {
  const keys = new Map<string, EnvironmentKey>()
  function visit(shape: Shape, path: readonly string[]): void {
    switch (kindOf(shape)) {
      case 'union':
        for (const branch of shape.anyOf ?? []) visit(branch, path)
        if (shape.anyOf?.some(isSettable)) keys.set(environmentName(path), { path, shape })
        return
      case 'group':
      case 'choice':
        for (const [key, inner] of Object.entries(shape.properties ?? {})) {
          // `version` says how to read the file; nothing outside the file knows that.
          if (path.length > 0 || key !== 'version') visit(inner, [...path, key])
        }
        return
      case 'flag':
      case 'list':
      case 'named':
      case 'number':
      case 'open':
      case 'text':
      case 'words':
        if (isSettable(shape)) keys.set(environmentName(path), { path, shape })
    }
  }
  visit(root, [])
  return keys
}

function isSettable(shape: Shape): boolean {
  const kind = kindOf(shape)
  if (kind === 'list') return shape.items !== undefined && kindOf(shape.items) === 'text'
  return kind === 'text' || kind === 'number' || kind === 'flag' || kind === 'words'
}

/** Lays the `ROLEMINT_*` environment over a tree. */
export function applyEnvironment(
  root: Node,
  env: Readonly<Record<string, string | undefined>>,
  schema: Shape,
  findings: Findings,
): Node {
  const keys = environmentKeys(schema)
  let tree = root
  for (const [name, text] of Object.entries(env).toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!name.startsWith('ROLEMINT_') || text === undefined) continue
    const place: Place = { kind: 'env', name }
    const key = keys.get(name)
    if (key) {
      tree = put(tree, schema, key.path, typed(text, key.shape, place), place)
    } else if (
      !RESERVED.has(name) &&
      !name.startsWith('ROLEMINT_TEST_') &&
      !SERVICE_LINK.test(name)
    ) {
      const meant = nearest(name, keys.keys())
      findings.add({
        code: 'config/unknown-key',
        path: [],
        place,
        message: `no key is set by the environment variable ${name}`,
        mend: meant ? `did you mean ${meant}?` : 'unset it; config explain lists the keys',
      })
    }
  }
  return tree
}

/** Lays flags (dotted path → text) over a tree. They may name tenants that exist, and everything in them. */
export function applyFlags(
  root: Node,
  flags: ReadonlyMap<string, string>,
  schema: Shape,
  findings: Findings,
): Node {
  let tree = root
  for (const [name, text] of flags) {
    const place: Place = { kind: 'flag', name }
    const found = resolveName(name, schema, tree)
    if (found) {
      tree = put(tree, schema, found.path, typed(text, found.shape, place), place)
      continue
    }
    const meant = nearest(
      name,
      [...environmentKeys(schema).values()].map(({ path }) => path.join('.')),
    )
    findings.add({
      code: 'config/unknown-key',
      path: [],
      place,
      message: `no key that a flag can set is called ${quoted(name)}`,
      mend: meant ? `did you mean ${meant}?` : 'config explain lists the keys',
    })
  }
  return tree
}

/**
 * Finds the key a dotted name means. Names of tenants and clients may hold dots themselves: of those that exist,
 * the longest that fits is meant.
 */
function resolveName(
  name: string,
  shape: Shape,
  node: Node | undefined,
  path: readonly string[] = [],
): EnvironmentKey | undefined {
  if (name === '') return isSettableAnyhow(shape) ? { path, shape } : undefined
  for (const branch of shape.anyOf ?? []) {
    const found = resolveName(name, branch, node, path)
    if (found) return found
  }
  const entries: ReadonlyMap<string, Entry> = node?.kind === 'map' ? node.entries : new Map()
  const isNamed = kindOf(shape) === 'named'
  const names = isNamed ? [...entries.keys()] : Object.keys(shape.properties ?? {})
  for (const key of names.toSorted((a, b) => b.length - a.length)) {
    if (name !== key && !name.startsWith(`${key}.`)) continue
    const inner = isNamed ? valueShape(shape) : shape.properties?.[key]
    if (!inner) continue
    const rest = name.slice(key.length + 1)
    const found = resolveName(rest, inner, entries.get(key)?.value, [...path, key])
    if (found) return found
  }
  return undefined
}

function isSettableAnyhow(shape: Shape): boolean {
  return isSettable(shape) || (shape.anyOf ?? []).some(isSettable)
}

/** Gives a text the type its key wants; what does not fit stays a text, and the checker says so. */
function typed(text: string, shape: Shape, place: Place): Node {
  const branches = shape.anyOf ?? [shape]
  const wants = (kind: string) => branches.some((branch) => kindOf(branch) === kind)
  if (wants('list') && (branches.length === 1 || text.includes(','))) {
    const items = text.split(',').map((item) => item.trim())
    return plainNode(text.trim() === '' ? [] : items, place)
  }
  if (wants('number') && /^-?[0-9]{1,15}$/.test(text)) return plainNode(Number(text), place)
  if (wants('flag') && (text === 'true' || text === 'false'))
    return plainNode(text === 'true', place)
  return plainNode(text, place)
}

/** A tree with one value replaced. Of a choice, only the branch that was set last remains. */
function put(node: Node, shape: Shape, path: Path, value: Node, place: Place): Node {
  const [key, ...rest] = path
  if (typeof key !== 'string') return value
  const group = (shape.anyOf ?? [shape]).find((branch) =>
    kindOf(branch) === 'named' ? true : branch.properties?.[key] !== undefined,
  )
  const inner =
    (group && kindOf(group) === 'named' ? valueShape(group) : group?.properties?.[key]) ?? {}
  const isChoice = group !== undefined && kindOf(group) === 'choice'
  const given: ReadonlyMap<string, Entry> = node.kind === 'map' ? node.entries : new Map()
  const entries = new Map(isChoice ? [...given].filter(([name]) => name === key) : given)
  const before = entries.get(key)
  const below = before?.value ?? { kind: 'map', place, entries: new Map() }
  entries.set(key, {
    keyPlace: rest.length > 0 && before ? before.keyPlace : place,
    value: put(below, inner, rest, value, place),
  })
  return { kind: 'map', place: node.kind === 'map' ? node.place : place, entries }
}
