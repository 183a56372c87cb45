import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommanderError } from 'commander'
import { machineFiles } from '../config/files.ts'
import { breakerCommand } from './breaker.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

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
  const said = { out: '', err: '', exit: 0, asked: [] as unknown[] }
  const terminal: Terminal = {
    stdout: (text) => void (said.out += text),
    stderr: (text) => void (said.err += text),
    env: { ROLEMINT_ADMIN_TOKEN: 'rma_x' },
    files: machineFiles,
    exit: (code) => void (said.exit = code),
    readStdin: () => Promise.resolve(''),
    readFile: () => '',
    fetch(input, init) {
      const { pathname, search } = new URL(input instanceof Request ? input.url : input)
      const body: unknown = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined
      said.asked.push([init?.method, pathname + search, body])
      return Promise.resolve(Response.json(answer, { status }))
    },
  }
  const command = breakerCommand(terminal)
  for (const below of command.commands)
    below.exitOverride().configureOutput({ writeErr: (text) => void (said.err += text) })
  try {
    await command.parseAsync([...line], { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) return { ...said, exit: 2 }
    if (!(error instanceof CommandFailure)) throw error
    said.exit = error.exit
    said.err += error.message
  }
  return said
}

test('the list tells what is open, since how many failures, and when it is tried again', async () => {
  const { out, asked } = await run(['list', '--tenant', 'acme'], { breakers: [OPEN] })
  assert.match(
    out,
    /^NAME .*\nsource acme\/hr +open +in 4s +20 +18 +2 +0 +answered with status 503/,
  )
  assert.ok(!out.includes('\u001b'))
  assert.deepEqual(asked, [['GET', '/admin/v1/breakers?tenant=acme', undefined]])
})

test('an empty list says why it may be empty', async () => {
  assert.match((await run(['list'], { breakers: [] })).err, /no dependency was called yet/)
})

test('as JSON the facts come as the server gave them', async () => {
  const facts = { breakers: [{ ...OPEN, newer: true }] }
  assert.deepEqual(JSON.parse((await run(['list', '-o', 'json'], facts)).out), facts)
})

test('a breaker is named without quotes or with them, and changed with a reason', async () => {
  for (const name of [['source', 'acme/hr'], ['source acme/hr']]) {
    const held = { ...OPEN, state: 'held-open', retry_after_seconds: 30 }
    const { out, err, asked } = await run(['hold-open', ...name, '--reason', 'INC-42'], held)
    assert.match(out, /held-open +after reset/)
    assert.match(err, /restart/)
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
  assert.deepEqual([unknown.exit, unknown.err], [5, problem.detail])
  assert.equal((await run(['reset', 'x', '--reason', 'why'], {}, 403)).exit, 4)
})

test('an answer that is something else is not shown as breakers', async () => {
  assert.equal((await run(['list'], { breakers: [{ name: 'x' }] })).exit, 1)
  assert.equal((await run(['reset', 'x', '--reason', 'why'], [])).exit, 1)
})
