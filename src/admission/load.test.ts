import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { aTenant } from '../../test/fakes/http-edge.ts'
import { isRefusal } from '../lib/refusal.ts'
import { createLoadGate, type LoadGateOptions, type Place, type Priority } from './load.ts'

const tenant = (name: string) => aTenant({ name })

/** An event loop under a clock of its own: what is due when a turn begins is done in it, timers first, and takes the time it says. */
function simulatedLoop() {
  let now = 0
  let slept = 0
  let order = 0
  /** In the order of their times. */
  const due: { readonly at: number; readonly order: number; readonly work: () => void }[] = []
  const at = (time: number, work: () => void, isTimer = false) => {
    order += 1
    let [from, to] = [0, due.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if ((due[middle]?.at ?? 0) <= time) from = middle + 1
      else to = middle
    }
    due.splice(from, 0, { at: time, order: isTimer ? order - 1e9 : order, work })
  }
  return {
    at,
    now: () => now,
    /** Keeps the thread. */
    work(milliseconds: number) {
      now += milliseconds
    },
    deps: {
      clock: { now: () => now },
      cpu: () => ({ user: (now - slept) * 1000, system: 0 }),
      after: (work: () => void, milliseconds: number) => at(now + milliseconds, work, true),
      afterTurn: (work: () => void) => at(now, work),
    },
    /** Until nothing is left to do. Promises are settled after each piece of work, as in Node. */
    async run() {
      while (due.length > 0) {
        const next = due[0]?.at ?? now
        if (next > now) {
          slept += next - now
          now = next
        }
        const later = due.findIndex((each) => each.at > now)
        const turn = due.splice(0, later === -1 ? due.length : later)
        turn.sort((one, other) => one.order - other.order)
        for (const { work } of turn) {
          work()
          for (let tick = 0; tick < 4; tick += 1) await Promise.resolve()
        }
      }
    },
  }
}

interface Storm {
  readonly tenant?: string
  readonly priority?: Priority
  readonly perSecond: number
  readonly from?: number
  readonly seconds: number
  /** How long a source keeps a request waiting. */
  readonly sourceMilliseconds?: number
}

const VERIFY_MILLISECONDS = 0.12
const SIGN_MILLISECONDS = 0.06
/** With these costs the thread can do so many a second. */
const CAPACITY = 1000 / (VERIFY_MILLISECONDS + SIGN_MILLISECONDS)
const COMMIT_MILLISECONDS = 2

