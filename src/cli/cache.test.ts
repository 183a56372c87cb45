import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminApi, ranCommand } from '../../test/fakes/terminal.ts'
import { cacheCommand } from './cache.ts'

const CACHES = {
  entries: 3,
  bytes: 2048,
  max_bytes: 4096,
  loading: 0,
  hits: 40,
  loads: 5,
  sources: [{ tenant: 'acme', source: 'hr', entries: 2, bytes: 1500 }],
}

/** Runs `cache …` against an admin API with one answer. */
async function run(line: readonly string[], answer: unknown, status = 200) {
  const { asked, fetch } = adminApi(answer, status)
  return { ...(await ranCommand(cacheCommand, line, { fetch })), asked }
}

test('the list shows what is kept of each source', async () => {
  const { stdout, stderr, asked } = await run(['list', '--tenant', 'acme'], CACHES)
  assert.match(stdout, /^TENANT +SOURCE +ANSWERS +SIZE\nacme +hr +2 +2 KiB\n$/)
  assert.match(stderr, /3 answers in 2 KiB of 4 KiB; 40 look-ups from memory, 5 loads/)
  assert.deepEqual(asked, [['GET', '/admin/v1/caches?tenant=acme', undefined]])
  assert.deepEqual(JSON.parse((await run(['list', '-o', 'json'], CACHES)).stdout), CACHES)
})

test('a purge asks for what was named, and says when other replicas have to be asked too', async () => {
  const purge = ['purge', '--tenant', 'acme']
  const narrow = [...purge, '--user', 'ada@acme.example', '--source', 'hr']
  const all = await run(narrow, { entries: 1, reached: 'all' })
  assert.match(all.stdout, /1 +all replicas/)
  assert.equal(all.stderr, '')
  assert.deepEqual(all.asked, [
    ['POST', '/admin/v1/caches/purge', { tenant: 'acme', user: 'ada@acme.example', source: 'hr' }],
  ])
  const alone = await run(purge, { entries: 7, reached: 'this' })
  assert.match(alone.stderr, /this replica alone/)
  assert.deepEqual(alone.asked, [['POST', '/admin/v1/caches/purge', { tenant: 'acme' }]])
})

test('without a tenant nothing is asked', async () => {
  const { exit, asked } = await run(['purge', '--user', 'ada'], {})
  assert.deepEqual([exit, asked], [2, []])
})

test('an answer that is something else is not shown as caches', async () => {
  assert.equal((await run(['list'], {})).exit, 1)
  assert.equal((await run(['purge', '--tenant', 'acme'], [])).exit, 1)
  assert.equal((await run(['purge', '--tenant', 'acme'], { detail: 'no' }, 403)).exit, 4)
})
