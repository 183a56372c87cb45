import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { createSteadyClock, STEADY_CLOCK_DEFAULTS } from './steady-clock.ts'

const START = 1_800_000_000_000
const SECOND = 1000
const HOUR = 3_600_000
const never = new AbortController().signal

/** A machine, and the true time beside it. */
function createMachine(told?: (message: string) => void) {
  const machine = {
    truth: START,
    /** What the wall clock is set wrong by. */
    wrong: 0,
    monotonic: 5000,
    uptime: 90_000,
    /** What each source is off by; none answers when empty. */
    sources: [] as number[],
    /** Called when the sources are asked. */
    asked: () => {},
    pass(milliseconds: number) {
      machine.truth += milliseconds
      machine.monotonic += milliseconds
      machine.uptime += milliseconds
    },
    sleep(milliseconds: number) {
      machine.truth += milliseconds
      machine.uptime += milliseconds
    },
  }
  const clock = createSteadyClock({
    wall: { now: () => machine.truth + machine.wrong },
    monotonic: { now: () => machine.monotonic },
    uptime: { now: () => machine.uptime },
    sources: () => {
      machine.asked()
      return Promise.resolve(machine.sources.map((off) => machine.truth + off))
    },
    ...(told ? { log: { warn: (_fields, message) => told(message) } } : {}),
  })
  const isSure = () => {
    try {
      clock.mustBeSure()
      return true
    } catch {
      return false
    }
  }
  return { machine, clock, isSure, settle: () => clock.settle(never) }
}

