import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { suite, test } from 'node:test'
import type { TestEvent } from 'node:test/reporters'
import tally, { type TallyLine } from './tally-reporter.ts'

/** What the reporter says of one test, described as node:test describes it. */
async function outcomeOf(
  type: 'test:pass' | 'test:fail',
  data: Record<string, unknown>,
): Promise<TallyLine['outcome'] | undefined> {
  async function* events() {
    yield { type, data: { name: 'a test', details: { type: 'test' }, ...data } } as TestEvent
  }
  let line: TallyLine | undefined
  for await (const text of tally(events())) line = JSON.parse(text) as TallyLine
  return line?.outcome
}

suite('counting tests', () => {
  test('a test that passed or failed counts as such', async () => {
    assert.equal(await outcomeOf('test:pass', {}), 'passed')
    assert.equal(await outcomeOf('test:fail', {}), 'failed')
  })

  test('a suite is not counted beside its tests, unless it was skipped whole', async () => {
    const details = { type: 'suite' }
    assert.equal(await outcomeOf('test:pass', { details }), undefined)
    assert.equal(await outcomeOf('test:pass', { details, skip: 'no server' }), 'skipped')
  })

  test('a skipped or unfinished test is not a passed one', async () => {
    assert.equal(await outcomeOf('test:pass', { skip: true }), 'skipped')
    assert.equal(await outcomeOf('test:pass', { skip: '' }), 'skipped')
    assert.equal(await outcomeOf('test:fail', { todo: true }), 'todo')
  })

  test('a file in which no test ran is empty, not one passed test', async () => {
    const name = 'src/a.test.ts'
    assert.equal(await outcomeOf('test:pass', { name, file: resolve(name) }), 'empty')
    assert.equal(await outcomeOf('test:fail', { name, file: resolve(name) }), 'failed')
  })
})
