import { nearest } from './nearest.ts'
import { quoted } from './problem.ts'
import { isPrintableKey, reveal } from './reveal.ts'
import { kindOf, type Shape, typeText, valueShape, wordsOf } from './shape.ts'
import { BY_DEFAULT, type Entry, label, type Node, plainNode } from './tree.ts'
import type { Spot, Walk } from './walk.ts'

/**
 * Optional keys whose absence is itself a mistake somewhere, or changes what is one. Where one of them is misspelt, the checks
 * of meaning stay silent: they would complain of what the misspelt key says.
 */
const ABSENCE_MATTERS: ReadonlySet<string> = new Set(
  `upnDomains subjectPrefix presenters roles map unmapped empty sources audiences idps grants
  exchangeOwn resourceFor profile listen public admin tls keys store signer publishAhead rotateEvery jwks
  maxAge staleIfError secretId secretIdFile limits skew tokens ttl`.split(/\s+/),
)

type MapNode = Node & { readonly kind: 'map' }

/** Checks a group of keys and fills in what was left out. */
export function checkGroup(shape: Shape, node: MapNode, spot: Spot, walk: Walk): unknown {
  const { given, meant } = sortKeys(shape, node, spot, walk)
  const result: [string, unknown][] = []
  for (const [key, inner] of Object.entries(shape.properties ?? {})) {
    const path = [...spot.path, key]
    const entry = given.get(key)
    if (entry) {
      result.push([
        key,
        walk.visit(inner, entry.value, { ...spot, path, keyPlace: entry.keyPlace }),
      ])
      continue
    }
    // A misspelt key is one mistake, not two.
    if (shape.required?.includes(key) && !meant.has(key)) missing(inner, key, spot, walk)
    const fallback = defaultOf(inner)
    if (fallback === undefined) continue
    const absent = plainNode(fallback, BY_DEFAULT)
    result.push([key, walk.visit(inner, absent, { ...spot, path, keyPlace: BY_DEFAULT })])
  }
  return Object.fromEntries(result)
}

/** Checks a group of which exactly one key must be given. */
export function checkChoice(shape: Shape, node: MapNode, spot: Spot, walk: Walk): unknown {
  const { given, meant } = sortKeys(shape, node, spot, walk)
  const names = Object.keys(shape.properties ?? {}).join(', ')
  const [, second] = given.values()
  if (second) {
    walk.findings.add({
      code: 'config/conflict',
      path: spot.path,
      place: second.keyPlace,
      message: `${label(spot.path)} has ${[...given.keys()].map(quoted).join(' and ')}`,
      mend: `keep one of ${names}`,
    })
  } else if (given.size === 0 && meant.size === 0) {
    walk.findings.add({
      code: 'config/missing-key',
      path: spot.path,
      place: spot.keyPlace,
      message: `${label(spot.path)} is empty`,
      mend: `give one of ${names}`,
    })
  }
  const checked = [...given].map(([key, entry]) => {
    const below = { ...spot, path: [...spot.path, key], keyPlace: entry.keyPlace }
    return [key, walk.visit(shape.properties?.[key] ?? {}, entry.value, below)] as const
  })
  return Object.fromEntries(checked)
}

/** Checks things by name. */
export function checkNamed(shape: Shape, node: MapNode, spot: Spot, walk: Walk): unknown {
  const pattern = shape.propertyNames?.pattern ?? ''
  const allowed = new RegExp(pattern, 'u')
  const result: [string, unknown][] = []
  for (const [key, entry] of node.entries) {
    const below = { ...spot, path: [...spot.path, key], keyPlace: entry.keyPlace }
    if (allowed.test(key)) {
      reveal(entry.keyPlace)
      result.push([key, walk.visit(valueShape(shape), entry.value, below)])
    } else {
      walk.findings.add({
        code: 'config/bad-value',
        path: spot.path,
        place: entry.keyPlace,
        message: `a name in ${label(spot.path)} has signs that are not allowed, or too many`,
        mend: `names match ${pattern}`,
      })
    }
  }
  return Object.fromEntries(result)
}

/** Tells known keys from unknown ones, reports the latter, and says which known ones they were meant to be. */
function sortKeys(shape: Shape, node: MapNode, spot: Spot, walk: Walk) {
  const properties = shape.properties ?? {}
  const given = new Map<string, Entry>()
  const meant = new Set<string>()
  for (const [key, entry] of node.entries) {
    if (Object.hasOwn(properties, key)) {
      reveal(entry.keyPlace)
      given.set(key, entry)
    } else {
      const guess = unknownKey(key, entry, shape, spot, walk)
      if (guess) meant.add(guess)
    }
  }
  return { given, meant }
}

function unknownKey(
  key: string,
  entry: Entry,
  { properties = {}, required = [] }: Shape,
  spot: Spot,
  { findings }: Walk,
): string | undefined {
  const { keyPlace } = entry
  const known = Object.keys(properties)
  const guess = nearest(key, known)
  const noSpace = known.find((name) => key.startsWith(`${name}:`))
  const meant = guess ?? noSpace
  const mayShow = !noSpace && (guess !== undefined || isPrintableKey(key))
  if (mayShow) reveal(keyPlace)
  if (guess) revealWords(entry.value, wordsBelow(properties[guess]))
  let mend = `known here: ${known.join(', ')}`
  if (guess) mend = `did you mean ${quoted(guess)}?`
  if (noSpace) mend = `put a space after "${noSpace}:"`
  findings.add({
    code: 'config/unknown-key',
    path: mayShow ? [...spot.path, key] : spot.path,
    place: keyPlace,
    message: `unknown key${mayShow ? ` ${quoted(key)}` : ''} in ${label(spot.path)}`,
    mend,
    keepsValue: meant === undefined || !(required.includes(meant) || ABSENCE_MATTERS.has(meant)),
  })
  return meant
}

/** Shows of the value of a misspelt key only what is a word of ours: the rest could be a secret. */
function revealWords(node: Node, words: ReadonlySet<unknown>): void {
  if (node.kind === 'scalar' && words.has(node.value)) reveal(node.place)
  if (node.kind === 'list') for (const item of node.items) revealWords(item, words)
}

function wordsBelow(shape: Shape | undefined): ReadonlySet<unknown> {
  const parts = [shape, shape?.items, ...(shape?.anyOf ?? [])]
  return new Set(parts.flatMap((part) => (part ? wordsOf(part) : [])))
}

function missing(shape: Shape, key: string, spot: Spot, { findings }: Walk): void {
  findings.add({
    code: 'config/missing-key',
    path: [...spot.path, key],
    place: spot.keyPlace,
    message: `${label(spot.path)} lacks ${quoted(key)}`,
    mend: `add ${key}: ${typeText(shape)}`,
  })
}

/** What stands for a key that was left out: its default; for a group that needs nothing, an empty group. */
function defaultOf(shape: Shape): unknown {
  if (shape.default !== undefined) return shape.default
  return kindOf(shape) === 'group' && !shape.required?.length ? {} : undefined
}
