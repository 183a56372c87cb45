import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createKeys } from '../../src/keys/keys.ts'
import { playHistory } from './history.ts'
import { runHistories } from './key-ring.ts'
import { keysWith } from './mutated-keys.ts'
import { MUTATIONS } from './mutations.ts'

const HISTORIES = 500
/** Every planted bug was found within 110; the rest is for changes that shift what a seed plays. */
const ENOUGH = 2000

/** What a simulator must have done to have shown anything. */
const REACHED = [
  'signed',
  'not signed',
  'crash',
  'lost race',
  'key store',
  'cut off',
  'destroyed',
  'first key',
  'successor of a killed key',
  'staged to published',
  'staged to active',
  'staged to retired',
  'published to active',
  'published to retired',
  'published to compromised',
  'active to verify-only',
  'active to compromised',
  'verify-only to retired',
  'verify-only to compromised',
  'retired to compromised',
]

test('three replicas with crashes, stores that fail, clocks off by a minute and races keep every promise', async () => {
  const { breaches, reached } = await runHistories(
    { from: 1, count: HISTORIES, patience: 1 },
    createKeys,
  )
  assert.deepEqual(breaches, [])
  assert.deepEqual(
    REACHED.filter((what) => !reached.has(what)),
    [],
    'not reached',
  )
})

test('a seed plays the same history again, so that a breach can be looked at', async () => {
  const [once, again]: [string[], string[]] = [[], []]
  await playHistory(7, createKeys, (line) => once.push(line))
  await playHistory(7, createKeys, (line) => again.push(line))
  assert.ok(once.length > 20)
  assert.deepEqual(again, once)
})

for (const mutation of MUTATIONS) {
  test(`planted: ${mutation.name}`, async (context) => {
    const create = await keysWith(mutation)
    const { histories, breaches } = await runHistories(
      { from: 1, count: ENOUGH, patience: 1 },
      create,
    )
    assert.equal(breaches.length, 1, `not found in ${histories} histories`)
    context.diagnostic(`found in history ${histories}: ${breaches[0]?.what}`)
  })
}
