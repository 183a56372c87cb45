import assert from 'node:assert/strict'
import { describe } from 'node:test'
import fc from 'fast-check'
import type { RateAnswer, RateAsk, RateStore } from '../../src/admission/rate-store.ts'
import type { Rate } from '../../src/lib/duration.ts'
import {
  type Bucket,
  backlogAt,
  emptyAfter,
  gcra,
  owed,
  remainingAt,
  waitBefore,
} from '../../src/lib/gcra.ts'
import { type Promising, promiseOn } from './fixture.ts'

/** A rate store to test, fresh and empty, under a clock that stands still. */
export interface RateStoreFixture {
  readonly store: RateStore
  /** What another replica would use; in memory the same one. */
  readonly second: RateStore
  /** Moves the store's clock, back when negative. */
  readonly advance: (milliseconds: number) => void
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(30_000)
const hourly = (count: number): Rate => ({ count, perMilliseconds: 3_600_000 })
const ask = (key: string, rate: Rate): RateAsk => ({ key, rate })
const happened = (key: string, rate: Rate): RateAsk => ({ key, rate, happened: true })

async function waits(store: RateStore, ...asks: RateAsk[]): Promise<number[]> {
  return (await store.take(asks, soon())).map(({ waitMilliseconds }) => waitMilliseconds)
}

/** What every rate store promises; `open` gives a fresh one for each test. */
export function rateStoreContract(name: string, open: () => Promise<RateStoreFixture>): void {
  const promise = promiseOn(open)
  describe(`rate store: ${name}`, () => {
    countingPromises(promise)
    togetherPromises(promise)
    happenedPromises(promise)
    modelPromise(promise)
  })
}

function countingPromises(promise: Promising<RateStoreFixture>): void {
  promise('a burst of exactly count passes, and not one more', async ({ store, second }) => {
    const rate = hourly(7)
    for (let i = 0; i < 7; i += 1)
      assert.deepEqual(await waits(i % 2 === 0 ? store : second, ask('client\0a', rate)), [0])
    assert.deepEqual(await waits(store, ask('client\0a', rate)), [Math.ceil(3_600_000 / 7)])
  })

  promise('after the announced wait, and not a millisecond earlier, the next passes', async (f) => {
    const rate = { count: 3, perMilliseconds: 1000 }
    for (let i = 0; i < 3; i += 1) await waits(f.store, ask('client\0a', rate))
    assert.deepEqual(await waits(f.store, ask('client\0a', rate)), [334])
    f.advance(333)
    assert.deepEqual(await waits(f.store, ask('client\0a', rate)), [1])
    f.advance(1)
    assert.deepEqual(await waits(f.store, ask('client\0a', rate)), [0])
  })

  promise('what is refused costs nothing', async ({ store, advance }) => {
    const rate = { count: 1, perMilliseconds: 1000 }
    await waits(store, ask('client\0a', rate))
    for (let i = 0; i < 9; i += 1) {
      advance(100)
      assert.deepEqual(await waits(store, ask('client\0a', rate)), [900 - i * 100])
    }
    advance(100)
    assert.deepEqual(await waits(store, ask('client\0a', rate)), [0])
  })

  promise('what is left and when all is there again is told', async ({ store, advance }) => {
    const rate = { count: 4, perMilliseconds: 1000 }
    const take = () => store.take([ask('client\0a', rate)], soon())
    assert.deepEqual(await take(), [{ waitMilliseconds: 0, remaining: 3, resetMilliseconds: 250 }])
    assert.deepEqual(await take(), [{ waitMilliseconds: 0, remaining: 2, resetMilliseconds: 500 }])
    advance(251)
    assert.deepEqual(await take(), [{ waitMilliseconds: 0, remaining: 2, resetMilliseconds: 499 }])
  })

  promise('keys of different kinds and different names are apart', async ({ store }) => {
    const rate = hourly(1)
    const keys = ['client\0a', 'client\0a\0', 'tenant\0a', 'client\0b', 'subject\0a\0b', 'total\0']
    for (const key of keys) assert.deepEqual(await waits(store, ask(key, rate)), [0])
    for (const key of keys) assert.notDeepEqual(await waits(store, ask(key, rate)), [0])
  })

  promise('a changed rate begins with a full burst', async ({ store }) => {
    await waits(store, ask('client\0a', hourly(1)))
    assert.deepEqual(await waits(store, ask('client\0a', hourly(2))), [0])
  })

  promise('a clock set back an hour locks nobody out for an hour', async ({ store, advance }) => {
    const rate = { count: 1, perMilliseconds: 1000 }
    await waits(store, ask('client\0a', rate))
    advance(-3_600_000)
    assert.deepEqual(await waits(store, ask('client\0a', rate)), [1000])
  })

  promise('the largest rate there is counts exactly', async ({ store, advance }) => {
    const rate = hourly(999_999_999)
    const key = 'client\0a'
    assert.deepEqual(await store.take([ask(key, rate)], soon()), [
      { waitMilliseconds: 0, remaining: 999_999_998, resetMilliseconds: 1 },
    ])
    await store.take([ask(key, rate)], soon())
    advance(0)
    const [answer] = await store.take([ask(key, rate)], soon())
    assert.deepEqual(answer, { waitMilliseconds: 0, remaining: 999_999_996, resetMilliseconds: 1 })
  })
}

function togetherPromises(promise: Promising<RateStoreFixture>): void {
  promise('buckets are taken from all together or not at all', async ({ store }) => {
    const small = ask('client\0a', hourly(1))
    const large = ask('tenant\0t', hourly(5))
    assert.deepEqual(await waits(store, large, small), [0, 0])
    for (let i = 0; i < 10; i += 1)
      assert.deepEqual(await waits(store, large, small), [0, 3_600_000])
    for (let i = 0; i < 4; i += 1) assert.deepEqual(await waits(store, large), [0])
    assert.deepEqual(await waits(store, large), [720_000])
  })

  promise('answers come in the order of the asks', async ({ store }) => {
    const rates = [5, 3, 9, 1].map(hourly)
    const asks = rates.map((rate, i) => ask(`client\0${i}`, rate))
    const answers = await store.take(asks, soon())
    assert.deepEqual(
      answers.map(({ remaining }) => remaining),
      [4, 2, 8, 0],
    )
  })

  promise('of many at once exactly as many pass as there is room for', async (f) => {
    const asks = [ask('total\0', hourly(1000)), ask('client\0a', hourly(40))]
    const all = Array.from({ length: 200 }, (_, i) => waits(i % 2 ? f.store : f.second, ...asks))
    const passed = (await Promise.all(all)).filter((each) => each.every((wait) => wait === 0))
    assert.equal(passed.length, 40)
  })
}

function happenedPromises(promise: Promising<RateStoreFixture>): void {
  promise('what has happened counts without room, up to ten bursts', async ({ store }) => {
    const rate = { count: 2, perMilliseconds: 60_000 }
    const seen: number[] = []
    for (let i = 0; i < 25; i += 1) seen.push(...(await waits(store, happened('failed\0a', rate))))
    assert.deepEqual(seen.slice(0, 4), [0, 30_000, 60_000, 90_000])
    assert.equal(seen.at(-1), 9 * 60_000 + 30_000)
    assert.deepEqual(await waits(store, ask('failed\0a', rate)), [9 * 60_000 + 30_000])
  })

  promise('one full bucket keeps nothing that has happened from another', async ({ store }) => {
    const rate = hourly(1)
    await waits(store, happened('failed\0a', rate))
    assert.deepEqual(
      await waits(store, happened('failed\0a', rate), happened('failed\0b', rate)),
      [7_200_000, 3_600_000],
    )
  })
}

const answerOf = (wait: number, backlog: number, rate: Rate): RateAnswer => ({
  waitMilliseconds: wait,
  remaining: remainingAt(backlog, rate),
  resetMilliseconds: emptyAfter(backlog, rate),
})

/** The store in a few lines, straight from the arithmetic. */
function createModel() {
  const buckets = new Map<string, Bucket>()
  let now = 1_790_000_000_000
  return {
    advance: (milliseconds: number) => {
      now += milliseconds
    },
    take(asks: readonly RateAsk[]): RateAnswer[] {
      const verdicts = asks.map(({ key, rate }) => gcra(buckets.get(key), now, rate))
      const refused = verdicts.some((v, i) => v.waitMilliseconds > 0 && !asks[i]?.happened)
      return asks.map(({ key, rate, happened: did }, i) => {
        const before = backlogAt(buckets.get(key), now, rate)
        if (refused) return answerOf(waitBefore(before, rate), before, rate)
        const backlog = did ? owed(before, rate) : (verdicts[i]?.bucket.backlog ?? 0)
        buckets.set(key, { at: now, backlog, rate })
        return answerOf(did ? waitBefore(backlog, rate) : 0, backlog, rate)
      })
    },
  }
}

function modelPromise(promise: Promising<RateStoreFixture>): void {
  promise('it answers as the arithmetic does, whatever is asked and when', async (fixture) => {
    // A rate belongs to its key here: what a changed rate does is a promise of its own.
    const buckets = fc.constantFrom(
      { key: 'client\0a', rate: { count: 3, perMilliseconds: 1000 } },
      { key: 'client\0b', rate: { count: 7, perMilliseconds: 60_000 } },
      { key: 'tenant\0t', rate: { count: 50, perMilliseconds: 1000 } },
      { key: 'total\0', rate: { count: 999_999_999, perMilliseconds: 3_600_000 } },
    )
    const step = fc.record({
      gap: fc.oneof(fc.constant(0), fc.integer({ min: -50, max: 900 })),
      asks: fc.uniqueArray(buckets, { minLength: 1, maxLength: 4, selector: ({ key }) => key }),
      happened: fc.boolean(),
    })
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        run += 1
        const model = createModel()
        for (const { gap, asks, happened: did } of steps) {
          fixture.advance(gap)
          model.advance(gap)
          const named = asks.map(({ key, rate }): RateAsk => {
            const own = `${key}\0run-${run}`
            return did ? happened(own, rate) : ask(own, rate)
          })
          assert.deepEqual(await fixture.store.take(named, soon()), model.take(named))
        }
      }),
      { numRuns: 60 },
    )
  })
}
