import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { originalText, storedKey, storedText } from './ledger-row.ts'

/** Any UTF-16, lone surrogates and control characters included. */
const anyText = fc
  .array(fc.oneof(fc.constantFrom(0, 1, 0xd800, 0xdc00, 0x22), fc.integer({ min: 0, max: 0xffff })))
  .map((units) => String.fromCharCode(...units))

test('every text can be stored and comes back as it was', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const stored = storedText(text)
      assert.ok(stored.isWellFormed() && !stored.includes('\0'))
      assert.equal(originalText(stored), text)
    }),
  )
})

test('an ordinary text is stored as it is, so that an operator finds it', () => {
  assert.equal(storedText('login|ada'), 'login|ada')
  assert.equal(storedKey('login|ada'), 'login|ada')
})

test('two keys are stored as one only when they are one, and none is longer than an index takes', () => {
  fc.assert(
    fc.property(anyText, anyText, fc.nat(2000), (a, b, padding) => {
      const [one, two] = [a + 'x'.repeat(padding), b + 'x'.repeat(padding)]
      assert.equal(storedKey(one) === storedKey(two), one === two)
      assert.ok(storedKey(one).length <= 512)
    }),
  )
})
