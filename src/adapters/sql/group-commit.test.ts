import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { createGroupCommit, type GroupCommitOptions } from './group-commit.ts'

/** A store whose commits end when the test says so. */
function open(change: Partial<GroupCommitOptions> = {}) {
  const batches: {
    items: readonly number[]
    end: (outcomes?: readonly (number | Error)[]) => void
    fail: (error: Error) => void
  }[] = []
  const commits = createGroupCommit<number, number>(
    {
      commit: (items) =>
        new Promise((resolve, reject) => {
          batches.push({ items, end: (outcomes = items) => resolve(outcomes), fail: reject })
        }),
    },
    { maxBatch: 4, maxPending: 10, maxRunning: 1, stallMilliseconds: 60_000, ...change },
  )
  return { commits, batches }
}

const patient = () => new AbortController().signal

test('what arrives in one turn of the event loop shares a commit, what comes later shares the next', async () => {
  const { commits, batches } = open()
  const first = [commits.submit(1, patient()), commits.submit(2, patient())]
  await setImmediate()
  const later = [commits.submit(3, patient()), commits.submit(4, patient())]
  await setImmediate()
  assert.deepEqual(
    batches.map(({ items }) => items),
    [[1, 2]],
  )
  batches[0]?.end()
  assert.deepEqual(await Promise.all(first), [1, 2])
  assert.deepEqual(
    batches.map(({ items }) => items),
    [
      [1, 2],
      [3, 4],
    ],
  )
  batches[1]?.end()
  assert.deepEqual(await Promise.all(later), [3, 4])
  await commits.close()
})

test('a batch takes no more than its limit', async () => {
  const { commits, batches } = open()
  const all = Array.from({ length: 6 }, (_, n) => commits.submit(n, patient()))
  await setImmediate()
  batches[0]?.end()
  await all[0]
  assert.deepEqual(
    batches.map(({ items }) => items),
    [
      [0, 1, 2, 3],
      [4, 5],
    ],
  )
  batches[1]?.end()
  await Promise.all(all)
  await commits.close()
})

test('an error of one item concerns that item alone', async () => {
  const { commits, batches } = open()
  const calls = [commits.submit(1, patient()), commits.submit(2, patient())]
  await setImmediate()
  batches[0]?.end([new Error('too long'), 2])
  const [one, two] = await Promise.allSettled(calls)
  assert.equal(one?.status, 'rejected')
  assert.deepEqual(two, { status: 'fulfilled', value: 2 })
  await commits.close()
})

test('a failed commit rejects everything in it, and the next commit is tried', async () => {
  const { commits, batches } = open()
  const lost = [commits.submit(1, patient()), commits.submit(2, patient())]
  await setImmediate()
  const next = commits.submit(3, patient())
  batches[0]?.fail(new Error('disk full'))
  for (const call of lost) await assert.rejects(call, /disk full/)
  batches[1]?.end()
  assert.equal(await next, 3)
  await commits.close()
})

test('a caller whose signal fires is told although the commit hangs, queued or begun', async () => {
  const { commits, batches } = open()
  const giveUp = new AbortController()
  const begun = commits.submit(1, giveUp.signal)
  const kept = commits.submit(2, patient())
  await setImmediate()
  const queued = commits.submit(3, giveUp.signal)
  giveUp.abort()
  await assert.rejects(begun, /in time/)
  await assert.rejects(queued, /given up/)
  batches[0]?.end()
  assert.equal(await kept, 2)
  batches[1]?.end()
  await commits.close()
})

test('an answer after the signal has fired is not passed on as success', async () => {
  const { commits, batches } = open()
  const giveUp = new AbortController()
  const call = commits.submit(1, giveUp.signal)
  await setImmediate()
  giveUp.abort()
  batches[0]?.end() // in the same turn, before any timer could look
  await assert.rejects(call)
  await commits.close()
})

test('beyond the limit of pending writes new ones are refused at once', async () => {
  const { commits, batches } = open({ maxPending: 2 })
  const calls = [commits.submit(1, patient()), commits.submit(2, patient())]
  await assert.rejects(commits.submit(3, patient()), /Too many/)
  await setImmediate()
  batches[0]?.end()
  await Promise.all(calls)
  const after = commits.submit(4, patient())
  await setImmediate()
  batches[1]?.end()
  assert.equal(await after, 4)
  await commits.close()
})

test('a commit that never ends rejects all that wait, signal or not, and refuses until it ends', async () => {
  const { commits, batches } = open({ stallMilliseconds: 20 })
  const begun = commits.submit(1, patient())
  await setImmediate()
  const queued = commits.submit(2, patient())
  await assert.rejects(begun, /stalled/)
  await assert.rejects(queued, /stalled/)
  await assert.rejects(commits.submit(3, patient()), /stalled/)
  batches[0]?.end()
  await setTimeout(1)
  const after = commits.submit(4, patient())
  await setImmediate()
  batches[1]?.end()
  assert.equal(await after, 4)
  await commits.close()
})

test('close lets what waits finish, refuses what comes, and does not wait for a stalled commit', async () => {
  const { commits, batches } = open()
  const calls = Array.from({ length: 5 }, (_, n) => commits.submit(n, patient()))
  const closed = commits.close()
  await assert.rejects(commits.submit(9, patient()), /closed/)
  await setImmediate()
  batches[0]?.end()
  await calls[0]
  batches[1]?.end()
  await Promise.all([...calls, closed])

  const hung = open({ stallMilliseconds: 10 })
  const lost = hung.commits.submit(1, patient())
  await Promise.all([assert.rejects(lost), hung.commits.close()])
})

test('two commits may run at a time where the store allows it', async () => {
  const { commits, batches } = open({ maxRunning: 2 })
  const calls = [commits.submit(1, patient())]
  await setImmediate()
  calls.push(commits.submit(2, patient()))
  await setImmediate()
  assert.deepEqual(
    batches.map(({ items }) => items),
    [[1], [2]],
  )
  batches[1]?.end()
  batches[0]?.end()
  assert.deepEqual(await Promise.all(calls), [1, 2])
  await commits.close()
})
