/** Writes docs/config.md and rolemint.schema.json from the configuration schema: `node tools/config-reference.ts`. */
import { writeFileSync } from 'node:fs'
import { editorSchemaText } from '../src/config/json-schema.ts'
import { referenceText } from '../src/config/reference.ts'

const root = new URL('../', import.meta.url)
writeFileSync(new URL('docs/config.md', root), referenceText())
writeFileSync(new URL('rolemint.schema.json', root), editorSchemaText())
