import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { DeadlineExceeded, waitUnder } from './deadline.ts'
import {
  type UpstreamObserver,
  type UpstreamOptions,
  UpstreamRefused,
  type Verdict,
} from './upstream.ts'
import { UPSTREAM_BOUNDS } from './upstream-bounds.ts'
import { createUpstream } from './upstream-policy.ts'

const TOTAL = 800

/** What a dependency says when it does not do what it was asked. */
class Said extends Error {
  readonly verdict: Verdict
  constructor(verdict: Partial<Verdict> = {}) {
    super('said at 10.1.2.3')
    this.verdict = { kind: 'failure', retryable: true, ...verdict }
  }
}

const answer = () => Promise.reject(new Said({ kind: 'answer', retryable: false }))
const failure = () => Promise.reject(new Said({ retryable: false }))
const passing = () => Promise.reject(new Said())
const well = () => Promise.resolve('well')
const never = () => new Promise<never>(() => undefined)

const settled = () => new Promise<void>((resolve) => void setImmediate(resolve))

const takes = async <T>(milliseconds: number, work: () => Promise<T>): Promise<T> => {
  await new Promise((resolve) => void setTimeout(resolve, milliseconds))
  return work()
}

/** Bytes from a seed (Mulberry32), so that a run can be replayed. */
function seeded(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return {
    next: () => next() / 2 ** 32,
    bytes: (length: number) => {
      const bytes = Buffer.alloc(length)
      for (let at = 0; at < length; at += 1) bytes[at] = next() & 0xff
      return bytes
    },
  }
}

/** An upstream under a clock that only the test moves. */
function createWorld(t: TestContext, changes: Partial<UpstreamOptions> = {}) {
  t.mock.timers.reset()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  const seen: string[] = []
  const observe: UpstreamObserver = {
    finished: (_, { outcome, attempt }) => void seen.push(`${outcome} ${attempt}`),
    retried: () => void seen.push('retry'),
    stateChanged: (_, state) => void seen.push(state),
  }
  const options: UpstreamOptions = {
    name: 'source acme/hr',
    tenant: 'acme',
    kind: 'source',
    totalMilliseconds: TOTAL,
    concurrency: 100,
    judge: (error) =>
      error instanceof Said ? error.verdict : { kind: 'failure', retryable: false },
    ...changes,
  }
  const upstream = createUpstream(
    { clock: { now: () => now }, random: seeded(1), observe },
    options,
  )
  /** Moves clock and timers together, in steps small enough for what follows from each. */
  const pass = async (milliseconds: number, step = 5) => {
    await settled()
    for (let passed = 0; passed < milliseconds; passed += step) {
      now += step
      t.mock.timers.tick(step)
      await settled()
    }
  }
  /** The clock alone: the event loop was busy, and its timers are late. */
  const skip = (milliseconds: number) => {
    now += milliseconds
  }
  const fail = async (times: number) => {
    for (let time = 0; time < times; time += 1) await assert.rejects(upstream.call(failure), Said)
  }
  return { upstream, options, seen, pass, skip, fail, now: () => now }
}

const refused = (reason: UpstreamRefused['reason']) => (error: unknown) =>
  error instanceof UpstreamRefused && error.reason === reason && error.retryAfterSeconds >= 1

