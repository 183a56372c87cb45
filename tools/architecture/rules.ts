import { builtinModules } from 'node:module'
import { ambientUses } from './ambient.ts'
import { cycles } from './cycles.ts'
import { lastingState } from './lasting-state.ts'
import {
  CONDUCTOR,
  EMPTY_NAMES,
  IO_BUILTINS,
  MOST_LINES,
  PACKAGES,
  placeOf,
  REACH,
  WITHOUT_CLOCK,
  WITHOUT_IO,
} from './plan.ts'
import { type Edge, readSource, type Source } from './source.ts'

/** One place where the house is not built to plan. */
export interface Breach {
  /** Stable name of the rule, for the tests that prove each rule bites. */
  readonly rule: string
  readonly path: string
  readonly line: number
  readonly what: string
}

/** Everything in `files` (path from the root → text) that breaks a rule of the architecture's §3. */
export function breaches(files: ReadonlyMap<string, string>): Breach[] {
  const sources = [...files].map(([path, text]) => readSource(path, text))
  const product = sources.filter(({ path }) => !isTest(path))
  const byPath = new Map(product.map((source) => [source.path, source]))
  return [
    ...sources.flatMap((source) => nameBreaches(source)),
    ...product.flatMap((source) => [
      ...source.edges.flatMap((edge) => edgeBreaches(source, edge, byPath.get(edge.to))),
      ...contentBreaches(source),
    ]),
    ...cycles(product).map(
      ([path = '', ...rest]): Breach => ({
        rule: 'cycle',
        path,
        line: 1,
        what: `imports itself by way of ${rest.join(' → ')}`,
      }),
    ),
  ]
}

/** Tests reach across rooms on purpose; they are held to the naming rules only. */
export function isTest(path: string): boolean {
  return path.endsWith('.test.ts')
}

function nameBreaches({ path }: Source): Breach[] {
  const breach = (rule: string, what: string): Breach => ({ rule, path, line: 1, what })
  const found: Breach[] = []
  const parts = path.replace(/(\.test)?\.[cm]?tsx?$/, '').split('/')
  const empty = parts.flatMap((part) => part.split(/[-.]/)).find((word) => EMPTY_NAMES.has(word))
  if (empty) found.push(breach('empty name', `"${empty}" says nothing about what is inside`))
  if (parts.at(-1) === 'index') found.push(breach('barrel', 'is an index file'))
  if (!placeOf(path.replace('.test.ts', '.ts')))
    found.push(breach('unplanned', 'is in no folder of the plan; tools/architecture/plan.ts'))
  return found
}

function edgeBreaches({ path }: Source, edge: Edge, target: Source | undefined): Breach[] {
  const breach = (rule: string, what: string): Breach[] => [{ rule, path, line: edge.line, what }]
  const from = placeOf(path)
  if (!from) return []
  if (!isRelative(edge)) return packageBreach(path, edge, breach)
  if (!edge.to.startsWith('src/')) return outsideBreach(path, edge, breach)
  if (isTest(edge.to)) return breach('test in product', `imports the test ${edge.to}`)

  const to = placeOf(edge.to)
  if (!to) return breach('unplanned', `imports ${edge.to}, which is in no folder of the plan`)
  if (from.unit === to.unit) return []
  const { values, types = [], options = [] } = REACH[from.layer]
  if (values.includes(to.layer)) return []
  if (edge.typeOnly && types.includes(to.layer)) return []
  if (options.includes(to.layer) && edge.to.endsWith('/options.ts')) return []
  // A port names what its adapters throw, and they have to be able to throw it.
  if (
    from.layer === 'adapters' &&
    types.includes(to.layer) &&
    edge.valueNames.every((name) => target && declaresError(target, name))
  )
    return []
  if (types.includes(to.layer))
    return breach('types only', `takes a value from ${edge.to}; only types may cross here`)
  return breach('direction', `${from.layer} may not import ${to.layer} (${edge.to})`)
}

