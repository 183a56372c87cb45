import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { normaliseRoles, unionOfRoles } from './normalise.ts'
import { SourceFailure } from './source.ts'

const role = fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }).filter((text) => {
  return !/[\p{Cc}\u2028\u2029]/u.test(text)
})

test('the result does not depend on order, duplicates or how roles are spread over sources', () => {
  fc.assert(
    fc.property(fc.array(role), fc.array(fc.nat()), fc.nat(5), (roles, picks, cut) => {
      const repeated = [...roles, ...picks.flatMap((pick) => roles.slice(pick % 5, (pick % 5) + 1))]
      const shuffled = repeated.toReversed()
      const expected = normaliseRoles('hr', roles)
      assert.deepEqual(normaliseRoles('hr', shuffled), expected)
      const halves = [shuffled.slice(0, cut), shuffled.slice(cut)]
      assert.deepEqual(unionOfRoles(halves.map((half) => normaliseRoles('hr', half))), expected)
      assert.equal(new Set(expected).size, expected.length)
    }),
  )
})

test('one role that cannot be a role spoils the answer', () => {
  const bad = ['', 'x'.repeat(257), 'a\r\nb', 'a\0', '\u0085', '\u2028', '\ud800', '\u007f', '\t']
  for (const one of bad) {
    assert.throws(
      () => normaliseRoles('hr', ['fine', one]),
      (error) =>
        error instanceof SourceFailure && error.kind === 'contract' && error.source === 'hr',
    )
  }
})

test('quotes, markup and any script are only text', () => {
  const roles = ['"', '<script>', "'; --", 'Ä', 'x'.repeat(256), '役割', '💥', ' a ']
  assert.equal(normaliseRoles('hr', roles).length, roles.length)
})

test('case and Unicode form make different roles, as nobody said that they are the same', () => {
  assert.equal(normaliseRoles('hr', ['Admin', 'admin', 'é', 'e\u0301']).length, 4)
})