suite('one call', () => {
  test('gives what work gives, in one attempt', async (t) => {
    const { upstream, seen } = createWorld(t)
    assert.equal(await upstream.call((_, attempt) => Promise.resolve(attempt)), 1)
    await assert.rejects(upstream.call(answer), Said)
    await assert.rejects(upstream.call(failure), Said)
    assert.deepEqual(seen, ['ok 1', 'answer 1', 'failure 1'])
  })

  test('ends at the deadline even if work does not listen, and its place is free again', async (t) => {
    const { upstream, pass, seen } = createWorld(t, { concurrency: 1 })
    let given: AbortSignal | undefined
    const call = assert.rejects(
      upstream.call((signal) => {
        given = signal
        return never()
      }),
      DeadlineExceeded,
    )
    await pass(TOTAL - 5)
    assert.deepEqual([given?.aborted, upstream.facts().inFlight], [false, 1])
    await pass(5)
    await call
    assert.deepEqual([given?.aborted, upstream.facts().inFlight], [true, 0])
    assert.deepEqual(seen, ['timeout 1'])
    assert.equal(upstream.facts().lastFailure, `no result within ${TOTAL} ms`)
  })

  test('is over when the time is, whatever an adapter makes of the signal', async (t) => {
    const { upstream, pass } = createWorld(t)
    const call = assert.rejects(
      upstream.call(
        (signal) =>
          new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(new Said({ kind: 'answer' })))
          }),
      ),
      DeadlineExceeded,
    )
    await pass(TOTAL)
    await call
    assert.equal(upstream.facts().failures, 1)
  })

  test('tells operators the code or the class of a failure, never its message (it may hold an address or a user)', async (t) => {
    const { upstream } = createWorld(t)
    await assert.rejects(upstream.call(failure))
    assert.equal(upstream.facts().lastFailure, 'Error')
    const coded = Object.assign(new Error('connect 10.1.2.3'), { code: 'ECONNREFUSED' })
    await assert.rejects(upstream.call(() => Promise.reject(coded)))
    assert.equal(upstream.facts().lastFailure, 'ECONNREFUSED')
    const summary = 'status 500'
    await assert.rejects(
      upstream.call(() => Promise.reject(new Said({ retryable: false, summary }))),
    )
    assert.equal(upstream.facts().lastFailure, summary)
  })
})

