import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createMemoryRateStore } from '../adapters/memory/rate-store.ts'
import { DependencyUnavailable } from '../lib/unavailable.ts'
import type { RateStore } from './rate-store.ts'
import { createSharedOrLocal, shareOf } from './shared-or-local.ts'

const signal = new AbortController().signal
const clock = { now: () => 5000 }
const ask = (count: number) => ({ key: 'client\0a', rate: { count, perMilliseconds: 60_000 } })

function setUp(replicas: number) {
  let up = true
  let alone = 0
  const counted = createMemoryRateStore({ clock })
  const shared: RateStore = {
    async take(asks) {
      if (!up) throw new DependencyUnavailable('gone')
      return counted.take(asks)
    },
  }
  const store = createSharedOrLocal(
    { shared, local: createMemoryRateStore({ clock }), countedAlone: () => (alone += 1) },
    () => replicas,
  )
  const passed = async (times: number, count: number): Promise<number> => {
    let passes = 0
    for (let i = 0; i < times; i += 1)
      if ((await store.take([ask(count)], signal))[0]?.waitMilliseconds === 0) passes += 1
    return passes
  }
  return {
    store,
    passed,
    alone: () => alone,
    set: (to: boolean) => {
      up = to
    },
  }
}

test('while the shared store is away a replica has its share, and goes back by itself', async () => {
  const { passed, set, alone } = setUp(3)
  assert.equal(await passed(50, 10), 10)
  set(false)
  assert.equal(await passed(50, 10), 4)
  assert.equal(alone(), 50)
  set(true)
  assert.equal(await passed(50, 10), 0)
  assert.equal(alone(), 50)
})

test('however often it flips, no more pass than twice the limit', async () => {
  const { passed, set } = setUp(1)
  let total = 0
  for (let i = 0; i < 50; i += 1) {
    set(i % 2 === 0)
    total += await passed(5, 10)
  }
  assert.equal(total, 20)
})

test('a share is never nothing, and all shares together pass no more in the long run', () => {
  const rates = fc.record({
    count: fc.integer({ min: 1, max: 999_999_999 }),
    perMilliseconds: fc.constantFrom(1000, 60_000, 3_600_000),
  })
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 1000 }), (rate, replicas) => {
      const share = shareOf(rate, replicas)
      assert.ok(share.count >= 1)
      assert.ok(Number.isSafeInteger(share.count * share.perMilliseconds))
      assert.ok(share.count * replicas <= rate.count + replicas - 1)
      const together = (share.count / share.perMilliseconds) * replicas
      assert.ok(together <= (rate.count / rate.perMilliseconds) * (1 + 1e-9))
    }),
  )
})

test('a bug is no outage, and the reason of a signal goes through', async () => {
  const local = createMemoryRateStore()
  const bug: RateStore = { take: () => Promise.reject(new TypeError('bug')) }
  const store = createSharedOrLocal({ shared: bug, local }, () => 1)
  await assert.rejects(async () => store.take([ask(1)], signal), TypeError)
  const reason = new Error('ran out')
  const away: RateStore = { take: () => Promise.reject(new DependencyUnavailable('gone')) }
  const other = createSharedOrLocal({ shared: away, local }, () => 1)
  await assert.rejects(
    async () => other.take([ask(1)], AbortSignal.abort(reason)),
    (error) => error === reason,
  )
})
