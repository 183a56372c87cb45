import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { rateFields, retryAfterSeconds } from './rate-fields.ts'

const rate = { count: 50, perMilliseconds: 60_000 }

test('without limits there are no fields', () => {
  assert.deepEqual(rateFields([]), {})
})

test('every limit of the caller is an item of both lists', () => {
  const answer = { waitMilliseconds: 0, remaining: 49, resetMilliseconds: 1200 }
  const slow = { count: 10, perMilliseconds: 3_600_000 }
  const used = { waitMilliseconds: 0, remaining: 0, resetMilliseconds: 3_600_000 }
  assert.deepEqual(
    rateFields([
      { name: 'client', rate, answer },
      { name: 'subject', rate: slow, answer: used },
    ]),
    {
      'RateLimit-Policy': '"client";q=50;w=60, "subject";q=10;w=3600',
      RateLimit: '"client";r=49;t=59, "subject";r=0;t=360',
    },
  )
})

test('a refusal has nothing left until the time that Retry-After names', () => {
  const answer = { waitMilliseconds: 1200, remaining: 0, resetMilliseconds: 60_000 }
  const fields = rateFields([{ name: 'client', rate, answer }])
  assert.equal(fields['RateLimit'], '"client";r=0;t=2')
  assert.equal(retryAfterSeconds(1200), 2)
})

test('a wait shorter than a second is announced as one', () => {
  assert.equal(retryAfterSeconds(1), 1)
  assert.equal(retryAfterSeconds(1000), 1)
  assert.equal(retryAfterSeconds(1001), 2)
})

test('what is left in its window is never more than the policy allows in that time', () => {
  const rates = fc.record({
    count: fc.integer({ min: 1, max: 100_000 }),
    perMilliseconds: fc.constantFrom(1000, 60_000, 3_600_000),
  })
  fc.assert(
    fc.property(rates, fc.double({ min: 0, max: 1, noNaN: true }), (some, share) => {
      const remaining = Math.floor(some.count * share)
      const each = some.perMilliseconds / some.count
      const answer = {
        waitMilliseconds: 0,
        remaining,
        resetMilliseconds: Math.ceil((some.count - remaining) * each),
      }
      const { RateLimit = '' } = rateFields([{ name: 'client', rate: some, answer }])
      const [, r, t] = /^"client";r=(\d+);t=(\d+)$/.exec(RateLimit) ?? []
      assert.equal(Number(r), remaining)
      assert.ok(Number(t) >= 1)
      assert.ok((Number(r) / Number(t)) * (some.perMilliseconds / 1000) <= some.count + 1e-6)
    }),
  )
})
