import { basename, dirname, join, relative } from 'node:path'
import type { ConfigFiles } from './files.ts'
import { nearest } from './nearest.ts'
import { parseSource } from './parse.ts'
import { type Findings, quoted } from './problem.ts'
import { errorCode, pathFrom, type References } from './references.ts'
import { revealKey } from './reveal.ts'
import { createSource } from './source.ts'
import type { Entry, Node, Path, Place } from './tree.ts'
import { placeText } from './tree.ts'

/** What {@link readFile} and {@link applyIncludes} need. */
export interface IncludeDeps {
  readonly files: ConfigFiles
  /** Folder of the main file. */
  readonly folder: string
  readonly findings: Findings
}

/** Reads and parses one file; undefined, and reported at `place`, when that cannot be done. */
export function readFile(
  path: string,
  place: Place,
  keyPath: Path,
  { files, folder, findings }: IncludeDeps,
): Node | undefined {
  let text: string
  try {
    // A byte order mark is no part of the document, and would shift the columns of line 1.
    text = files.read(path).replace(/^\uFEFF/, '')
  } catch (error) {
    findings.add({
      code: 'config/missing-file',
      path: keyPath,
      place,
      message: `file ${path} cannot be read (${errorCode(error)})`,
      mend: 'check the path and its permissions',
    })
    return undefined
  }
  const source = createSource(relative(folder, path).replaceAll('\\', '/'), dirname(path), text)
  return parseSource(source, findings)
}

/** Adds the tenants of every included file to the tree. */
export function applyIncludes(root: Node, references: References, deps: IncludeDeps): Node {
  if (root.kind !== 'map') return root
  const include = root.entries.get('include')?.value
  const wanted = include?.kind === 'list' ? include.items : include ? [include] : []
  const own = root.entries.get('tenants')
  const tenants = new Map(own?.value.kind === 'map' ? own.value.entries : [])
  let first: Entry | undefined
  for (const item of wanted) {
    if (item.kind !== 'scalar' || typeof item.value !== 'string') continue // the checker says so
    const pattern = references.expand(item.value, item.place, ['include'])
    if (pattern === undefined) continue
    for (const path of matching(pattern, item.place, deps)) {
      const file = readFile(path, item.place, ['include'], deps)
      const entry = file && tenantsOf(file, deps.findings)
      first ??= entry
      if (entry?.value.kind === 'map') merge(tenants, entry.value.entries, deps.findings)
    }
  }
  // What is no group stays for the checker to complain about.
  if (!first || (own && own.value.kind !== 'map')) return root
  const entry = own ?? first
  const value: Node = { kind: 'map', place: entry.value.place, entries: tenants }
  const entries = new Map(root.entries).set('tenants', { keyPlace: entry.keyPlace, value })
  return { ...root, entries }
}

/** The files a pattern means, in order of their names, so that every replica reads them alike. */
function matching(
  pattern: string,
  place: Place,
  { files, folder, findings }: IncludeDeps,
): string[] {
  const path = pathFrom(folder, pattern)
  const parent = dirname(path)
  if (!basename(path).includes('*') && !parent.includes('*')) return [path]
  const report = (message: string, mend: string, severity: 'error' | 'warning') =>
    findings.add({ code: 'config/missing-file', path: ['include'], place, message, mend, severity })
  if (parent.includes('*')) {
    report('* stands in the name of a folder', 'use * in the last part of the path only', 'error')
    return []
  }
  const parts = basename(path).split('*').map(escapeForRegExp)
  const wanted = new RegExp(`^${parts.join('.*')}$`, 's')
  let names: readonly string[] = []
  try {
    names = files.list?.(parent) ?? []
  } catch (error) {
    report(`folder ${parent} cannot be read (${errorCode(error)})`, 'check the path', 'error')
    return []
  }
  // Editors and Kubernetes keep hidden copies (`.acme.yaml.swp`, `..data`) beside the files.
  const found = names.filter((name) => wanted.test(name) && !name.startsWith('.')).toSorted()
  if (found.length === 0) report(`no file matches ${quoted(pattern)}`, 'check the path', 'warning')
  return found.map((name) => join(parent, name))
}

function escapeForRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function tenantsOf(file: Node, findings: Findings): Entry | undefined {
  const refuse = (place: Place, message: string, mend: string) =>
    findings.add({ code: 'config/unknown-key', path: [], place, message, mend })
  if (file.kind !== 'map') {
    refuse(file.place, 'an included file holds tenants only', 'begin it with tenants:')
    return undefined
  }
  for (const [key, { keyPlace }] of file.entries) {
    if (key === 'tenants') continue
    revealKey(key, keyPlace)
    const typo = nearest(key, ['tenants'])
    const mend = typo ? 'did you mean "tenants"?' : 'move it to the main file'
    refuse(keyPlace, 'an included file holds tenants only', mend)
  }
  const tenants = file.entries.get('tenants')
  if (tenants) revealKey('tenants', tenants.keyPlace)
  if (tenants && tenants.value.kind !== 'map') {
    findings.add({
      code: 'config/wrong-type',
      path: ['tenants'],
      place: tenants.keyPlace,
      message: 'tenants is not a group',
      mend: 'write tenants below it, indented, each with its name as key',
    })
    return undefined
  }
  return tenants
}

function merge(
  tenants: Map<string, Entry>,
  more: ReadonlyMap<string, Entry>,
  findings: Findings,
): void {
  for (const [name, entry] of more) {
    const before = tenants.get(name)
    if (before) {
      findings.add({
        code: 'config/duplicate-key',
        path: ['tenants', name],
        place: entry.keyPlace,
        message: `tenant ${quoted(name)} is also at ${placeText(before.keyPlace)}`,
        mend: 'keep one of them',
      })
    } else tenants.set(name, entry)
  }
}
