import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminApi, ranCommand } from '../../test/fakes/terminal.ts'
import { breakerCommand } from './breaker.ts'

const OPEN = {
  name: 'source acme/hr',
  tenant: 'acme',
  kind: 'source',
  state: 'open',
  retry_after_seconds: 4,
  in_flight: 0,
  calls: 20,
  failures: 18,
  slow: 2,
  last_failure: 'answered with status 503\u001b[2J',
}

/** Runs `breaker …` against an admin API with one answer. */
async function run(line: readonly string[], answer: unknown, status = 200) {
  const { asked, fetch } = adminApi(answer, status)
  return { ...(await ranCommand(breakerCommand, line, { fetch })), asked }
}

test('the list tells what is open, since how many failures, and when it is tried again', async () => {
  const { stdout, asked } = await run(['list', '--tenant', 'acme'], { breakers: [OPEN] })
  assert.match(
    stdout,
    /^NAME .*\nsource acme\/hr +open +in 4s +20 +18 +2 +0 +answered with status 503/,
  )
  assert.ok(!stdout.includes('\u001b'))
  assert.deepEqual(asked, [['GET', '/admin/v1/breakers?tenant=acme', undefined]])
})

test('an empty list says why it may be empty', async () => {
  assert.match((await run(['list'], { breakers: [] })).stderr, /no dependency was called yet/)
})

test('as JSON the facts come as the server gave them', async () => {
  const facts = { breakers: [{ ...OPEN, newer: true }] }
  assert.deepEqual(JSON.parse((await run(['list', '-o', 'json'], facts)).stdout), facts)
})

test('a breaker is named without quotes or with them, and changed with a reason', async () => {
  for (const name of [['source', 'acme/hr'], ['source acme/hr']]) {
    const held = { ...OPEN, state: 'held-open', retry_after_seconds: 30 }
    const { stdout, stderr, asked } = await run(['hold-open', ...name, '--reason', 'INC-42'], held)
    assert.match(stdout, /held-open +after reset/)
    assert.match(stderr, /restart/)
    const body = { name: OPEN.name, action: 'hold-open', reason: 'INC-42' }
    assert.deepEqual(asked, [['POST', '/admin/v1/breakers', body]])
  }
  const closed = { ...OPEN, state: 'closed', retry_after_seconds: 0 }
  const { asked } = await run(['reset', 'source', 'acme/hr', '--reason', 'mended'], closed)
  assert.deepEqual(asked, [
    ['POST', '/admin/v1/breakers', { name: OPEN.name, action: 'reset', reason: 'mended' }],
  ])
})

test('without a reason or a name nothing is asked', async () => {
  for (const line of [
    ['reset', 'vault'],
    ['hold-open', '--reason', 'INC-42'],
  ]) {
    const { exit, asked } = await run(line, OPEN)
    assert.deepEqual([exit, asked], [2, []])
  }
})

test('a name that is not known is answered with no, a role that is too low with not permitted', async () => {
  const problem = { detail: 'There is no breaker of this name at this replica.' }
  const unknown = await run(['reset', 'x', '--reason', 'why'], problem, 404)
  assert.deepEqual([unknown.exit, unknown.stderr], [5, problem.detail])
  assert.equal((await run(['reset', 'x', '--reason', 'why'], {}, 403)).exit, 4)
})

test('an answer that is something else is not shown as breakers', async () => {
  assert.equal((await run(['list'], { breakers: [{ name: 'x' }] })).exit, 1)
  assert.equal((await run(['reset', 'x', '--reason', 'why'], [])).exit, 1)
})
