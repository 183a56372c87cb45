import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  collectStrings,
  compilePath,
  compilePathToList,
  compilePathToOne,
  optionalAt,
  ShapeError,
} from './answer-path.ts'

function rolesAt(path: string, answer: unknown): string[] {
  const roles: string[] = []
  collectStrings(answer, compilePathToList(path), roles, 100)
  return roles
}

test('each form of path finds the roles', () => {
  const roles = ['a', 'b']
  const items = [{ role: 'a' }, { role: 'b' }]
  assert.deepEqual(rolesAt('roles', { roles }), roles)
  assert.deepEqual(rolesAt('roles[*]', { roles }), roles)
  assert.deepEqual(rolesAt('[*]', roles), roles)
  assert.deepEqual(rolesAt('[*].role', items), roles)
  assert.deepEqual(rolesAt('items[*].role', { items }), roles)
  assert.deepEqual(rolesAt('data.roles[*]', { data: { roles } }), roles)
  assert.deepEqual(rolesAt('a-b.$c._d', { 'a-b': { $c: { _d: roles } } }), roles)
  assert.deepEqual(
    rolesAt('apps[*].roles[*]', { apps: [{ roles: ['a'] }, { roles: ['b'] }] }),
    roles,
  )
})

test('a text where an array of roles should be is not taken for one role', () => {
  assert.throws(() => rolesAt('roles', { roles: 'admin' }), ShapeError)
  assert.throws(() => rolesAt('[*]', 'admin'), ShapeError)
})

test('what is no path is refused', () => {
  for (const path of [
    '',
    '.',
    '.a',
    'a.',
    'a..b',
    'a[0]',
    'a[*',
    '[*]a',
    'a b',
    '1a',
    "a['b']",
    '*',
  ])
    assert.throws(() => compilePath(path), ShapeError, path)
})

test('a path to the next page with [*] is refused: never found, it would end every list at its first page', () => {
  assert.throws(() => compilePathToOne('links[*].next'), ShapeError)
  assert.deepEqual(compilePathToOne('links.next'), ['links', 'next'])
})

test('an optional value may be absent at every level, but not behind something that is no object', () => {
  const path = compilePathToOne('links.next')
  for (const answer of [{}, { links: null }, { links: {} }, { links: { next: null } }])
    assert.equal(optionalAt(answer, path), undefined)
  assert.equal(optionalAt({ links: { next: '?page=2' } }, path), '?page=2')
  for (const answer of ['x', [], { links: '?page=2' }, { links: ['?page=2'] }])
    assert.throws(() => optionalAt(answer, path), ShapeError)
})
