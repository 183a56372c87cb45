import assert from 'node:assert/strict'
import { test } from 'node:test'
import { arrivalsOf, recoveryMilliseconds, type Window, windowsOf } from './timeline.ts'

const PHASES = [
  { name: 'calm', seconds: 20, perSecond: [100, 0] },
  { name: 'storm', seconds: 10, perSecond: [1000, 50] },
]

test('calls are due within their phase, at about its rate, and in order', () => {
  const { dueAt, firstOf } = arrivalsOf(PHASES, 0, 1)
  const [calm = 0, storm = 0, end = 0] = firstOf
  assert.equal(calm, 0)
  assert.equal(end, dueAt.length)
  assert.ok(Math.abs(storm - 2000) < 250, `${storm} calls instead of 2000`)
  assert.ok(Math.abs(end - storm - 10_000) < 500, `${end - storm} calls instead of 10000`)
  assert.ok(dueAt.subarray(0, storm).every((due) => due < 20_000))
  assert.ok(dueAt.subarray(storm).every((due) => due >= 20_000 && due < 30_000))
  assert.deepEqual(dueAt, dueAt.toSorted())
})

test('the same seed gives the same calls, and a stream that rests in a phase has none there', () => {
  assert.deepEqual(arrivalsOf(PHASES, 1, 3), arrivalsOf(PHASES, 1, 3))
  assert.notDeepEqual(arrivalsOf(PHASES, 1, 3), arrivalsOf(PHASES, 1, 4))
  assert.deepEqual(arrivalsOf(PHASES, 1, 3).firstOf.slice(0, 2), [0, 0])
})

test('a call counts in the window it was due in, not in the one it was answered in', () => {
  const calls = {
    dueAt: Float64Array.of(1000, 1099, 1100, 1250),
    latencies: Float64Array.of(500, Number.NaN, 7, 9),
  }
  assert.deepEqual(windowsOf(calls, { from: 1000, seconds: 0.29, milliseconds: 100 }), [
    { offered: 2, good: 1, p99: 500 },
    { offered: 1, good: 1, p99: 7 },
  ])
})

const window = (good: number, p99: number): Window => ({ offered: 100, good, p99 })
const NORMAL = { goodShare: 0.98, p99: 10, windows: 3 }

test('recovery ends where a stretch of normal windows begins', () => {
  const windows = [window(50, 5), window(99, 50), window(99, 5), window(90, 5)]
  const normal = [window(99, 5), window(100, 9), window(98, 10)]
  assert.equal(recoveryMilliseconds([...windows, ...normal], 250, NORMAL), 1000)
  assert.equal(recoveryMilliseconds(normal, 250, NORMAL), 0)
})

test('what was normal for a moment only has not recovered', () => {
  const flapping = [window(99, 5), window(99, 5), window(10, 5), window(99, 5), window(99, 5)]
  assert.equal(recoveryMilliseconds(flapping, 250, NORMAL), undefined)
  const silent = { offered: 0, good: 0, p99: Number.NaN }
  assert.equal(recoveryMilliseconds([silent, silent, silent], 250, NORMAL), undefined)
})
