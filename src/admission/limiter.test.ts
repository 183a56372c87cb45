import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { type Limiter, newLimiter, type Sample, step } from './limiter.ts'

const BOUNDS = { floor: 16, cap: 64, initial: 24, lateMilliseconds: 2.5 }

const sample = (late: number, cpu = late, milliseconds = 2 + late): Sample => ({
  milliseconds,
  lateMilliseconds: late,
  cpuMilliseconds: cpu,
})

const run = (limiter: Limiter, seen: Sample, times: number) => {
  let now = limiter
  for (let i = 0; i < times; i++) now = step(now, seen, BOUNDS)
  return now
}

suite('limiter', () => {
  test('grows while the loop is never late', () => {
    assert.equal(run(newLimiter(BOUNDS), sample(0), 100).limit, BOUNDS.cap)
  })

  test('shrinks when the loop is late through its own work', () => {
    assert.equal(run(newLimiter(BOUNDS), sample(10), 20).limit, BOUNDS.floor)
  })

  test('holds where the loop is as late as it may be', () => {
    const { limit } = run(newLimiter(BOUNDS), sample(BOUNDS.lateMilliseconds), 1000)
    assert.ok(Math.abs(limit - BOUNDS.initial) < 0.01, `${limit}`)
  })

  test('is not shut by neighbours: a loop that is late without having worked is no reason to do less', () => {
    assert.equal(run(newLimiter(BOUNDS), sample(50, 0.3), 100).limit, BOUNDS.cap)
  })

  test('one stall of a second takes a third at most', () => {
    assert.ok(step(newLimiter(BOUNDS), sample(1000), BOUNDS).limit >= BOUNDS.initial * 0.7)
  })

  test('is back within a second of quiet turns, however long the storm was', () => {
    const worn = run(newLimiter(BOUNDS), sample(40), 10_000)
    assert.ok(run(worn, sample(0), 1000 / 2).limit >= BOUNDS.initial)
  })

  test('whatever is seen, the limit stays between floor and cap and is a number', () => {
    const any = fc.double({ min: -1e6, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(fc.array(fc.tuple(any, any, any)), (samples) => {
        let limiter = newLimiter(BOUNDS)
        for (const [late, cpu, milliseconds] of samples)
          limiter = step(limiter, sample(late, cpu, milliseconds), BOUNDS)
        assert.ok(limiter.limit >= BOUNDS.floor && limiter.limit <= BOUNDS.cap, `${limiter.limit}`)
      }),
    )
  })
})
