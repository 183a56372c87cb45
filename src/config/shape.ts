/**
 * A look at TypeBox schemas as the plain JSON Schema they are. Checker, environment layer, `config explain`, the
 * reference and the editor schema all walk them; this is the one place that knows how a schema is built.
 */
export interface Shape {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Shape>>
  readonly required?: readonly string[] | undefined
  readonly additionalProperties?: boolean | Shape
  readonly propertyNames?: Shape
  readonly patternProperties?: Readonly<Record<string, Shape>>
  readonly items?: Shape
  readonly anyOf?: readonly Shape[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly uniqueItems?: boolean
  readonly maxProperties?: number
  readonly description?: string
  readonly default?: unknown
  readonly 'x-reload'?: 'hot' | 'restart'
  readonly 'x-kind'?: 'duration' | 'size' | 'rate' | 'url' | 'address' | 'secret'
}

/** What a schema describes. `choice` is a group of which exactly one key is given; `open` is not looked into. */
export type ShapeKind =
  | 'union'
  | 'group'
  | 'choice'
  | 'named'
  | 'list'
  | 'words'
  | 'text'
  | 'number'
  | 'flag'
  | 'open'

/** The kind of a schema. */
export function kindOf(shape: Shape): ShapeKind {
  if (shape.anyOf) return 'union'
  if (shape.enum || shape.const !== undefined) return 'words'
  switch (shape.type) {
    case 'object':
      if (typeof shape.additionalProperties === 'object') return 'named'
      if (shape.additionalProperties !== false) return 'open'
      return shape.maxProperties === 1 ? 'choice' : 'group'
    case 'array':
      return 'list'
    case 'string':
      return 'text'
    case 'integer':
      return 'number'
    case 'boolean':
      return 'flag'
    case undefined:
    default:
      return 'open'
  }
}

/** The words of an enumeration or constant. */
export function wordsOf(shape: Shape): readonly (string | number)[] {
  const words = shape.enum ?? [shape.const]
  return words.filter((word) => typeof word === 'string' || typeof word === 'number')
}

/** The schema of the values of a `named`. */
export function valueShape(shape: Shape): Shape {
  return typeof shape.additionalProperties === 'object' ? shape.additionalProperties : {}
}

/** What stands for the operator's own name in `tenants.<tenant>.clients.<client>`. */
export function placeholder(key: string): string {
  const names: Readonly<Record<string, string>> = { perTarget: '<audience>', roles: '<group>' }
  return names[key] ?? `<${key.replace(/s$/, '')}>`
}

/** The type of a key in words. */
export function typeText(shape: Shape): string {
  switch (kindOf(shape)) {
    case 'union':
      return [...new Set((shape.anyOf ?? []).map(typeText))].join(' or ')
    case 'words':
      return wordsOf(shape)
        .map((word) => `\`${word}\``)
        .join(' | ')
    case 'text':
      return shape['x-kind'] ? KINDS[shape['x-kind']] : 'text'
    case 'number':
      return `whole number ${shape.minimum ?? ''}–${shape.maximum ?? ''}`
    case 'flag':
      return '`true` | `false`'
    case 'list':
      return `list of ${shape.items ? typeText(shape.items) : 'values'}`
    case 'choice':
      return `one of ${Object.keys(shape.properties ?? {})
        .map((key) => `\`${key}\``)
        .join(', ')}`
    case 'named':
      return 'group by name'
    case 'group':
      return 'group'
    case 'open':
    default:
      return shape.properties ? 'JWK set' : 'any'
  }
}

const KINDS = {
  duration: 'duration (`250ms`, `30s`, `12h`, `30d`)',
  size: 'size (`512B`, `16KiB`, `1MiB`)',
  rate: 'rate (`50/s`, `10/m`)',
  url: 'URL',
  address: 'address (`127.0.0.1:8080`)',
  secret: 'secret (`${env:NAME}` or `${file:PATH}`)',
} as const

/** A key as the reference describes it. */
export interface DocumentedKey {
  /** `tenants.<tenant>.idps.<idp>.issuer` */
  readonly pattern: string
  readonly shape: Shape
  readonly required: boolean
  /** Undefined for groups whose keys differ. */
  readonly reload: 'hot' | 'restart' | undefined
}

/** Every key there is, in the order of the schema. */
export function listKeys(root: Shape): readonly DocumentedKey[] {
  const keys: DocumentedKey[] = []
  function visit(shape: Shape, pattern: string, key: string, inherited?: 'hot' | 'restart'): void {
    const reload = shape['x-reload'] ?? inherited
    for (const branch of shape.anyOf ?? []) visit(branch, pattern, key, reload)
    if (kindOf(shape) === 'named') {
      const name = placeholder(key)
      add(valueShape(shape), `${pattern}.${name}`, name, false, reload)
    }
    if (kindOf(shape) === 'list' && shape.items) visit(shape.items, `${pattern}[]`, key, reload)
    if (kindOf(shape) !== 'group' && kindOf(shape) !== 'choice') return
    for (const [name, inner] of Object.entries(shape.properties ?? {})) {
      const path = pattern === '' ? name : `${pattern}.${name}`
      add(inner, path, name, shape.required?.includes(name) ?? false, reload)
    }
  }
  function add(
    shape: Shape,
    pattern: string,
    key: string,
    required: boolean,
    inherited?: 'hot' | 'restart',
  ): void {
    keys.push({ pattern, shape, required, reload: shape['x-reload'] ?? inherited })
    visit(shape, pattern, key, inherited)
  }
  visit(root, '', '')
  return keys
}

/** Every word that the schema itself uses: keys and enumerated values. Never anything an operator wrote. */
export function vocabularyOf(root: Shape): ReadonlySet<string> {
  const words = new Set<string>()
  for (const { shape, pattern } of listKeys(root)) {
    words.add(pattern.slice(pattern.lastIndexOf('.') + 1))
    for (const part of [shape, shape.items, ...(shape.anyOf ?? [])]) {
      for (const word of part ? wordsOf(part) : []) words.add(String(word))
    }
  }
  return words
}
