import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { judge, numberAt, parseJsonOutput } from './proof.ts'
import { type Proved, replaceSection } from './proof-page.ts'

const made = { date: '2026-01-02', commit: 'abc1234' }
const proved: Proved = {
  ok: true,
  id: '1.a',
  figure: '5 passed',
  what: 'a holds',
  commands: ["npx node --test --test-name-pattern='x|y' a.test.ts"],
}

suite('the page of proofs', () => {
  test('a section is put in, replaced by the next run, and leaves the others alone', () => {
    const first = replaceSection('', '2', [proved], made)
    const both = replaceSection(first, '1', [proved], made)
    const again = replaceSection(both, '1', [{ ...proved, ok: false, figure: '1 failed' }], made)
    assert.deepEqual(both.match(/^## Order \d/gm), ['## Order 1', '## Order 2'])
    assert.deepEqual(again.match(/^## Order \d/gm), ['## Order 1', '## Order 2'])
    assert.match(again, /0 of 1 promises kept[^]*\*\*FAIL\*\* \| 1\.a \| a holds \| 1 failed/)
    assert.match(again, /## Order 2[^]*1 of 1 promises kept, 2026-01-02, commit abc1234/)
  })

  test('a bar in a command does not end the cell of the table', () => {
    assert.match(replaceSection('', '1', [proved], made), /'x\\\|y'/)
  })
})

function line(name: string, outcome: 'passed' | 'failed' | 'skipped') {
  return { outcome, name, file: '/clone/test/a.test.ts', reason: '' }
}

suite('judging a run of tests', () => {
  const clean = { failed: [], skipped: [], todo: [], empty: [], ok: true, output: '' }
  const passed = [line('jose verifies', 'passed'), line('PyJWT verifies', 'passed')]
  const demand = { name: /jose/, atLeast: 1 }

  test('only tests of the name count, for good and for bad', () => {
    assert.deepEqual(judge({ ...clean, passed }, demand), { ok: true, figure: '1 passed' })
    const others = { failed: [line('PyJWT fails', 'failed')], ok: false }
    assert.equal(judge({ ...clean, passed, ...others }, demand).ok, true)
    const ours = { failed: [line('jose fails', 'failed')], ok: false }
    assert.equal(judge({ ...clean, passed, ...ours }, demand).ok, false)
  })

  test('a name that matches nothing, or too little, is no proof', () => {
    assert.equal(judge({ ...clean, passed }, { name: /nothing/, atLeast: 1 }).ok, false)
    assert.equal(judge({ ...clean, passed }, { name: /jose/, atLeast: 2 }).ok, false)
  })

  test('a skipped test is no proof', () => {
    const skipped = [line('jose with RSA', 'skipped')]
    assert.equal(judge({ ...clean, passed, skipped }, demand).ok, false)
  })

  test('a run that broke off, or a file that did not load, proves nothing', () => {
    assert.equal(judge({ ...clean, passed, ok: false }, demand).ok, false)
    const failed = [line('test/a.test.ts', 'failed')]
    assert.equal(judge({ ...clean, passed, failed, ok: false }, demand).ok, false)
  })
})

suite('reading what a command printed', () => {
  test('JSON is read whole, or from the last line when the command talked first', () => {
    assert.deepEqual(parseJsonOutput('{\n"a": 1\n}\n', ''), { a: 1 })
    assert.deepEqual(parseJsonOutput('warming up\n{"a":1}\n', ''), { a: 1 })
  })

  test('a command that printed no JSON is not taken for success', () => {
    assert.throws(() => parseJsonOutput('', 'Error: no such file'), /no JSON: Error: no such file/)
  })

  test('only a finite number counts as a figure', () => {
    assert.equal(numberAt({ a: { b: 2 } }, 'a.b'), 2)
    assert.equal(numberAt({ a: { b: null } }, 'a.b'), undefined)
    assert.equal(numberAt({ a: 'x' }, 'a.b'), undefined)
  })
})
