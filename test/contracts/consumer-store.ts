import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { ConsumerFetch, ConsumerStore } from '../../src/keys/store.ts'
import { promiseOn } from './fixture.ts'

/** A consumer store to test, fresh and empty. */
export interface ConsumerStoreFixture {
  readonly consumers: ConsumerStore
  /** Another instance over the same state, as another replica would have; in memory the same one. */
  readonly second: ConsumerStore
  /** Closes both and opens the state again. */
  reopen(): Promise<ConsumerStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(60_000)
const NOW = 1_800_000_000_000

function fetched(change: Partial<ConsumerFetch> = {}): ConsumerFetch {
  return {
    consumer: 'orders-api',
    kids: ['k1', 'k2'],
    etag: '"one"',
    firstAt: NOW,
    lastAt: NOW,
    fetches: 1,
    ...change,
  }
}

/** What every consumer store promises; `open` gives a fresh one for each test. */
export function consumerStoreContract(
  name: string,
  open: () => Promise<ConsumerStoreFixture>,
): void {
  const promise = promiseOn(open)

  describe(`consumer store: ${name}`, () => {
    promise('fetches of one key set add up over instances, and widen its time', async (f) => {
      assert.deepEqual(await f.consumers.list('acme', soon()), [])
      await f.consumers.add('acme', fetched({ fetches: 2 }), soon())
      await f.second.add('acme', fetched({ firstAt: NOW - 5, lastAt: NOW - 1, fetches: 3 }), soon())
      await f.consumers.add('acme', fetched({ firstAt: NOW + 1, lastAt: NOW + 9 }), soon())
      const all = [fetched({ firstAt: NOW - 5, lastAt: NOW + 9, fetches: 6 })]
      assert.deepEqual(await f.consumers.list('acme', soon()), all)
      assert.deepEqual(await f.second.list('acme', soon()), all)
    })

    promise('each tenant, consumer and key set is told apart, the latest first', async (f) => {
      const other = fetched({ consumer: 'billing', kids: ['k2'], etag: '"two"', lastAt: NOW + 2 })
      const newer = fetched({ kids: [], etag: '"two"', lastAt: NOW + 3 })
      await f.consumers.add('acme', fetched(), soon())
      await f.second.add('acme', newer, soon())
      await f.consumers.add('acme', other, soon())
      await f.second.add('globex', fetched(), soon())
      assert.deepEqual(await f.consumers.list('acme', soon()), [newer, other, fetched()])
      assert.deepEqual(await f.consumers.list('globex', soon()), [fetched()])
    })

    promise('only the newest 20 key sets of a consumer are kept', async (fixture) => {
      const { consumers, second } = fixture
      const set = (n: number) => fetched({ etag: `"${n}"`, lastAt: NOW + n })
      const bystander = fetched({ consumer: 'billing', lastAt: NOW - 1 })
      const elsewhere = fetched({ lastAt: NOW - 1 })
      await consumers.add('acme', bystander, soon())
      await consumers.add('globex', elsewhere, soon())
      for (let n = 1; n <= 22; n += 1)
        await (n % 2 ? consumers : second).add('acme', set(n), soon())
      const newest = Array.from({ length: 20 }, (_, n) => set(22 - n))
      assert.deepEqual(await consumers.list('acme', soon()), [...newest, bystander])
      assert.deepEqual(await consumers.list('globex', soon()), [elsewhere])
      await consumers.add('acme', set(0), soon())
      assert.deepEqual(await second.list('acme', soon()), [...newest, bystander])
    })

    promise('of 20 reports at the same time none is lost', async ({ consumers, second }) => {
      await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? consumers : second).add(
            'acme',
            fetched({ firstAt: NOW - n, lastAt: NOW + n }),
            soon(),
          ),
        ),
      )
      const all = [fetched({ firstAt: NOW - 19, lastAt: NOW + 19, fetches: 20 })]
      assert.deepEqual(await consumers.list('acme', soon()), all)
    })

    promise('what was fetched outlives the process', async (fixture) => {
      await fixture.consumers.add('acme', fetched(), soon())
      assert.deepEqual(await (await fixture.reopen()).list('acme', soon()), [fetched()])
    })

    promise('what is kept does not change with the object it came from', async ({ consumers }) => {
      const kids = ['k1', 'k2']
      await consumers.add('acme', fetched({ kids }), soon())
      kids.length = 0
      assert.deepEqual(await consumers.list('acme', soon()), [fetched()])
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ consumers }) => {
      await assert.rejects(consumers.add('acme', fetched(), AbortSignal.abort()))
      await assert.rejects(consumers.list('acme', AbortSignal.abort()))
      assert.deepEqual(await consumers.list('acme', soon()), [])
    })
  })
}
