import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'

const SCRIPT = `
import { readdirSync, readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { easeBackgroundThreads } from ${JSON.stringify(new URL('./background-threads.ts', import.meta.url).href)}
easeBackgroundThreads()
const threads = readdirSync('/proc/self/task').map((id) => [
  readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim(),
  getPriority(Number(id)),
])
console.log(JSON.stringify({ threads, loop: getPriority(process.pid) }))
`

test('the threads that collect garbage give way to the one that serves, and no other does', {
  skip: process.platform === 'linux' ? false : 'threads are listed by Linux alone',
}, () => {
  const args = ['--input-type=module', '--eval', SCRIPT]
  const { threads, loop } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  const [workers, others] = [true, false].map((isWorker) =>
    threads.filter(([name]: [string]) => name.startsWith('V8Worker') === isWorker),
  )
  assert.ok(workers.length > 0)
  for (const [, priority] of workers) assert.equal(priority, 19)
  for (const [name, priority] of others) assert.notEqual(priority, 19, name)
  assert.notEqual(loop, 19)
})
