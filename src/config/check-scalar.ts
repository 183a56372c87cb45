import { nearest } from './nearest.ts'
import { quoted } from './problem.ts'
import { hasReference } from './references.ts'
import { hasUserinfo, KEPT_BACK, mayRepeat, reveal } from './reveal.ts'
import { kindOf, type Shape, typeText, wordsOf } from './shape.ts'
import { label, type Node, type Place } from './tree.ts'
import type { Spot, Walk } from './walk.ts'

const REDACTED = '[redacted]'

/** A value as the three who want it see it: the rooms, `config show` and the hash. */
interface Leaf {
  readonly value: unknown
  readonly shown: unknown
  readonly hashed: unknown
}

type Report = (
  code: 'config/bad-value' | 'config/algorithm' | 'config/literal-secret',
  message: string,
  mend: string,
) => undefined

/** Checks one value and replaces its references. What is not revealed here never appears in a message. */
export function checkScalar(
  shape: Shape,
  { value, place }: Node & { readonly kind: 'scalar' },
  spot: Spot,
  walk: Walk,
): unknown {
  const report: Report = (code, message, mend) =>
    walk.findings.add({ code, path: spot.path, place, message, mend })
  const leaf =
    typeof value === 'string'
      ? checkText(value, shape, place, spot, walk, report)
      : checkPlain(value, shape, place, spot, report)
  if (!leaf) return undefined
  walk.settings.push({
    path: spot.path,
    shown: leaf.shown,
    hashed: leaf.hashed,
    place,
    reload: spot.reload,
    format: shape['x-kind'],
  })
  return leaf.value
}

function checkPlain(
  value: number | boolean | null,
  shape: Shape,
  place: Place,
  spot: Spot,
  report: Report,
): Leaf | undefined {
  reveal(place)
  if (typeof value === 'number') {
    const name = label(spot.path)
    if (kindOf(shape) === 'words') {
      const words = wordsOf(shape)
      if (!words.includes(value))
        return report('config/bad-value', `${name} is ${value}`, `wanted: ${words.join(', ')}`)
    } else {
      const { minimum = Number.MIN_SAFE_INTEGER, maximum = Number.MAX_SAFE_INTEGER } = shape
      if (!Number.isInteger(value) || value < minimum || value > maximum) {
        const mend = `wanted: a whole number from ${minimum} to ${maximum}`
        return report('config/bad-value', `${name} is ${value}`, mend)
      }
    }
  }
  return { value, shown: value, hashed: value }
}

function checkText(
  given: string,
  shape: Shape,
  place: Place,
  spot: Spot,
  { references }: Walk,
  report: Report,
): Leaf | undefined {
  const name = label(spot.path)
  if (shape['x-kind'] === 'secret') {
    const { value, reference } = references.secret(given, place, spot.path)
    if (reference !== '') reveal(place)
    return { value, shown: REDACTED, hashed: reference }
  }
  const isReference = hasReference(given)
  if (isReference) reveal(place)
  const text = references.expand(given, place, spot.path)
  if (text === undefined) return undefined
  if (/\p{C}/u.test(text) || !text.isWellFormed()) {
    const mend = 'remove control and format characters'
    return report('config/bad-value', `${name} holds invisible signs`, mend)
  }
  // What came from a reference may be a secret that landed in the wrong key: it is never repeated.
  const repeat = !isReference && mayRepeat(text, shape)
  if (kindOf(shape) === 'words') {
    if (repeat) reveal(place)
    if (!wordsOf(shape).includes(text)) return badWord(text, shape, name, repeat, report)
  } else if (!fits(text, shape)) {
    if (repeat) reveal(place)
    const message = repeat ? `${name} is ${quoted(text)}` : `${name} is not of the right form`
    return report('config/bad-value', message, `wanted: ${wanted(shape, text)}`)
  } else if (shape['x-kind'] === 'url' && hasUserinfo(text)) {
    return report(
      'config/literal-secret',
      `${name} has a user name or password in it`,
      'remove what stands before the @, and use the auth of this section',
    )
  }
  const isKeptBack = spot.path.some((step) => KEPT_BACK.has(String(step)))
  if (isKeptBack) return { value: text, shown: REDACTED, hashed: text }
  reveal(place)
  return { value: text, shown: isReference ? given : text, hashed: text }
}

function badWord(
  text: string,
  shape: Shape,
  name: string,
  repeat: boolean,
  report: Report,
): undefined {
  const words = wordsOf(shape).map(String)
  if (repeat && /^(HS[0-9]+|none)$/i.test(text) && words.includes('ES256')) {
    const why = 'which is never accepted: whoever can check such a token could make one'
    const mend = `use one of ${words.join(', ')} (RFC 8725 §3.2)`
    return report('config/algorithm', `${name} is ${quoted(text)}, ${why}`, mend)
  }
  const guess = repeat ? nearest(text, words) : undefined
  const message = repeat ? `${name} is ${quoted(text)}` : `${name} is no known word`
  const mend = guess ? `did you mean ${quoted(guess)}?` : `wanted: ${words.join(', ')}`
  return report('config/bad-value', message, mend)
}

function fits(text: string, shape: Shape): boolean {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern } = shape
  if (text.length < minLength || text.length > maxLength) return false
  return pattern === undefined || new RegExp(pattern, 'u').test(text)
}

function wanted(shape: Shape, { length }: string): string {
  if (shape['x-kind']) return typeText(shape)
  if (shape.maxLength !== undefined && (length === 0 || length > shape.maxLength))
    return `1 to ${shape.maxLength} characters`
  return shape.pattern === undefined || length === 0
    ? 'a text that is not empty'
    : `a text that matches ${shape.pattern}`
}
