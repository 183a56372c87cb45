import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import Schema from 'typebox/schema'
import { parse } from 'yaml'
import { explanations } from './explain.ts'
import { editorSchema, editorSchemaText } from './json-schema.ts'
import { referenceText } from './reference.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

test('docs/config.md is what the schema says', () => {
  assert.equal(read('docs/config.md'), referenceText(), 'run: node tools/config-reference.ts')
})

test('rolemint.schema.json is what the schema says', () => {
  assert.equal(
    read('rolemint.schema.json'),
    editorSchemaText(),
    'run: node tools/config-reference.ts',
  )
})

test('every key says what it means, and every single value when a change takes effect', () => {
  for (const { key, type, description, reload } of explanations()) {
    assert.notEqual(description, '', key)
    if (!/^group|^one of/.test(type)) assert.ok(reload, key)
  }
})

const isValid = (yaml: string) => Schema.Check(editorSchema(), parse(yaml))

test('the editor schema takes references in any text, and included files, and refuses the rest', () => {
  const tenant = `tenants: { acme: { issuer: https://a.example, clients: {}, idps: {}, tokens: { ttl: TTL } } }`

  assert.equal(isValid(`version: 1\n${tenant.replace('TTL', '12h')}`), true)
  assert.equal(isValid(`version: 1\n${tenant.replace('TTL', '"${env:TTL}"')}`), true)
  assert.equal(isValid(tenant.replace('TTL', '12h')), true)
  assert.equal(isValid(`version: 1\n${tenant.replace('TTL', '12')}`), false)
  assert.equal(isValid(`version: 1\n${tenant.replace('ttl', 'tll')}`), false)
  assert.equal(isValid(`cache: memory\n${tenant.replace('TTL', '12h')}`), false)
  assert.equal(isValid('version: 1\nkeys: { store: { sealed: { kek: literal } } }'), false)
})