suite('steady clock', () => {
  test('while nobody touches the wall clock, it is the time', () => {
    const { machine, clock, isSure } = createMachine()
    for (let hour = 0; hour < 100; hour += 1) {
      machine.pass(HOUR)
      assert.equal(clock.now(), machine.truth)
      assert.ok(isSure())
    }
    assert.deepEqual(clock.facts(), {
      state: 'steady',
      wallAheadMilliseconds: 0,
      steps: 0,
      followed: 0,
    })
  })

  for (const step of [-10 * 365 * 24 * HOUR, -HOUR, -3 * SECOND, 3 * SECOND, HOUR]) {
    test(`attack: a wall clock set by ${step / SECOND} s makes nothing good again and nothing longer`, async () => {
      const { machine, clock, isSure, settle } = createMachine()
      machine.sources = [40, -40]
      machine.wrong = step
      assert.equal(clock.now(), machine.truth)
      assert.ok(!isSure(), 'in doubt at once, before anybody was asked')
      await settle()
      assert.ok(isSure(), 'the sources know better')
      machine.pass(10 * HOUR)
      assert.equal(clock.now(), machine.truth)
      assert.equal(clock.facts().state, 'overruled')
    })

    test(`a clock that was wrong from the start, and is set right by ${step / SECOND} s, is followed once it is confirmed`, async () => {
      const { machine, clock, isSure, settle } = createMachine()
      machine.sources = [40, -40]
      // The machine started with a wrong clock: the truth is elsewhere, and the wall is set to it.
      machine.truth += step
      assert.equal(clock.now(), START)
      assert.ok(!isSure())
      await settle()
      assert.equal(clock.now(), machine.truth)
      assert.ok(isSure())
      assert.equal(clock.facts().followed, 1)
    })
  }

  test('what it refuses with can be tried again', () => {
    const { machine, clock } = createMachine()
    machine.wrong = HOUR
    assert.throws(() => clock.mustBeSure(), {
      name: 'Refusal',
      code: 'signer_unavailable',
      retryAfterSeconds: 2,
    })
  })

  test('a machine that slept takes the new time by itself, with nobody to ask', async () => {
    const { machine, clock, isSure, settle } = createMachine()
    machine.sleep(8 * HOUR)
    assert.ok(!isSure(), 'the count stood still: a token that expired meanwhile would pass')
    await settle()
    assert.ok(isSure())
    assert.equal(clock.now(), machine.truth)
  })

  test('with nobody to ask, a clock that somebody set is not believed', async () => {
    const { machine, clock, isSure, settle } = createMachine()
    machine.wrong = -HOUR
    await settle()
    assert.ok(isSure())
    assert.equal(clock.now(), machine.truth)
  })

  test('a wall clock that is set back to where it was ends the doubt', () => {
    const { machine, clock, isSure } = createMachine()
    machine.wrong = HOUR
    assert.ok(!isSure())
    machine.wrong = 0
    assert.ok(isSure())
    assert.equal(clock.facts().state, 'steady')
  })

  test('every further step is in doubt again', async () => {
    const { machine, isSure, settle } = createMachine()
    machine.sources = [0]
    for (const wrong of [HOUR, 2 * HOUR, -HOUR]) {
      machine.wrong = wrong
      assert.ok(!isSure())
      await settle()
      assert.ok(isSure())
    }
  })

  test('sources that contradict each other leave it in doubt; two against one do not', async () => {
    const { machine, clock, isSure, settle } = createMachine()
    machine.wrong = HOUR
    machine.sources = [0, HOUR]
    await settle()
    assert.ok(!isSure())
    machine.sources = [0, HOUR, 100]
    await settle()
    assert.ok(isSure())
    assert.equal(clock.now(), machine.truth)
  })

  test('a source that says a third time confirms nothing', async () => {
    const { machine, isSure, settle } = createMachine()
    machine.wrong = HOUR
    machine.sources = [12 * HOUR]
    await settle()
    assert.ok(!isSure())
  })

  test('attack: sources that are asked while the clock is set once more do not confirm the second step', async () => {
    const { machine, clock, isSure, settle } = createMachine()
    machine.truth += HOUR // the first step is right
    machine.sources = [0]
    machine.asked = () => {
      machine.wrong = 2 * HOUR
    }
    await settle()
    assert.ok(!isSure())
    assert.equal(clock.now(), START)
  })

  test('a leap second is followed, slowly and without going back', () => {
    const { machine, clock, isSure } = createMachine()
    machine.wrong = -SECOND
    let before = clock.now()
    let seconds = 0
    while (clock.now() > machine.truth - 990) {
      machine.pass(SECOND)
      const now = clock.now()
      assert.ok(now > before)
      assert.ok(isSure())
      before = now
      seconds += 1
      assert.ok(seconds < 3600, 'within the hour')
    }
    assert.equal(clock.facts().steps, 0)
  })

  test('the time is whole milliseconds, as stores keep it', () => {
    const { machine, clock } = createMachine()
    machine.pass(1234.567)
    machine.wrong = 1000
    machine.pass(1234.567)
    assert.ok(Number.isInteger(clock.now()))
  })

  test('attack: a wall clock moved on in steps that are too small to notice gains little', () => {
    const { machine, clock } = createMachine()
    for (let minute = 0; minute < 60; minute += 1) {
      machine.pass(60 * SECOND)
      machine.wrong = clock.now() - machine.truth + 1900
      clock.now()
    }
    assert.ok(clock.now() - machine.truth <= 2 * SECOND, `${clock.now() - machine.truth} ms`)
  })

  test('the operator is told of every change, once', async () => {
    const told: string[] = []
    const { machine, isSure, settle } = createMachine((message) => told.push(message))
    machine.wrong = HOUR
    for (let i = 0; i < 5; i += 1) {
      isSure()
      await settle()
    }
    machine.wrong = 0
    isSure()
    assert.equal(told.length, 3)
    assert.match(told.join(), /stepped.*overruled|stepped.*wrong.*agrees again/)
  })

  test('whatever happens to the clock: it never goes back by itself, and while it is sure it is right', async () => {
    const { stepMilliseconds, agreeMilliseconds, slewRate } = STEADY_CLOCK_DEFAULTS
    const change = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), by: fc.integer({ min: -4e11, max: 4e11 }) }),
      fc.record({ kind: fc.constant('set' as const), by: fc.integer({ min: -9000, max: 9000 }) }),
      fc.record({ kind: fc.constant('right' as const), by: fc.integer({ min: -50, max: 50 }) }),
      fc.record({ kind: fc.constant('pass' as const), by: fc.integer({ min: 0, max: 4e7 }) }),
      fc.record({ kind: fc.constant('sleep' as const), by: fc.integer({ min: 0, max: 4e7 }) }),
      fc.record({ kind: fc.constant('settle' as const), by: fc.integer({ min: 0, max: 3 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 60 }), async (changes) => {
        const { machine, clock, isSure, settle } = createMachine()
        let before = clock.now()
        let { followed } = clock.facts()
        let slewed = 0
        for (const { kind, by } of changes) {
          if (kind === 'pass') {
            machine.pass(by)
            slewed += by * slewRate
          }
          if (kind === 'sleep') machine.sleep(by)
          if (kind === 'set') machine.wrong += by
          if (kind === 'right') machine.wrong = by
          if (kind === 'settle') {
            machine.sources = [100, -100, 30].slice(0, by)
            await settle()
          }
          const now = clock.now()
          const facts = clock.facts()
          assert.ok(now >= before || facts.followed > followed, 'went back unasked')
          if (isSure()) {
            const off = clock.now() - machine.truth
            assert.ok(
              Math.abs(off) <= agreeMilliseconds + stepMilliseconds + slewed,
              `${off} ms off`,
            )
            assert.ok(off <= agreeMilliseconds + 100 + slewed, `${off} ms ahead`)
          }
          before = now
          ;({ followed } = facts)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
