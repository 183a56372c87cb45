import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Breaker, BreakerOpen, createBreaker } from './breaker.ts'
import { createBreakerWindow } from './breaker-window.ts'

class Down extends Error {}

const down = () => Promise.reject(new Down())
const well = () => Promise.resolve('well')
const no = () => Promise.reject(new TypeError('no'))

function createWorld(failures = 3) {
  let milliseconds = 0
  const states: string[] = []
  const breaker = createBreaker(
    { clock: { now: () => milliseconds } },
    {
      failures,
      openMilliseconds: 5000,
      isFailure: (error) => error instanceof Down,
      changed: (state) => states.push(state),
    },
  )
  return {
    breaker,
    states,
    pass: (more: number) => {
      milliseconds += more
    },
  }
}

async function fail(breaker: Breaker, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) await assert.rejects(breaker.run(down), Down)
}

const isOpen = (seconds: number) => (error: unknown) =>
  error instanceof BreakerOpen && error.retryAfterSeconds === seconds

test('results and errors pass through a closed breaker', async () => {
  const { breaker } = createWorld()
  assert.equal(await breaker.run(well), 'well')
  await assert.rejects(breaker.run(no), TypeError)
  await assert.rejects(breaker.run(down), Down)
  assert.deepEqual([breaker.state, breaker.retryAfterSeconds()], ['closed', 0])
})

test('failures in a row open it, and then work is not run', async () => {
  const { breaker, pass } = createWorld()
  await fail(breaker, 3)
  assert.equal(breaker.state, 'open')
  let runs = 0
  const counted = () => {
    runs += 1
    return well()
  }
  await assert.rejects(breaker.run(counted), isOpen(5))
  pass(4001)
  await assert.rejects(breaker.run(counted), isOpen(1))
  assert.equal(runs, 0)
  pass(999)
  assert.equal(await breaker.run(counted), 'well')
  assert.equal(breaker.state, 'closed')
})

test('an answer ends a row of failures, also when the answer is no', async () => {
  for (const answer of [well, no]) {
    const { breaker } = createWorld()
    await fail(breaker, 2)
    await breaker.run(answer).catch(() => undefined)
    await fail(breaker, 2)
    assert.equal(breaker.state, 'closed')
    await fail(breaker, 1)
    assert.equal(breaker.state, 'open')
  }
})

test('errors that are answers never open it', async () => {
  const { breaker } = createWorld()
  for (let time = 0; time < 20; time += 1) await assert.rejects(breaker.run(no), TypeError)
  assert.equal(breaker.state, 'closed')
})

test('one call probes; others are turned away meanwhile and do not wait for it', async () => {
  const { breaker, pass, states } = createWorld()
  await fail(breaker, 3)
  pass(5000)
  const held = Promise.withResolvers<string>()
  const probe = breaker.run(() => held.promise)
  assert.equal(breaker.state, 'probing')
  await assert.rejects(breaker.run(well), isOpen(1))
  held.resolve('well again')
  assert.equal(await probe, 'well again')
  assert.deepEqual(states, ['open', 'probing', 'closed'])
  assert.equal(await breaker.run(well), 'well')
})

test('a probe that fails opens it for the whole time again', async () => {
  const { breaker, pass } = createWorld()
  await fail(breaker, 3)
  for (let round = 0; round < 3; round += 1) {
    pass(5000)
    await fail(breaker, 1)
    await assert.rejects(breaker.run(well), isOpen(5))
  }
  pass(5000)
  await assert.rejects(breaker.run(no), TypeError) // an answer, so it is well again
  assert.equal(breaker.state, 'closed')
})

test('a late success of a call from before does not close an open breaker', async () => {
  const { breaker } = createWorld()
  const held = Promise.withResolvers<string>()
  const early = breaker.run(() => held.promise)
  await fail(breaker, 3)
  held.resolve('late')
  assert.equal(await early, 'late')
  await assert.rejects(breaker.run(well), isOpen(5))
})

test('a late failure of a call from before during the probe opens it, and the end of the probe changes nothing', async () => {
  const { breaker, pass } = createWorld()
  const early = Promise.withResolvers<string>()
  const old = breaker.run(() => early.promise)
  await fail(breaker, 3)
  pass(5000)
  const held = Promise.withResolvers<string>()
  const probe = breaker.run(() => held.promise)
  early.reject(new Down())
  await assert.rejects(old, Down)
  assert.equal(breaker.state, 'open')
  held.resolve('well')
  await probe
  await assert.rejects(breaker.run(well), isOpen(5))
})

