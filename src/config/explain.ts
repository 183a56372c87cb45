import { environmentKeys } from './layers.ts'
import { nearest } from './nearest.ts'
import { configShape } from './schema.ts'
import { type DocumentedKey, listKeys, typeText } from './shape.ts'

/** What there is to say about a key. */
export interface Explanation {
  readonly key: string
  readonly description: string
  readonly type: string
  /** As JSON; undefined when there is none. */
  readonly default: string | undefined
  readonly required: boolean
  readonly reload: 'hot' | 'restart' | undefined
  /** The environment variable that sets it, if one does. */
  readonly env: string | undefined
}

/** Every key of the configuration. */
export function explanations(): readonly Explanation[] {
  const variables = new Map(
    [...environmentKeys(configShape)].map(([name, { path }]) => [path.join('.'), name]),
  )
  return listKeys(configShape).map((key) => toExplanation(key, variables))
}

function toExplanation(
  { pattern, shape, required, reload }: DocumentedKey,
  variables: ReadonlyMap<string, string>,
): Explanation {
  const hasDefault = shape.default !== undefined && JSON.stringify(shape.default) !== '{}'
  return {
    key: pattern,
    description: shape.description ?? '',
    type: typeText(shape),
    default: hasDefault ? JSON.stringify(shape.default) : undefined,
    required,
    reload,
    env: variables.get(pattern),
  }
}

/**
 * The key somebody asks about, written out (`tenants.acme.tokens.ttl`), as a pattern (`tenants.*.tokens.ttl`) or
 * by its end (`tokens.ttl`).
 */
export function findExplanation(asked: string): Explanation | undefined {
  const all = explanations()
  const plain = asked.replace(/\[[0-9*]*\]/g, '[]')
  const exact = all.find(({ key }) => key === plain)
  if (exact) return exact
  // Of several that fit, the longest says the most: the others swallow part of the path as a name.
  const [fitting] = all
    .filter(({ key }) => patternOf(key).test(plain))
    .toSorted((a, b) => b.key.length - a.key.length)
  return fitting ?? all.find(({ key }) => key.endsWith(`.${plain}`))
}

/** The key most like what was asked for. */
export function nearestKey(asked: string): string | undefined {
  const all = explanations().map(({ key }) => key)
  const direct = nearest(asked, all)
  if (direct) return direct
  const last = asked.slice(asked.lastIndexOf('.') + 1)
  const word = nearest(
    last,
    all.map((key) => key.slice(key.lastIndexOf('.') + 1)),
  )
  return word && all.find((key) => key.endsWith(`.${word}`) || key === word)
}

/** Names of the operator's own may hold dots, except at the end, where a misspelt key would pass for one. */
function patternOf(key: string): RegExp {
  const parts = key.split(/<[a-z]+>/).map((part) => part.replace(/[.[\]]/g, '\\$&'))
  return new RegExp(`^${parts.join('.+?').replace(/\.\+\?$/, '[^.]+')}$`)
}
