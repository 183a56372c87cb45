import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isJsonObject, parseStrictJson, StrictJsonError } from './strict-json.ts'

const BOUNDS = { maxDepth: 16, maxMembers: 100 }

function refused(text: string, bounds = BOUNDS): void {
  assert.throws(() => parseStrictJson(text, bounds), StrictJsonError, text)
}

test('any JSON value within the bounds is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), fc.nat(2), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent)
      const bounds = { maxDepth: 100, maxMembers: 100_000 }
      // Serialised again, since the strict objects have no prototype and deepEqual would see that.
      assert.equal(JSON.stringify(parseStrictJson(text, bounds)), JSON.stringify(JSON.parse(text)))
    }),
  )
})

test('what JSON.parse refuses is refused', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0061 1etrue'.split('')) }),
      (text) => {
        let known: unknown
        try {
          known = JSON.parse(text)
        } catch {
          refused(text)
          return
        }
        try {
          assert.equal(JSON.stringify(parseStrictJson(text, BOUNDS)), JSON.stringify(known))
        } catch (error) {
          assert.ok(error instanceof StrictJsonError)
        }
      },
    ),
    { numRuns: 2000 },
  )
})

test('a duplicate member name is refused at any depth, also when one is spelt with escapes', () => {
  refused('{"a":1,"a":2}')
  refused('{"aud":"x","\\u0061ud":"y"}')
  refused('{"x":[{"a":{"b":1,"c":2,"b":3}}]}')
  refused('{"__proto__":1,"__proto__":2}')
  refused('{"":1,"":1}')
})

test('a duplicate put into any object is refused', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }),
      fc.nat(),
      (object, pick) => {
        const names = Object.keys(object)
        const name = names[pick % names.length] as string
        refused(`{${JSON.stringify(name)}:null,${JSON.stringify(object).slice(1)}`, {
          maxDepth: 100,
          maxMembers: 100_000,
        })
      },
    ),
  )
})

test('the same name in two objects, and colons or quotes inside texts, are no duplicates', () => {
  assert.ok(parseStrictJson('[{"a":1},{"a":1}]', BOUNDS))
  assert.ok(parseStrictJson('{"a":"b\\":\\\\","c":":::"}', BOUNDS))
})

test('__proto__ and constructor are inert names, and nothing is inherited', () => {
  const value = parseStrictJson('{"__proto__":{"admin":true},"a":{}}', BOUNDS)
  assert.ok(isJsonObject(value))
  assert.equal(Object.getPrototypeOf(value), null)
  assert.equal(value['admin'], undefined)
  assert.equal(value['constructor'], undefined)
  assert.deepEqual(Object.keys(value), ['__proto__', 'a'])
  assert.equal(({} as Record<string, unknown>)['admin'], undefined)
})

test('a text nested too deeply is refused before it is built: ten thousand arrays, or one too many', () => {
  refused('['.repeat(10_000))
  refused('['.repeat(10_000) + ']'.repeat(10_000))
  refused('['.repeat(17) + ']'.repeat(17))
  assert.ok(parseStrictJson('['.repeat(16) + ']'.repeat(16), BOUNDS))
})

test('a text with too many members or elements is refused', () => {
  const members = Array.from({ length: 100_000 }, (_, index) => `"k${index}":0`).join()
  refused(`{${members}}`)
  refused(`[${'0,'.repeat(200)}0]`)
  refused(`[${'{},'.repeat(60)}{}]`)
})

test('lone surrogates are refused, as they are or escaped, in names and values; pairs are not', () => {
  refused('{"a":"\\ud800"}')
  refused('{"\\udc00":1}')
  refused('{"a":"\ud800"}')
  assert.ok(parseStrictJson('{"a":"\\ud83d\\ude00"}', BOUNDS))
})

test('a byte order mark, trailing text and an unended string are refused', () => {
  refused('\ufeff{}')
  refused('{} {}')
  refused('{"a')
  refused('{"a\\"')
})

test('an error says which rule was broken and nothing of the text', () => {
  assert.throws(
    () => parseStrictJson('{"secret-value"', BOUNDS),
    (error: Error) => error.message === 'not JSON' && error.cause === undefined,
  )
})