test('setting the wall clock back does not keep it open', async (t) => {
  const { breaker, pass } = createWorld()
  await fail(breaker, 3)
  t.mock.method(Date, 'now', () => 0)
  pass(5000)
  assert.equal(await breaker.run(well), 'well')
})

function createWindowWorld() {
  let milliseconds = 0
  const clock = { now: () => milliseconds }
  const states: string[] = []
  const window = createBreakerWindow(
    { clock },
    { calls: 20, ageMilliseconds: 60_000, leastCalls: 4, failureShare: 0.5, slowShare: 0.75 },
  )
  const breaker = createBreaker(
    { clock },
    {
      failures: window,
      openMilliseconds: 5000,
      isFailure: (error) => error instanceof Down,
      slowMilliseconds: () => 600,
      changed: (state) => states.push(state),
    },
  )
  const pass = (more: number) => {
    milliseconds += more
  }
  const slowly = () => {
    pass(600)
    return well()
  }
  return { breaker, window, states, pass, slowly }
}

test('a share of failures opens it, whatever came in between', async () => {
  const { breaker } = createWindowWorld()
  for (const work of [down, well, down, well]) await breaker.run(work).catch(() => undefined)
  assert.equal(breaker.state, 'closed') // looked at only when a call is bad
  await fail(breaker, 1)
  assert.equal(breaker.state, 'open')
})

test('calls that succeed too slowly open it, and their results are still given', async () => {
  const { breaker, slowly } = createWindowWorld()
  for (let time = 0; time < 4; time += 1) assert.equal(await breaker.run(slowly), 'well')
  await assert.rejects(breaker.run(well), isOpen(5))
})

test('a probe that succeeds slowly opens it again; one that is quick closes it and forgets the past', async () => {
  const { breaker, window, pass, slowly } = createWindowWorld()
  await fail(breaker, 4)
  pass(5000)
  assert.equal(await breaker.run(slowly), 'well')
  assert.equal(breaker.state, 'open')
  pass(5000)
  assert.equal(await breaker.run(well), 'well')
  assert.deepEqual([breaker.state, window.counts().failures], ['closed', 0])
})

test('held open it lets nothing through, however long ago that was', async () => {
  const { breaker, pass, states } = createWindowWorld()
  breaker.holdOpen()
  breaker.holdOpen()
  for (let hour = 0; hour < 3; hour += 1) {
    pass(3_600_000)
    await assert.rejects(breaker.run(well), isOpen(30))
  }
  breaker.reset()
  assert.equal(await breaker.run(well), 'well')
  assert.deepEqual(states, ['held-open', 'closed'])
})

test('held open wins over a probe under way, whatever becomes of it', async () => {
  for (const end of [well, down]) {
    const { breaker, pass } = createWindowWorld()
    await fail(breaker, 4)
    pass(5000)
    const held = Promise.withResolvers<string>()
    const probe = breaker.run(() => held.promise)
    breaker.holdOpen()
    held.resolve(end())
    await probe.catch(() => undefined)
    assert.equal(breaker.state, 'held-open')
    await assert.rejects(breaker.run(well), isOpen(30))
  }
})

test('a reset closes it from any state, and tells of nothing but that', async () => {
  for (const failures of [0, 4]) {
    const { breaker, window, states } = createWindowWorld()
    await fail(breaker, failures)
    breaker.reset()
    assert.deepEqual([breaker.state, window.counts().calls], ['closed', 0])
    assert.deepEqual(states, failures === 0 ? [] : ['open', 'closed'])
    await breaker.run(well)
  }
  const row = createWorld()
  await fail(row.breaker, 2)
  row.breaker.reset()
  await fail(row.breaker, 2)
  assert.equal(row.breaker.state, 'closed')
})

test('calls from before a reset count for nothing after it', async () => {
  const { breaker, window } = createWindowWorld()
  const held = Promise.withResolvers<string>()
  const early = Array.from({ length: 10 }, () => breaker.run(() => held.promise))
  breaker.reset()
  held.reject(new Down())
  await Promise.allSettled(early)
  assert.deepEqual([breaker.state, window.counts().calls], ['closed', 0])
})
