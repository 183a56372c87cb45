import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { type Comment, type Program, parseSync } from 'oxc-parser'

/** How one file names another: each way is a way round a rule that looks only at `import … from`. */
export type EdgeKind = 'import' | 're-export' | 'dynamic' | 'type query' | 'url'

/** One file naming another file or a package. */
export interface Edge {
  readonly kind: EdgeKind
  /** Only types cross: nothing of the target runs because of this edge. */
  readonly typeOnly: boolean
  /** Path from the root of the repository for a relative specifier, else the package as written. */
  readonly to: string
  /** Values taken by name, `*` for all or none: a side effect takes whatever the file does. */
  readonly valueNames: readonly string[]
  readonly line: number
}

/** A TypeScript file as the house rules see it. */
export interface Source {
  /** From the root of the repository, with `/`. */
  readonly path: string
  readonly text: string
  readonly lines: number
  readonly edges: readonly Edge[]
  /** Lines of dynamic imports whose target is computed, so that no rule can follow them. */
  readonly computedImports: readonly number[]
  readonly program: Program
  readonly comments: readonly Comment[]
}

/** A syntax tree node, as far as walking needs it. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** True for anything that is a node of a syntax tree. */
export function isNode(value: unknown): value is Node {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { type?: unknown }).type === 'string'
  )
}

/** The nodes directly below `node`. */
export function children(node: Node): Node[] {
  return Object.values(node).flatMap((value) =>
    Array.isArray(value) ? value.filter(isNode) : isNode(value) ? [value] : [],
  )
}

/** Calls `visit` for `node` and everything below it. */
export function walk(node: Node, visit: (node: Node) => void): void {
  visit(node)
  for (const child of children(node)) walk(child, visit)
}

/** The tree of a parsed file, as plain nodes. */
export function tree(source: Source): Node {
  return source.program as unknown as Node
}

/** Line, counted from 1, of a position in the text. */
export function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length
}

/** Reads one file: every import, re-export, dynamic import, `import('x').Type` and `new URL('x', import.meta.url)`. */
export function readSource(path: string, text: string): Source {
  const { program, module, comments, errors } = parseSync(path, text)
  if (errors[0]) throw new SyntaxError(`${path}: ${errors[0].message}`)
  const edges: Edge[] = []
  const add = (
    kind: EdgeKind,
    specifier: string,
    at: number,
    typeOnly: boolean,
    valueNames: readonly string[],
  ) => {
    const to = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : specifier
    edges.push({ kind, typeOnly, to, valueNames, line: lineAt(text, at) })
  }

  for (const { moduleRequest, entries, start } of module.staticImports) {
    // `import './x.ts'` has no entries and runs the whole of x: `every` alone would call it types only.
    const typeOnly = entries.length > 0 && entries.every((entry) => entry.isType)
    const values = entries.filter((entry) => !entry.isType)
    const names = values.map(({ importName }) => importName.name ?? '*')
    add('import', moduleRequest.value, start, typeOnly, names.length > 0 ? names : ['*'])
  }
  for (const { entries } of module.staticExports) {
    for (const { moduleRequest, importName, isType, start } of entries) {
      if (!moduleRequest) continue
      add('re-export', moduleRequest.value, start, isType, [importName.name ?? '*'])
    }
  }
  const computedImports: number[] = []
  walk(program as unknown as Node, (node) => {
    if (node.type === 'ImportExpression') {
      const target = literal(node['source'])
      if (target === undefined) computedImports.push(lineAt(text, node.start))
      else add('dynamic', target, node.start, false, ['*'])
    }
    if (node.type === 'TSImportType') {
      const target = literal(node['source'])
      if (target !== undefined) add('type query', target, node.start, true, ['*'])
    }
    const file = fileBesideModule(node)
    if (file !== undefined) add('url', file, node.start, false, ['*'])
  })
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  return { path, text, lines, edges, computedImports, program, comments }
}

/** The text of a string literal or of a template without holes. */
function literal(node: unknown): string | undefined {
  if (!isNode(node)) return undefined
  if (node.type === 'Literal' && typeof node['value'] === 'string') return node['value']
  if (node.type !== 'TemplateLiteral') return undefined
  const parts = node['quasis'] as readonly { readonly value: { readonly cooked: string } }[]
  return parts.length === 1 ? parts[0]?.value.cooked : undefined
}

/** `./worker.ts` of `new URL('./worker.ts', import.meta.url)`: how a worker thread names the file it runs. */
function fileBesideModule(node: Node): string | undefined {
  if (node.type !== 'NewExpression') return undefined
  const callee = node['callee'] as Node
  const [target, base] = node['arguments'] as readonly Node[]
  if (callee['name'] !== 'URL' || base?.type !== 'MemberExpression') return undefined
  const file = literal(target) ?? withComputedEnding(target)
  return file !== undefined && /^\.{1,2}\/.*\.[cm]?[jt]s$/.test(file) ? file : undefined
}

/** `./worker.ts` of `./worker${ending}`: a file that is `.ts` from source and `.js` when built. */
function withComputedEnding(node: Node | undefined): string | undefined {
  if (node?.type !== 'TemplateLiteral') return undefined
  const [stem, end, more] = node['quasis'] as readonly {
    readonly value: { readonly cooked: string }
  }[]
  return stem && end?.value.cooked === '' && !more ? `${stem.value.cooked}.ts` : undefined
}

/** Every TypeScript file below `folder`, by its path from `root`. */
export function readFolder(root: string, folder: string): Map<string, string> {
  const names = readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })
  const paths = names
    .map((name) => posix.join(folder, name.replaceAll('\\', '/')))
    .filter((path) => /\.[cm]?tsx?$/.test(path) && !path.includes('node_modules/'))
    .toSorted()
  return new Map(paths.map((path) => [path, readFileSync(`${root}/${path}`, 'utf8')]))
}
