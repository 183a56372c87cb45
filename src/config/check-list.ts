import { kindOf, type Shape } from './shape.ts'
import { label, type Node, type Place, plainData } from './tree.ts'
import type { Spot, Walk } from './walk.ts'

/** Checks a list and its elements. */
export function checkList(
  shape: Shape,
  node: Node & { readonly kind: 'list' },
  spot: Spot,
  walk: Walk,
): unknown {
  const before = walk.settings.length
  const values = node.items.map((item, index) =>
    walk.visit(shape.items ?? {}, item, {
      ...spot,
      path: [...spot.path, index],
      keyPlace: item.place,
    }),
  )
  const bad = (message: string, place: Place, mend: string) =>
    walk.findings.add({
      code: 'config/bad-value',
      path: spot.path,
      place,
      message: `${label(spot.path)} ${message}`,
      mend,
    })
  const { minItems = 0, maxItems = Number.POSITIVE_INFINITY } = shape
  if (values.length < minItems) bad('is empty', spot.keyPlace, 'name one, or remove the key')
  if (values.length > maxItems)
    bad(`has ${values.length} elements`, spot.keyPlace, `keep at most ${maxItems}`)
  if (shape.uniqueItems) {
    const again = values.findIndex(
      (value, index) => value !== undefined && values.indexOf(value) < index,
    )
    if (again >= 0)
      bad('has an element twice', node.items[again]?.place ?? spot.keyPlace, 'keep one of them')
  }
  // A list of texts is one setting; a list of groups is shown element by element.
  if (values.length === 0 || (shape.items && kindOf(shape.items) !== 'group')) {
    const elements = walk.settings.splice(before)
    walk.settings.push({
      path: spot.path,
      shown: elements.map(({ shown }) => shown),
      hashed: elements.map(({ hashed }) => hashed),
      place: node.place,
      reload: spot.reload,
      format: undefined,
    })
  }
  return values
}

/** Members of a JWK that only a private or symmetric key has (RFC 7518 §6). */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

/** Takes over what the schema does not look into. Where it is a JWK set, that much is made sure of. */
export function checkOpen(shape: Shape, node: Node, spot: Spot, walk: Walk): unknown {
  const value = plainData(node)
  if (shape.properties) {
    const keys = isRecord(value) && Array.isArray(value['keys']) ? (value['keys'] as unknown[]) : []
    const isJwkSet = keys.length > 0 && keys.every(isRecord)
    if (!isJwkSet) {
      walk.findings.add({
        code: 'config/bad-value',
        path: spot.path,
        place: spot.keyPlace,
        message: `${label(spot.path)} is no JWK set with a key`,
        mend: 'write { keys: [ { kty: … } ] } (RFC 7517 §5)',
      })
    } else if (keys.some((key) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(key, member)))) {
      walk.findings.add({
        code: 'config/literal-secret',
        path: spot.path,
        place: spot.keyPlace,
        message: `${label(spot.path)} holds a private or symmetric key`,
        mend: 'write the public half only, and replace the key: it has been seen',
      })
    }
  }
  const { path, reload } = spot
  walk.settings.push({
    path,
    shown: shape.properties ? value : '[redacted]',
    hashed: value,
    place: node.place,
    reload,
    format: undefined,
  })
  return value
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
