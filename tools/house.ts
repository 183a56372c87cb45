/** Prints the numbers of the architecture's "Sizes to aim for" (§3), measured on the tree as it is. */
import { isTest } from './architecture/rules.ts'
import {
  type Node,
  readFolder,
  readSource,
  type Source,
  tree,
  walk,
} from './architecture/source.ts'
import { ROOT } from './run-tests.ts'

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression'])

interface LongFunction {
  readonly path: string
  readonly line: number
  readonly lines: number
}

function linesBetween(text: string, from: number, to: number): number {
  return text.slice(from, to).split('\n').length
}

/**
 * The longest function, leaving out those that mostly hold others: `createX(deps)` returns its functions, and its
 * length says how many there are, not how long a reader must hold one thought.
 */
function longestFunction(sources: readonly Source[]): LongFunction {
  const all = sources.flatMap((source) => {
    const found: LongFunction[] = []
    walk(tree(source), (node) => {
      if (!FUNCTIONS.has(node.type)) return
      const lines = ownLines(source, node)
      found.push({ path: source.path, line: linesBetween(source.text, 0, node.start), lines })
    })
    return found
  })
  return all.reduce((a, b) => (b.lines > a.lines ? b : a), { path: '-', line: 0, lines: 0 })
}

/** Lines of a function without those of the longer functions (over three lines) inside it. */
function ownLines(source: Source, node: Node): number {
  let inner = 0
  const visit = (child: Node) => {
    if (child !== node && FUNCTIONS.has(child.type)) {
      const lines = linesBetween(source.text, child.start, child.end)
      if (lines > 3) {
        inner += lines
        return
      }
    }
    for (const value of Object.values(child)) {
      for (const next of Array.isArray(value) ? value : [value])
        if (typeof next === 'object' && next !== null && 'type' in next) visit(next as Node)
    }
  }
  visit(node)
  return linesBetween(source.text, node.start, node.end) - inner
}

/** Lines that hold nothing but comment, as a share of lines that hold anything. */
function commentShare(sources: readonly Source[]): number {
  let comment = 0
  let filled = 0
  for (const { text, comments } of sources) {
    let bare = text
    for (const { start, end } of comments)
      bare = bare.slice(0, start) + text.slice(start, end).replace(/[^\n]/g, ' ') + bare.slice(end)
    const left = bare.split('\n')
    text.split('\n').forEach((line, at) => {
      if (line.trim() === '') return
      filled++
      if (left[at]?.trim() === '') comment++
    })
  }
  return comment / filled
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

const sources = [...readFolder(ROOT, 'src')].map(([path, text]) => readSource(path, text))
const product = sources.filter(({ path }) => !isTest(path))
const lengths = product.map(({ lines }) => lines).toSorted((a, b) => a - b)
const productLines = lengths.reduce((a, b) => a + b, 0)
const crossing = [...readFolder(ROOT, 'test')].map(([path, text]) => readSource(path, text))
const testLines = [...sources.filter(({ path }) => isTest(path)), ...crossing]
  .map(({ lines }) => lines)
  .reduce((a, b) => a + b, 0)
const longest = longestFunction(product)
const largest = product.reduce((a, b) => (b.lines > a.lines ? b : a))

const numbers: readonly (readonly [string, string, string])[] = [
  ['files', String(product.length), ''],
  ['lines', String(productLines), ''],
  ['median file', `${quantile(lengths, 0.5)} lines`, '60 to 130'],
  ['90th percentile', `${quantile(lengths, 0.9)} lines`, 'up to 250'],
  ['largest file', `${largest.lines} lines  ${largest.path}`, 'up to 400'],
  ['longest function', `${longest.lines} lines  ${longest.path}:${longest.line}`, 'up to 60'],
  ['comment share', `${(commentShare(product) * 100).toFixed(0)} %`, '15 to 25 %'],
  ['test : src lines', (testLines / productLines).toFixed(2), '1.5 to 2.5'],
]
for (const [what, figure, aim] of numbers)
  console.log(`${what.padEnd(18)}${figure.padEnd(52)}${aim === '' ? '' : `aim: ${aim}`}`.trimEnd())
