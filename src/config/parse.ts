import { isMap, isScalar, isSeq, type ParsedNode, parseDocument, type YAMLError } from 'yaml'
import type { Findings } from './problem.ts'
import type { Source } from './source.ts'
import type { Entry, Node, Path, Place } from './tree.ts'

/** A configuration of a thousand tenants is well below this; more is an accident or an attack on the parser. */
const LONGEST_FILE = 8 * 1024 * 1024
const DEEPEST = 32
const MOST_SYNTAX_ERRORS = 3

/** Our sentences for what the YAML parser finds; its own would repeat parts of the file, which may be a secret. */
const SYNTAX: Readonly<Record<string, readonly [message: string, mend: string]>> = {
  BAD_INDENT: [
    'the indentation does not fit',
    'indent the keys of one group alike, and close brackets',
  ],
  BAD_SCALAR_START: ['a plain value cannot start with this sign', 'put the value in quotes'],
  BAD_DQ_ESCAPE: [
    'no such escape in double quotes',
    'use single quotes, in which nothing is special',
  ],
  BLOCK_AS_IMPLICIT_KEY: ['two keys on one line', 'start a new line, or put the value in quotes'],
  MISSING_CHAR: [
    'a sign is missing',
    'close the quote or bracket, or put a colon and a space after the key',
  ],
  MULTILINE_IMPLICIT_KEY: [
    'a key runs over several lines',
    'put a colon and a space after the key, and check the indentation',
  ],
  MULTIPLE_DOCS: ['a second document begins', 'remove the line with ---'],
  NON_STRING_KEY: ['a key is not a text', 'write the key as a plain word'],
  TAB_AS_INDENT: ['a tab is used as indentation', 'use spaces'],
  UNEXPECTED_TOKEN: ['nothing fits here', 'check brackets, quotes and commas before this place'],
  RESOURCE_EXHAUSTION: ['the nesting is too deep', 'nest less'],
}

/**
 * Reads strict YAML 1.2: one document, text keys, no anchors or aliases (a few lines of them can grow to
 * gigabytes), no tags, no merge keys, no directives, nothing twice. What is refused is reported; the result
 * is undefined when nothing sensible remains.
 */
export function parseSource(source: Source, findings: Findings): Node | undefined {
  const at = (start: number, end = start + 1): Place => ({ kind: 'file', source, start, end })
  const refuse = (place: Place, message: string, mend: string) =>
    findings.add({ code: 'config/syntax', path: [], place, message, mend })
  if (source.text.length > LONGEST_FILE) {
    refuse(at(0), 'the file is longer than 8 MiB', 'split it with include')
    return undefined
  }
  const document = parseDocument(source.text, {
    version: '1.2',
    schema: 'core',
    strict: true,
    stringKeys: true,
    uniqueKeys: false,
    merge: false,
    resolveKnownTags: false,
    prettyErrors: false,
    logLevel: 'error',
  })
  if (document.errors.length > 0) {
    for (const error of distinctLines(document.errors, source)) {
      const [message, mend] = SYNTAX[error.code] ?? SYNTAX['UNEXPECTED_TOKEN'] ?? ['', '']
      refuse(at(error.pos[0], error.pos[1]), message, mend)
    }
    return undefined
  }
  // A line that begins with % is a directive before the document, and nothing special within it.
  const directive = /^%/m.exec(source.text)
  const begin = document.contents?.range[0] ?? source.text.length
  if (directive && directive.index < begin) {
    refuse(
      at(directive.index),
      'YAML directives are not accepted',
      'remove the line; the file is YAML 1.2',
    )
    return undefined
  }
  if (document.contents === null) return { kind: 'map', place: at(0), entries: new Map() }
  return convert(document.contents, source, findings)
}

/** One complaint a line: what follows on the same line is nearly always its echo. */
function distinctLines(errors: readonly YAMLError[], source: Source): readonly YAMLError[] {
  const byLine = new Map<number, YAMLError>()
  for (const error of errors.toSorted((a, b) => a.pos[0] - b.pos[0])) {
    const { line } = source.position(error.pos[0])
    if (!byLine.has(line)) byLine.set(line, error)
  }
  return [...byLine.values()].slice(0, MOST_SYNTAX_ERRORS)
}

function convert(root: ParsedNode, source: Source, findings: Findings): Node | undefined {
  const placeOf = (node: ParsedNode): Place => {
    const [start, end] = node.range
    return { kind: 'file', source, start, end }
  }
  const refuse = (node: ParsedNode, path: Path, message: string, mend: string): undefined =>
    findings.add({ code: 'config/syntax', path, place: placeOf(node), message, mend })

  function visit(node: ParsedNode, path: Path): Node | undefined {
    if (path.length > DEEPEST) return refuse(node, path, 'the nesting is too deep', 'nest less')
    const place = placeOf(node)
    if (isScalar(node)) source.token(node.range[0], node.range[1])
    // An alias is neither map nor list nor scalar.
    if (('anchor' in node && node.anchor) || !(isScalar(node) || isMap(node) || isSeq(node))) {
      return refuse(node, path, 'anchors and aliases are not accepted', 'write the value out')
    }
    if (node.tag) return refuse(node, path, 'tags are not accepted', 'remove the tag')
    if (isScalar(node)) return { kind: 'scalar', place, value: plainScalar(node.value) }
    if (isSeq(node)) {
      const items = node.items.map((item, index) => visit(item, [...path, index]))
      return { kind: 'list', place, items: items.filter((item) => item !== undefined) }
    }
    return visitMap(node.items, place, path)
  }

  function visitMap(
    pairs: readonly { key: ParsedNode; value: ParsedNode | null }[],
    place: Place,
    path: Path,
  ): Node {
    const entries = new Map<string, Entry>()
    for (const { key, value } of pairs) {
      const keyNode = visit(key, path)
      if (keyNode?.kind !== 'scalar') continue
      const name = String(keyNode.value)
      const keyPlace = keyNode.place
      if (name === '<<') {
        refuse(key, path, 'merge keys are not accepted', 'write the keys out')
      } else if (entries.has(name)) {
        findings.add({
          code: 'config/duplicate-key',
          path: [...path, name],
          place: keyPlace,
          message: 'this key is there twice',
          mend: 'keep one of them',
        })
      } else {
        const empty: Node = { kind: 'scalar', place: keyPlace, value: null }
        const inner = value === null ? empty : visit(value, [...path, name])
        if (inner) entries.set(name, { keyPlace, value: inner })
      }
    }
    return { kind: 'map', place, entries }
  }

  return visit(root, [])
}

function plainScalar(value: unknown): string | number | boolean | null {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
    return value
  return null
}