/** Whether a file says `export class Name extends SomeError`. */
function declaresError({ program }: Source, name: string): boolean {
  return program.body.some((statement) => {
    if (statement.type !== 'ExportNamedDeclaration') return false
    const declared = statement.declaration
    if (declared?.type !== 'ClassDeclaration' || declared.id?.name !== name) return false
    return declared.superClass?.type === 'Identifier' && declared.superClass.name.endsWith('Error')
  })
}

type Report = (rule: string, what: string) => Breach[]

function isRelative(edge: Edge): boolean {
  return /\.[cm]?[jt]sx?$|\.json$/.test(edge.to) && edge.to.includes('/')
    ? !edge.to.startsWith('@')
    : edge.to === 'package.json'
}

/** Product code that names a file outside `src/`: only the demo, and only when the user asked for it. */
function outsideBreach(path: string, edge: Edge, breach: Report): Breach[] {
  if (edge.to === 'package.json') return []
  if (!edge.to.startsWith('demo/'))
    return breach('outside src', `imports ${edge.to}, which is not shipped`)
  // devDependencies hang on the demo: loaded any earlier, a production install would not start.
  if (path === 'src/cli/up.ts' && (edge.kind === 'dynamic' || edge.typeOnly)) return []
  return breach('demo', 'the demo is loaded by cli/up.ts alone, with a dynamic import')
}

function packageBreach(path: string, edge: Edge, breach: Report): Breach[] {
  const place = placeOf(path)
  const name = edge.to.split('/', edge.to.startsWith('@') ? 2 : 1).join('/')
  if (!edge.to.startsWith('node:') && builtinModules.includes(edge.to))
    return breach('built-in', `write node:${edge.to}`)
  if (place?.unit === 'src/policy' && name !== 'typebox' && !edge.typeOnly)
    return breach('pure policy', `policy decides without ${name}`)
  const allowed = PACKAGES[name]
  if (allowed) {
    if (allowed.some((prefix) => path.startsWith(prefix))) return []
    return breach('vendor', `${name} is used only in ${allowed.join(', ') || 'no product code'}`)
  }
  if (!name.startsWith('node:'))
    return breach('vendor', `${name} is not in the plan's list of packages`)
  if (edge.typeOnly || !place || !WITHOUT_IO.has(place.layer) || !IO_BUILTINS.has(name)) return []
  return breach('i/o', `${place.layer} gets disk and network as arguments, not from ${name}`)
}

function contentBreaches(source: Source): Breach[] {
  const { path } = source
  const place = placeOf(path)
  const report = (rule: string, line: number, what: string): Breach => ({ rule, path, line, what })
  const found: Breach[] = []
  for (const line of source.computedImports) {
    // tsc would pull demo/ into the build if up.ts named it in a literal.
    if (path !== 'src/cli/up.ts')
      found.push(report('computed import', line, 'imports a file that no rule can follow'))
  }
  for (const { line, what } of lastingState(source))
    found.push(report('module state', line, `${what} lives as long as the process`))

  const pure = place?.unit === 'src/policy' && !path.endsWith('/options.ts')
  if (pure || (place && WITHOUT_CLOCK.has(place.layer))) {
    for (const { line, what } of ambientUses(source, pure ? 'everything' : 'clock'))
      found.push(
        report(pure ? 'pure policy' : 'clock', line, `reads ${what} instead of being given it`),
      )
  }
  const most = path === CONDUCTOR ? MOST_LINES.conductor : MOST_LINES.file
  if (source.lines > most)
    found.push(report('size', most, `has ${source.lines} lines; at most ${most}`))
  if (isBarrel(source)) found.push(report('barrel', 1, 'only passes on what others export'))
  return found
}

function isBarrel({ program }: Source): boolean {
  const passesOn = program.body.filter(
    (statement) =>
      statement.type === 'ExportAllDeclaration' ||
      (statement.type === 'ExportNamedDeclaration' && !statement.declaration),
  )
  const imports = program.body.filter(({ type }) => type === 'ImportDeclaration')
  return passesOn.length > 0 && passesOn.length + imports.length === program.body.length
}
