import { checkChoice, checkGroup, checkNamed } from './check-group.ts'
import { checkList, checkOpen } from './check-list.ts'
import { checkScalar } from './check-scalar.ts'
import { kindOf, type Shape, typeText, wordsOf } from './shape.ts'
import { label, type Node, type Place, pathText } from './tree.ts'
import type { CheckDeps, Checked, Found, Setting, Spot, Walk } from './walk.ts'

/**
 * Checks a tree against a schema, puts defaults in, and replaces references. TypeBox could check too, but its
 * errors know neither lines nor what was meant; a test holds the two verdicts against each other.
 */
export function checkTree(root: Node, schema: Shape, deps: CheckDeps): Checked {
  const settings: Setting[] = []
  const places = new Map<string, Found>()
  const walk: Walk = { ...deps, settings, visit }

  function visit(shape: Shape, node: Node, spot: Spot): unknown {
    const isSingle = node.kind === 'scalar' && node.value !== null
    const caret = isSingle ? node.place : spot.keyPlace
    places.set(pathText(spot.path), { path: spot.path, key: spot.keyPlace, caret })
    const inner = { ...spot, reload: shape['x-reload'] ?? spot.reload }
    const branch = (shape.anyOf ?? [shape]).find((one) => node.kind === nodeKind(one, node))
    if (!branch) return wrongType(shape, node, { ...inner, caret })
    if (shape.anyOf) return visit(branch, node, inner)
    if (kindOf(branch) === 'open') return checkOpen(branch, node, inner, walk)
    if (node.kind === 'list') return checkList(branch, node, inner, walk)
    if (node.kind === 'scalar') return checkScalar(branch, node, inner, walk)
    if (kindOf(branch) === 'named') return checkNamed(branch, node, inner, walk)
    if (kindOf(branch) === 'choice') return checkChoice(branch, node, inner, walk)
    return checkGroup(branch, node, inner, walk)
  }

  function wrongType(shape: Shape, node: Node, spot: Spot & { caret: Place }): undefined {
    const wantsQuotes = kindOf(shape) === 'text' && node.kind === 'scalar' && node.value !== null
    deps.findings.add({
      code: 'config/wrong-type',
      path: spot.path,
      place: spot.caret,
      message: `${label(spot.path)} is ${given(node)}`,
      mend: wantsQuotes ? 'put it in quotes' : `wanted: ${typeText(shape)}`,
    })
  }

  const value = visit(schema, root, { path: [], keyPlace: root.place, reload: 'restart' })
  return { value, settings, places }
}

function given(node: Node): string {
  if (node.kind === 'map') return 'a group'
  if (node.kind === 'list') return 'a list'
  if (node.value === null) return 'empty'
  if (typeof node.value === 'string') return 'a text'
  return typeof node.value === 'number' ? 'a number' : 'yes or no'
}

/** The kind of node a schema wants; for one that accepts anything, the kind there is. */
function nodeKind(shape: Shape, node: Node): Node['kind'] | undefined {
  const scalarOf = (type: string) =>
    node.kind === 'scalar' && typeof node.value === type ? 'scalar' : undefined
  switch (kindOf(shape)) {
    case 'group':
    case 'choice':
    case 'named':
      return 'map'
    case 'list':
      return 'list'
    case 'open':
      return shape.type === 'object' ? 'map' : node.kind
    case 'number':
      return scalarOf('number')
    case 'flag':
      return scalarOf('boolean')
    case 'words':
      return scalarOf(typeof wordsOf(shape)[0])
    case 'text':
      return scalarOf('string')
    case 'union':
    default:
      return shape.anyOf?.some((one) => nodeKind(one, node) === node.kind) ? node.kind : undefined
  }
}