suite('retries', () => {
  test('a failure that may pass is tried once more after a wait of at most the backoff', async (t) => {
    const { upstream, pass, seen, now } = createWorld(t)
    const times: number[] = []
    const call = upstream.call((_, attempt) => {
      times.push(now())
      return attempt === 1 ? passing() : well()
    })
    await pass(UPSTREAM_BOUNDS.backoffMilliseconds)
    assert.equal(await call, 'well')
    assert.equal(times.length, 2)
    assert.deepEqual(seen, ['failure 1', 'retry', 'ok 2'])
  })

  test('answers, failures that last, and the deadline are not tried again', async (t) => {
    const { upstream, pass, seen } = createWorld(t)
    await assert.rejects(upstream.call(answer))
    await assert.rejects(upstream.call(failure))
    const late = assert.rejects(upstream.call(never), DeadlineExceeded)
    await pass(TOTAL)
    await late
    assert.ok(!seen.includes('retry'))
  })

  test('Retry-After is waited for when it fits, and not a moment less', async (t) => {
    const { upstream, pass, now } = createWorld(t)
    const times: number[] = []
    const call = upstream.call((_, attempt) => {
      times.push(now())
      return attempt === 1 ? Promise.reject(new Said({ retryAfterMilliseconds: 400 })) : well()
    })
    await pass(TOTAL)
    assert.equal(await call, 'well')
    const [first = 0, second = 0] = times
    assert.ok(second - first >= 400 && second - first <= 505, `${second - first}`)
  })

  test('Retry-After that does not fit into the deadline ends the call at once', async (t) => {
    const { upstream, seen } = createWorld(t)
    const later = new Said({ retryAfterMilliseconds: TOTAL })
    await assert.rejects(
      upstream.call(() => Promise.reject(later)),
      (error) => error === later,
    )
    assert.deepEqual(seen, ['failure 1'])
  })

  test('what the dependency said last is told, not that its breaker opened on the way', async (t) => {
    const { upstream, pass, fail } = createWorld(t)
    const call = assert.rejects(upstream.call(passing), Said)
    await settled()
    await fail(9)
    await pass(TOTAL)
    await call
  })

  test('the failure that opens the breaker ends its call at once', async (t) => {
    const { upstream, fail, seen } = createWorld(t)
    await fail(9)
    await assert.rejects(upstream.call(passing), Said)
    assert.ok(!seen.includes('retry'))
  })

  test('retries are not saved up without end: an outage after a good hour is no storm', async (t) => {
    const { upstream, pass, seen } = createWorld(t)
    for (let call = 0; call < 1000; call += 1) await upstream.call(well)
    const calls = Promise.allSettled(Array.from({ length: 40 }, () => upstream.call(passing)))
    await pass(TOTAL)
    await calls
    const retries = seen.filter((event) => event === 'retry').length
    assert.ok(retries <= UPSTREAM_BOUNDS.retryBurst + 4, `${retries}`)
  })

  for (const [share, what] of [
    [0.1, 'a tenth'],
    [0.4, 'four tenths'],
  ] as const)
    test(`10,000 calls of which ${what} fail make at most 11,000 attempts`, async (t) => {
      // Without the breaker, so that nothing but the budget holds it back.
      const window = { ...UPSTREAM_BOUNDS.window, failureShare: 1 }
      const { upstream, pass, seen } = createWorld(t, { bounds: { window } })
      const dice = seeded(7)
      let attempts = 0
      const work = () => {
        attempts += 1
        return dice.next() < share ? passing() : well()
      }
      for (let batch = 0; batch < 100; batch += 1) {
        const calls = Promise.allSettled(Array.from({ length: 100 }, () => upstream.call(work)))
        await pass(UPSTREAM_BOUNDS.backoffMilliseconds, 50)
        await calls
      }
      assert.ok(attempts <= 11_000, `${attempts}`)
      // Nor is it that there are none.
      assert.ok(attempts > 10_800, `${attempts}`)
      assert.equal(seen.filter((event) => event === 'retry').length, attempts - 10_000)
    })

  test('with one call now and then a retry is still allowed', async (t) => {
    const { upstream, pass, seen } = createWorld(t)
    for (let call = 0; call < 5; call += 1) {
      const failing = assert.rejects(upstream.call(passing))
      await pass(UPSTREAM_BOUNDS.backoffMilliseconds)
      await failing
      await pass(60_000, 10_000)
    }
    assert.equal(seen.filter((event) => event === 'retry').length, 5)
  })

  test('of a few calls at once only one is tried again for nothing', async (t) => {
    const { upstream, pass, seen } = createWorld(t)
    await pass(60_000, 10_000)
    const calls = Promise.allSettled(Array.from({ length: 5 }, () => upstream.call(passing)))
    await pass(TOTAL)
    await calls
    // The one that is there from the start, and the one that time has earned.
    assert.equal(seen.filter((event) => event === 'retry').length, 2)
  })

  test('whatever the dependency does: no attempt beyond those allowed, none past the deadline, and every call ends by then', async (t) => {
    const behaviour = fc.record({
      takes: fc.integer({ min: 0, max: 260 }).map((fives) => fives * 5),
      fails: fc.boolean(),
      retryable: fc.boolean(),
      retryAfter: fc.option(fc.integer({ min: 0, max: 1200 }), { nil: undefined }),
    })
    const call = fc.record({ at: fc.nat(600), attempts: fc.array(behaviour, { maxLength: 4 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.array(call, { minLength: 1, maxLength: 8 }),
        fc.nat(3),
        async (calls, retries) => {
          const { upstream, pass, now } = createWorld(t, {
            concurrency: 3,
            bounds: { retries },
          })
          const ends = calls.map(async ({ at, attempts }) => {
            await takes(at, well)
            const startedAt = now()
            let made = 0
            const outcome = await Promise.allSettled([
              upstream.call((signal, attempt) => {
                made += 1
                assert.equal(attempt, made)
                assert.ok(!signal.aborted)
                assert.ok(now() < startedAt + TOTAL)
                const plan = attempts[attempt - 1]
                if (!plan) return well()
                const verdict: Partial<Verdict> = {
                  retryable: plan.retryable,
                  ...(plan.retryAfter !== undefined && { retryAfterMilliseconds: plan.retryAfter }),
                }
                return takes(plan.takes, () =>
                  plan.fails ? Promise.reject(new Said(verdict)) : well(),
                )
              }),
            ])
            assert.ok(made <= retries + 1)
            assert.ok(now() - startedAt <= TOTAL, `${now() - startedAt}`)
            return outcome
          })
          await pass(600 + TOTAL + 5)
          for (const [end] of await Promise.all(ends))
            if (end.status === 'rejected')
              assert.ok(
                [Said, DeadlineExceeded, UpstreamRefused].some(
                  (kind) => end.reason instanceof kind,
                ),
                String(end.reason),
              )
          assert.equal(upstream.facts().inFlight, 0)
        },
      ),
      { numRuns: 200 },
    )
  })
})

suite('the breaker', () => {
  test('failures open it, and nothing is asked until one probe is let through', async (t) => {
    const { upstream, pass, fail, seen } = createWorld(t)
    await fail(10)
    assert.deepEqual([upstream.facts().state, upstream.facts().retryAfterSeconds], ['open', 5])
    await assert.rejects(upstream.call(well), refused('open'))
    await pass(5000, 1000)
    assert.equal(await upstream.call(well), 'well')
    assert.equal(upstream.facts().state, 'closed')
    assert.deepEqual(seen.slice(9), ['open', 'failure 1', 'refused 0', 'probing', 'closed', 'ok 1'])
  })

  test('of a hundred callers after a failure exactly one probes, and the others are refused at once (cockatiel queues them)', async (t) => {
    const { upstream, pass, fail } = createWorld(t)
    await fail(10)
    await pass(5000, 1000)
    let asked = 0
    const gate = Promise.withResolvers<string>()
    const calls = Array.from({ length: 100 }, () =>
      upstream.call(() => {
        asked += 1
        return gate.promise
      }),
    )
    const others = await Promise.allSettled(calls.slice(1))
    assert.ok(others.every((end) => end.status === 'rejected' && refused('open')(end.reason)))
    gate.resolve('well again')
    assert.equal(await calls[0], 'well again')
    assert.equal(asked, 1)
    assert.equal(await upstream.call(well), 'well')
  })

  test('calls that are too slow open it although they succeed', async (t) => {
    const { upstream, pass } = createWorld(t)
    for (let round = 0; round < 10; round += 1) {
      const call = upstream.call(() => takes(650, well))
      await pass(650, 50)
      assert.equal(await call, 'well')
    }
    assert.deepEqual([upstream.facts().state, upstream.facts().slow], ['open', 10])
  })

  test('answers never open it, however many come', async (t) => {
    const { upstream } = createWorld(t)
    for (let call = 0; call < 200; call += 1) await assert.rejects(upstream.call(answer), Said)
    assert.equal(upstream.facts().state, 'closed')
  })

  test('a caller that gives up on the probe neither closes nor opens it (cockatiel closes it)', async (t) => {
    for (const [end, state] of [
      [well, 'closed'],
      [failure, 'open'],
    ] as const) {
      const { upstream, pass, fail } = createWorld(t)
      await fail(10)
      await pass(5000, 1000)
      const gate = Promise.withResolvers<void>()
      const caller = new AbortController()
      const probe = upstream.call(() => gate.promise.then<string>(end))
      const waiting = waitUnder(probe, caller.signal)
      caller.abort(new Error('the caller left'))
      await assert.rejects(waiting, /the caller left/)
      assert.equal(upstream.facts().state, 'probing')
      gate.resolve()
      await probe.catch(() => undefined)
      assert.equal(upstream.facts().state, state)
    }
  })

  test('callers that give up do not open it (under cockatiel three of them do)', async (t) => {
    const { upstream } = createWorld(t)
    const gate = Promise.withResolvers<string>()
    const caller = AbortSignal.abort(new Error('the caller left'))
    const calls = Array.from({ length: 50 }, () => upstream.call(() => gate.promise))
    for (const call of calls) await assert.rejects(waitUnder(call, caller))
    assert.deepEqual([upstream.facts().state, upstream.facts().failures], ['closed', 0])
    gate.resolve('well')
    await Promise.all(calls)
  })

  test('a wall clock set back by an hour does not keep it open', async (t) => {
    const { upstream, pass, fail } = createWorld(t)
    await fail(10)
    t.mock.method(Date, 'now', () => 0)
    await pass(5000, 1000)
    assert.equal(await upstream.call(well), 'well')
  })

  test('held open by an operator wins over the probe, over time, and over a probe under way', async (t) => {
    const { upstream, pass, fail } = createWorld(t)
    await fail(10)
    await pass(5000, 1000)
    const gate = Promise.withResolvers<string>()
    const probe = upstream.call(() => gate.promise)
    upstream.holdOpen()
    gate.resolve('well')
    await probe
    await pass(60_000, 10_000)
    await assert.rejects(upstream.call(well), refused('held-open'))
    assert.equal(upstream.facts().state, 'held-open')
    upstream.reset()
    assert.equal(await upstream.call(well), 'well')
    assert.deepEqual(
      [upstream.facts().state, upstream.facts().failures, upstream.facts().lastFailure],
      ['closed', 0, undefined],
    )
  })
})

suite('the bulkhead', () => {
  test('calls beyond the places wait for one in their order; beyond the queue they are refused at once', async (t) => {
    const { upstream } = createWorld(t, { concurrency: 2, bounds: { queue: 2 } })
    const gates = Array.from({ length: 4 }, () => Promise.withResolvers<number>())
    const started: number[] = []
    const calls = gates.map((gate, index) =>
      upstream.call(() => {
        started.push(index)
        return gate.promise
      }),
    )
    await assert.rejects(upstream.call(well), refused('full'))
    assert.deepEqual(started, [0, 1])
    for (const [index, gate] of gates.entries()) {
      gate.resolve(index)
      assert.equal(await calls[index], index)
      await settled()
      assert.equal(upstream.facts().inFlight, Math.min(2, 3 - index))
    }
    assert.deepEqual(started, [0, 1, 2, 3])
  })

  test('a call waits for a place no longer than a moment, and says nothing against the dependency then', async (t) => {
    const { upstream, pass } = createWorld(t, { concurrency: 1 })
    const gate = Promise.withResolvers<string>()
    const first = upstream.call(() => gate.promise)
    let asked = false
    const second = assert.rejects(
      upstream.call(() => {
        asked = true
        return well()
      }),
      refused('full'),
    )
    await pass(UPSTREAM_BOUNDS.queueMilliseconds)
    await second
    gate.resolve('well')
    await first
    await settled()
    assert.equal(asked, false)
    assert.deepEqual([upstream.facts().calls, upstream.facts().inFlight], [1, 0])
  })

  test('one that gave up waiting leaves its place in the queue to others (under cockatiel it keeps it)', async (t) => {
    const { upstream, pass } = createWorld(t, { concurrency: 1, bounds: { queue: 1 } })
    const gate = Promise.withResolvers<string>()
    const first = upstream.call(() => gate.promise)
    const second = assert.rejects(upstream.call(well), refused('full'))
    await pass(UPSTREAM_BOUNDS.queueMilliseconds)
    await second
    const third = upstream.call(well)
    gate.resolve('well')
    assert.deepEqual(await Promise.all([first, third]), ['well', 'well'])
  })

  test('the time in the queue is part of the whole time', async (t) => {
    const { upstream, pass, now } = createWorld(t, { concurrency: 1 })
    const gate = Promise.withResolvers<string>()
    const first = upstream.call(() => gate.promise)
    let endedAt = 0
    const second = assert.rejects(upstream.call(never), DeadlineExceeded).finally(() => {
      endedAt = now()
    })
    await pass(90)
    gate.resolve('well')
    await first
    await pass(TOTAL)
    await second
    assert.equal(endedAt, TOTAL)
  })

  test('it opens for those who wait when the breaker opens meanwhile: they are refused, not let through', async (t) => {
    const { upstream } = createWorld(t, { concurrency: 10 })
    const gate = Promise.withResolvers<string>()
    const calls = Array.from({ length: 10 }, () => upstream.call(() => gate.promise))
    const waiting = upstream.call(well)
    gate.reject(new Said({ retryable: false }))
    await Promise.allSettled(calls)
    await assert.rejects(waiting, refused('open'))
  })

  test('a place that comes after the deadline, because the event loop was busy, is no failure of the dependency', async (t) => {
    const { upstream, skip } = createWorld(t, { concurrency: 1 })
    const gate = Promise.withResolvers<string>()
    const first = upstream.call(() => gate.promise)
    const second = assert.rejects(upstream.call(well), refused('full'))
    skip(TOTAL)
    gate.resolve('well')
    await first
    await second
    assert.equal(upstream.facts().failures, 0)
  })

  test('fewer places than calls under way: nobody comes in until enough have left', async (t) => {
    const { upstream, options } = createWorld(t, { concurrency: 2 })
    const gates = [1, 2, 3].map(() => Promise.withResolvers<string>())
    const calls = gates.map(({ promise }) => upstream.call(() => promise))
    upstream.adopt({ ...options, concurrency: 1 })
    for (const left of [1, 1, 0]) {
      gates.shift()?.resolve('well')
      await calls.shift()
      await settled()
      assert.equal(upstream.facts().inFlight, left)
    }
  })

  test('options that change hold from the next call on', async (t) => {
    const { upstream, options, pass } = createWorld(t, { concurrency: 1 })
    const gate = Promise.withResolvers<string>()
    const first = upstream.call(() => gate.promise)
    upstream.adopt({ ...options, concurrency: 2, totalMilliseconds: 200 })
    const second = assert.rejects(upstream.call(never), DeadlineExceeded)
    await pass(200)
    await second
    upstream.adopt({ ...options, concurrency: 1 })
    gate.resolve('well')
    await first
    assert.equal(await upstream.call(well), 'well')
  })
})