/** Exchanges at a gate: work, a wait for the source, a group commit, work again. */
async function simulate(storms: readonly Storm[], options: Partial<LoadGateOptions> = {}) {
  const loop = simulatedLoop()
  const gate = createLoadGate(loop.deps, options)
  const answered: { readonly tenant: string; readonly at: number; readonly took: number }[] = []
  const vital: number[] = []
  let refused = 0
  let mostInFlight = 0
  let batch: (() => void)[] | undefined
  const commit = (done: () => void) => {
    if (batch) {
      batch.push(done)
      return
    }
    batch = []
    const flush = (waiters: readonly (() => void)[]) =>
      loop.at(loop.now() + COMMIT_MILLISECONDS, () => {
        for (const waiter of waiters) waiter()
        const next = batch ?? []
        batch = next.length > 0 ? [] : undefined
        if (next.length > 0) flush(next)
      })
    flush([done])
  }
  const no = (error: unknown) => {
    assert.ok(isRefusal(error, 'overloaded'))
    refused += 1
  }
  const arrive = (storm: Storm, arrivedAt: number) => {
    const name = storm.tenant ?? 'acme'
    const begin = (place: Place) => {
      mostInFlight = Math.max(mostInFlight, gate.facts().inFlight)
      loop.work(VERIFY_MILLISECONDS)
      loop.at(loop.now() + (storm.sourceMilliseconds ?? 0), () =>
        commit(() => {
          loop.work(SIGN_MILLISECONDS)
          place.leave()
          answered.push({ tenant: name, at: loop.now(), took: loop.now() - arrivedAt })
        }),
      )
    }
    try {
      const place = gate.enter(tenant(name), storm.priority ?? 'exchange')
      if (place instanceof Promise) place.then(begin, no)
      else begin(place)
    } catch (error) {
      no(error)
    }
  }
  let seed = 7
  const random = () => {
    seed = (seed * 1664525 + 1013904223) >>> 0
    return (seed + 0.5) / 2 ** 32
  }
  for (const storm of storms) {
    const from = storm.from ?? 0
    const gap = 1000 / storm.perSecond
    for (let time = from; time < from + storm.seconds * 1000; time -= Math.log(random()) * gap) {
      const arrivedAt = time
      loop.at(arrivedAt, () => arrive(storm, arrivedAt))
    }
    for (let time = from; time < from + storm.seconds * 1000; time += 10) {
      const askedAt = time
      loop.at(askedAt, () => vital.push(loop.now() - askedAt))
    }
  }
  await loop.run()
  const between = (from: number, to: number, of?: string) =>
    answered.filter(({ at, tenant: by }) => at >= from && at < to && (of ?? by) === by)
  return {
    gate,
    refused: () => refused,
    mostInFlight: () => mostInFlight,
    /** Answers a second between two times in milliseconds. */
    goodput: (from: number, to: number, of?: string) =>
      (between(from, to, of).length * 1000) / (to - from),
    p99: (from: number, to: number, of?: string) =>
      percentile(
        between(from, to, of).map(({ took }) => took),
        0.99,
      ),
    vitalP99: () => percentile(vital, 0.99),
  }
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

const loud = (times: number): Storm => ({
  tenant: 'loud',
  perSecond: (CAPACITY / 2) * times,
  seconds: 1,
})

suite('load gate, simulated', () => {
  test('below capacity nobody waits and nobody is refused', async () => {
    const run = await simulate([{ perSecond: CAPACITY * 0.7, seconds: 1 }])
    assert.equal(run.refused(), 0)
    assert.ok(run.p99(0, 1000) < 10, `${run.p99(0, 1000)}`)
  })

  for (const times of [2, 5]) {
    test(`at ${times} times what can be served, as much as ever is, and soon`, async () => {
      const run = await simulate([{ perSecond: CAPACITY * times, seconds: 1 }])
      assert.ok(run.goodput(200, 1000) > CAPACITY * 0.9, `${run.goodput(200, 1000)}`)
      assert.ok(run.p99(200, 1000) < 40, `${run.p99(200, 1000)}`)
      assert.ok(run.vitalP99() < 15, `a vital request waited ${run.vitalP99()} ms`)
      assert.equal(run.gate.facts().inFlight, 0)
      assert.equal(run.gate.facts().queued, 0)
      assert.ok(run.gate.facts().shed.exchange >= run.refused())
    })
  }

  test('a second after the storm it is as if there had been none', async () => {
    const calm = { perSecond: CAPACITY * 0.5, seconds: 0.5 }
    const run = await simulate([
      { perSecond: CAPACITY * 5, seconds: 1 },
      { ...calm, from: 2000 },
    ])
    const alone = await simulate([calm])
    assert.ok(run.goodput(2000, 2500) > CAPACITY * 0.45)
    assert.ok(run.p99(2000, 2500) <= alone.p99(0, 500) * 1.5 + 1)
  })

  test('a burst of 200 is served, not refused', async () => {
    const run = await simulate([{ perSecond: 200_000, seconds: 0.001 }])
    assert.equal(run.refused(), 0)
  })

  test('requests that wait for a slow source take no room from others', async () => {
    const run = await simulate([
      { perSecond: 500, seconds: 2, sourceMilliseconds: 800 },
      { perSecond: 1000, seconds: 2 },
    ])
    assert.equal(run.refused(), 0)
    assert.ok(run.mostInFlight() > 300)
  })

  test('however slow a source is, a tenant holds half of what may be in flight at most', async () => {
    const run = await simulate(
      [
        { tenant: 'slow', perSecond: 500, seconds: 2, sourceMilliseconds: 5000 },
        { tenant: 'quick', perSecond: 100, from: 1000, seconds: 1 },
      ],
      { mostInFlight: 200 },
    )
    assert.ok(run.mostInFlight() < 120, `${run.mostInFlight()}`)
    assert.ok(run.goodput(1000, 2000, 'quick') > 80)
  })

  test('a tenant at ten times its share does not crowd out a quiet one', async () => {
    const quiet = { tenant: 'quiet', perSecond: 100, seconds: 1 }
    const usual = await simulate([quiet, loud(1)])
    const stormy = await simulate([quiet, loud(10)])
    assert.ok(stormy.goodput(0, 1000, 'quiet') > usual.goodput(0, 1000, 'quiet') * 0.98)
    // The thread has no time to spare now, so everybody waits for its turns, but for no more than some of them.
    assert.ok(stormy.p99(200, 1000, 'quiet') < 25, `${stormy.p99(200, 1000, 'quiet')}`)
  })

  test('in a storm of both, introspection is served and exchanges are not starved', async () => {
    const run = await simulate([
      { tenant: 'introspect', priority: 'introspect', perSecond: CAPACITY * 2, seconds: 1 },
      { tenant: 'exchange', perSecond: CAPACITY * 2, seconds: 1 },
    ])
    const share = run.goodput(200, 1000, 'introspect') / run.goodput(200, 1000)
    assert.ok(share > 0.75 && share < 0.95, `${share}`)
  })
})

suite('load gate', () => {
  const still = {
    clock: { now: () => 0 },
    cpu: () => ({ user: 0, system: 0 }),
    after: () => {},
    afterTurn: () => {},
  }

  test('vital requests are let in whatever there is', () => {
    const gate = createLoadGate(still, { mostInFlight: 0 })
    assert.ok(!(gate.enter(tenant('a'), 'vital') instanceof Promise))
    assert.throws(
      () => gate.enter(tenant('a'), 'exchange'),
      (error) => isRefusal(error, 'overloaded'),
    )
  })

  test('a place is given back once, however often it is left', () => {
    const gate = createLoadGate(still)
    const first = gate.enter(tenant('a'), 'exchange')
    const second = gate.enter(tenant('a'), 'exchange')
    assert.ok(!(first instanceof Promise) && !(second instanceof Promise))
    first.leave()
    first.leave()
    assert.equal(gate.facts().inFlight, 1)
  })

  test('a few callers who wait for their answers all begin at once, and in a storm no more than may in a turn', () => {
    const turns: (() => void)[] = []
    const afterTurn = (work: () => void) => turns.push(work)
    const gate = createLoadGate({ ...still, afterTurn }, { initial: 8, mostQueued: 4 })
    const enter = () => gate.enter(tenant('a'), 'exchange')
    const begun: Place[] = []
    for (let next = enter(); !(next instanceof Promise); next = enter()) begun.push(next)
    assert.equal(begun.length, 64)

    void enter()
    assert.throws(enter, (error) => isRefusal(error, 'overloaded'))
    for (const place of begun) place.leave()
    turns.shift()?.()
    assert.deepEqual([gate.facts().inFlight, gate.facts().queued], [2, 0])
    while (!(enter() instanceof Promise));
    assert.equal(gate.facts().inFlight, 8)
  })

  test('beside another tenant no more begin in a turn than may, however few they are', () => {
    const gate = createLoadGate(still, { initial: 8 })
    assert.ok(!(gate.enter(tenant('quiet'), 'introspect') instanceof Promise))
    const places = Array.from({ length: 8 }, () => gate.enter(tenant('loud'), 'exchange'))
    assert.deepEqual(
      places.map((place) => place instanceof Promise),
      [false, false, false, false, false, false, false, true],
    )
  })

  test('exchanges that wait for a slow source, as many as may, leave room for introspection', () => {
    const gate = createLoadGate(still, { mostInFlight: 4 })
    void gate.enter(tenant('a'), 'exchange')
    void gate.enter(tenant('a'), 'exchange')
    assert.ok(gate.refusal(tenant('a'), 'exchange'))
    assert.equal(gate.refusal(tenant('a'), 'introspect'), undefined)
  })

  test('those who are refused are told different times to come back', () => {
    const gate = createLoadGate(still, { mostInFlight: 0 })
    const waits = Array.from({ length: 8 }, () => gate.refusal(undefined, 'exchange'))
    assert.ok(new Set(waits.map((refusal) => refusal?.retryAfterSeconds)).size >= 4)
    assert.ok(waits.every((refusal) => (refusal?.retryAfterSeconds ?? 0) >= 1))
  })

  test('it is overwhelmed when refusals outrun their budget, and not for long', () => {
    let now = 0
    const gate = createLoadGate({ ...still, clock: { now: () => now } })
    for (let i = 0; i < 1000 && !gate.overwhelmed; i++) gate.refused()
    assert.ok(gate.overwhelmed)
    now += 100
    assert.ok(!gate.overwhelmed)
  })
})
