import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Rate } from './duration.ts'
import { type Bucket, gcra, owed, waitBefore } from './gcra.ts'

const rates = fc.record({
  count: fc.integer({ min: 1, max: 2000 }),
  perMilliseconds: fc.constantFrom(1000, 60_000, 3_600_000),
})
const START = 1_790_000_000_000

/** Times at which requests were admitted, of requests at these times. */
function admitted(times: readonly number[], rate: Rate): number[] {
  let bucket: Bucket | undefined
  return times.filter((now) => {
    const verdict = gcra(bucket, now, rate)
    bucket = verdict.bucket
    return verdict.waitMilliseconds === 0
  })
}

test('a burst of exactly count passes at one instant, whatever the rate', () => {
  fc.assert(
    fc.property(rates, (rate) => {
      const burst = Array.from({ length: rate.count + 5 }, () => START)
      assert.equal(admitted(burst, rate).length, rate.count)
    }),
    { numRuns: 50 },
  )
})

test('in any stretch of time no more pass than the burst and what was worked off', () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 200 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), gaps, (count, steps) => {
      const rate = { count, perMilliseconds: 1000 }
      let now = START
      const passed = admitted(
        steps.map((step) => (now += step)),
        rate,
      )
      for (let from = 0; from < passed.length; from += 1) {
        for (let to = from; to < passed.length; to += 1) {
          const elapsed = (passed[to] ?? 0) - (passed[from] ?? 0)
          assert.ok(to - from + 1 <= count + (elapsed * count) / 1000)
        }
      }
    }),
  )
})

test('after the announced wait, and not a millisecond earlier, the next one passes', () => {
  fc.assert(
    fc.property(rates, fc.nat(3_600_000), (rate, pause) => {
      const full = { at: START, backlog: rate.count * rate.perMilliseconds, rate }
      const now = START + (pause % rate.perMilliseconds)
      const { bucket, waitMilliseconds } = gcra(full, now, rate)
      if (waitMilliseconds === 0) return
      assert.equal(gcra(bucket, now + waitMilliseconds, rate).waitMilliseconds, 0)
      assert.equal(gcra(bucket, now + waitMilliseconds - 1, rate).waitMilliseconds, 1)
    }),
  )
})

test('knocking while refused does not postpone the next admission', () => {
  const rate = { count: 1, perMilliseconds: 1000 }
  const times = Array.from({ length: 21 }, (_, i) => START + i * 100)
  assert.deepEqual(admitted(times, rate), [START, START + 1000, START + 2000])
})

test('the largest rate the configuration accepts is still counted exactly', () => {
  const rate = { count: 999_999_999, perMilliseconds: 3_600_000 }
  const capacity = rate.count * rate.perMilliseconds
  assert.ok(Number.isSafeInteger(capacity))
  const full = { at: START, backlog: capacity, rate }
  assert.equal(gcra(full, START, rate).waitMilliseconds, 1)
  assert.equal(gcra(full, START + 1, rate).waitMilliseconds, 0)
})

test('a clock set back an hour does not lock the caller out for an hour', () => {
  const rate = { count: 1, perMilliseconds: 1000 }
  const { bucket } = gcra(undefined, START, rate)
  const back = START - 3_600_000
  assert.equal(gcra(bucket, back, rate).waitMilliseconds, 1000)
  assert.equal(gcra(gcra(bucket, back, rate).bucket, back + 1000, rate).waitMilliseconds, 0)
})

test('a changed rate starts with a full burst, an equal one goes on counting', () => {
  const { bucket } = gcra(undefined, START, { count: 1, perMilliseconds: 1000 })
  assert.equal(gcra(bucket, START, { count: 1, perMilliseconds: 500 }).waitMilliseconds, 0)
  assert.equal(gcra(bucket, START, { count: 1, perMilliseconds: 1000 }).waitMilliseconds, 1000)
})

test('what happened without room is owed, and no more than ten bursts of it', () => {
  const rate = { count: 30, perMilliseconds: 60_000 }
  let backlog = 0
  for (let i = 0; i < 30; i += 1) backlog = owed(backlog, rate)
  assert.equal(waitBefore(backlog, rate), 2000)
  for (let i = 0; i < 30; i += 1) backlog = owed(backlog, rate)
  assert.equal(waitBefore(backlog, rate), 62_000)
  for (let i = 0; i < 10_000; i += 1) backlog = owed(backlog, rate)
  assert.equal(waitBefore(backlog, rate), 9 * 60_000 + 2000)
})

test('at the largest rate what is owed stays countable', () => {
  const rate = { count: 999_999_999, perMilliseconds: 3_600_000 }
  let backlog = 2 ** 52 - 5
  for (let i = 0; i < 5; i += 1) {
    const next = owed(backlog, rate)
    assert.ok(next >= backlog && Number.isSafeInteger(next))
    backlog = next
  }
})
