import { configShape } from './schema.ts'
import { kindOf, type Shape } from './shape.ts'

const REFERENCE = '\\$\\{(env|file):[^}\\s]+\\}'

/**
 * The JSON Schema for editors, as it lies at the root of the repository. It is a little wider than the schema the
 * loader uses: any text may hold a reference, and an included file holds tenants only.
 */
export function editorSchema(): Record<string, unknown> {
  const schema = withReferences(configShape)
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'rolemint configuration',
    ...schema,
    required: [],
    anyOf: [{ required: ['version'] }, { propertyNames: { const: 'tenants' } }],
  }
}

/** The text of `rolemint.schema.json`. */
export function editorSchemaText(): string {
  return `${JSON.stringify(editorSchema(), null, 2)}\n`
}

function withReferences(shape: Shape): Shape {
  const kind = kindOf(shape)
  const { items, properties, anyOf, additionalProperties } = shape
  if (kind === 'text' && shape['x-kind'] !== 'secret' && shape.pattern !== undefined)
    return { ...shape, pattern: `(${shape.pattern})|${REFERENCE}` }
  if (kind === 'words' && typeof (shape.enum?.[0] ?? shape.const) === 'string') {
    const { description, 'x-reload': reload, default: fallback, ...words } = shape
    const about = { description, 'x-reload': reload, default: fallback }
    return { ...defined(about), anyOf: [words, { type: 'string', pattern: REFERENCE }] }
  }
  if (kind === 'open') return shape
  return {
    ...shape,
    ...(items && { items: withReferences(items) }),
    ...(anyOf && { anyOf: anyOf.map(withReferences) }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: withReferences(additionalProperties),
    }),
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([key, inner]) => [key, withReferences(inner)]),
      ),
    }),
  }
}

function defined(members: Record<string, unknown>): Shape {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
}
