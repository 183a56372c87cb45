import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createBreakerWindow, type WindowOptions } from './breaker-window.ts'

const OPTIONS: WindowOptions = {
  calls: 20,
  ageMilliseconds: 1000,
  leastCalls: 4,
  failureShare: 0.5,
  slowShare: 0.75,
}

function createWorld(options: Partial<WindowOptions> = {}) {
  let now = 0
  const window = createBreakerWindow({ clock: { now: () => now } }, { ...OPTIONS, ...options })
  return {
    window,
    pass: (milliseconds: number) => {
      now += milliseconds
    },
    record: (failed: boolean, slow: boolean, times: number) => {
      for (let time = 0; time < times; time += 1) window.record(failed, slow)
    },
  }
}

test('half of the calls failed is bad, less is not', () => {
  const { window, record } = createWorld()
  record(false, false, 5)
  record(true, false, 4)
  assert.equal(window.isBad(), false)
  record(true, false, 1)
  assert.equal(window.isBad(), true)
})

test('calls that succeed slowly are bad too, from a share of their own on', () => {
  const { window, record } = createWorld()
  record(false, false, 2)
  record(false, true, 5)
  assert.equal(window.isBad(), false)
  record(false, true, 1)
  assert.equal(window.isBad(), true)
})

test('a few calls say nothing, even when all of them failed', () => {
  const { window, record } = createWorld()
  record(true, true, 3)
  assert.equal(window.isBad(), false)
  record(true, true, 1)
  assert.equal(window.isBad(), true)
})

test('what is old enough is forgotten without a new call', () => {
  const { window, record, pass } = createWorld()
  record(true, false, 10)
  pass(999)
  assert.deepEqual([window.isBad(), window.counts().failures], [true, 10])
  pass(1)
  assert.deepEqual([window.isBad(), window.counts().calls], [false, 0])
})

test('the counts are those of the last calls that are young enough, whatever came before', () => {
  const call = fc.record({ failed: fc.boolean(), slow: fc.boolean(), after: fc.nat(200) })
  fc.assert(
    fc.property(fc.array(call, { maxLength: 100 }), (calls) => {
      const { window, record, pass } = createWorld()
      let now = 0
      const all = calls.map(({ failed, slow, after }) => {
        pass(after)
        now += after
        record(failed, slow, 1)
        return { failed, slow, at: now }
      })
      const kept = all.slice(-OPTIONS.calls).filter(({ at }) => at > now - OPTIONS.ageMilliseconds)
      assert.deepEqual(window.counts(), {
        calls: kept.length,
        failures: kept.filter(({ failed }) => failed).length,
        slow: kept.filter(({ slow }) => slow).length,
      })
    }),
  )
})
