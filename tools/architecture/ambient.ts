import { children, lineAt, type Node, type Source, tree } from './source.ts'

/** A use of something the code should have been given. */
interface Use {
  readonly line: number
  readonly what: string
}

/** Globals that give a different answer on the next call or reach outside the process. */
const IMPURE_GLOBALS = new Set([
  'console',
  'crypto',
  'fetch',
  'globalThis',
  'performance',
  'process',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
])

/** Exports of lib that are the machine's own clock and randomness. */
const IMPURE_IMPORTS = new Set(['systemClock', 'createSystemRandom'])

/** Members of `Date` that are plain arithmetic. */
const PURE_DATE = new Set(['UTC', 'parse', 'prototype'])

/**
 * Where a file reads the time or draws randomness by itself (`clock`), or touches anything that is not its arguments
 * (`everything`).
 */
export function ambientUses(source: Source, reach: 'clock' | 'everything'): Use[] {
  const found: Use[] = []
  const add = (node: Node, what: string) =>
    found.push({ line: lineAt(source.text, node.start), what })
  const visit = (node: Node, parent: Node | undefined): void => {
    if (node.type === 'Identifier' && !isOnlyAName(node, parent)) {
      const name = node['name'] as string
      if (name === 'Date' && !isPureDate(parent)) add(node, 'the time (Date)')
      if (name === 'Math' && memberName(parent) === 'random') add(node, 'Math.random')
      if (reach === 'everything' && IMPURE_GLOBALS.has(name)) add(node, name)
      if (IMPURE_IMPORTS.has(name)) add(node, name)
    }
    for (const child of children(node)) if (isRun(child)) visit(child, node)
  }
  visit(tree(source), undefined)
  return found
}

/** `new Date(seconds)` and `Date.UTC(…)` compute; `new Date()`, `Date()` and `Date.now` look at the clock. */
function isPureDate(parent: Node | undefined): boolean {
  if (parent?.type === 'NewExpression') return (parent['arguments'] as unknown[]).length > 0
  return PURE_DATE.has(memberName(parent) ?? '')
}

function memberName(parent: Node | undefined): string | undefined {
  if (parent?.type !== 'MemberExpression') return undefined
  const property = parent['property'] as Node
  return (property['name'] ?? property['value']) as string | undefined
}

/** The `now` of `clock.now` and the key of `{ process: … }` are names, not references. */
function isOnlyAName(node: Node, parent: Node | undefined): boolean {
  if (!parent || parent['computed'] === true) return false
  if (parent.type === 'MemberExpression') return parent['property'] === node
  if (parent.type === 'Property') return parent['key'] === node && parent['shorthand'] !== true
  return parent.type === 'PropertyDefinition' || parent.type === 'MethodDefinition'
    ? parent['key'] === node
    : false
}

/** Types are erased before anything runs; `x as T` and its like still hold an expression. */
function isRun(node: Node): boolean {
  return (
    !node.type.startsWith('TS') ||
    ['TSAsExpression', 'TSSatisfiesExpression', 'TSNonNullExpression'].includes(node.type)
  )
}
