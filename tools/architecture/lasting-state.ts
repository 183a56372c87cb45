import { isNode, lineAt, type Node, type Source, tree } from './source.ts'

/** Something a module keeps for as long as the process lives. */
interface Lasting {
  readonly line: number
  readonly what: string
}

const COLLECTIONS = new Set(['Map', 'Set', 'WeakMap', 'WeakSet', 'Array'])

/**
 * State at the top level of a module: `let`, `var`, and collections that start empty, which can only be there to be
 * filled. Two deployments in one process would share it, and tests would depend on their order.
 */
export function lastingState(source: Source): Lasting[] {
  const found: Lasting[] = []
  for (const statement of tree(source)['body'] as readonly Node[]) {
    const declaration =
      statement.type === 'ExportNamedDeclaration' ? statement['declaration'] : statement
    if (!isNode(declaration) || declaration.type !== 'VariableDeclaration') continue
    const line = lineAt(source.text, declaration.start)
    if (declaration['kind'] !== 'const')
      found.push({ line, what: `a top-level ${String(declaration['kind'])}` })
    else
      for (const { init } of declaration['declarations'] as readonly { readonly init: unknown }[])
        if (isNode(init) && startsEmpty(init))
          found.push({ line, what: 'an empty top-level collection' })
  }
  return found
}

function startsEmpty(init: Node): boolean {
  if (init.type === 'ArrayExpression') return (init['elements'] as unknown[]).length === 0
  if (init.type !== 'NewExpression') return false
  const name = (init['callee'] as Node)['name']
  return COLLECTIONS.has(String(name)) && (init['arguments'] as unknown[]).length === 0
}
