import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { KeyUsage, UsageStore } from '../../src/keys/store.ts'
import { promiseOn } from './fixture.ts'

/** A usage store to test, fresh and empty. */
export interface UsageStoreFixture {
  readonly usage: UsageStore
  /** Another instance over the same state, as another replica would have; in memory the same one. */
  readonly second: UsageStore
  /** Closes both and opens the state again. */
  reopen(): Promise<UsageStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(60_000)
const NOW = 1_800_000_000_000

const used = (kid: string, signatures: number, lastSignedAt = NOW): KeyUsage => ({
  kid,
  signatures,
  lastSignedAt,
})

async function listed(store: UsageStore, tenant = 'acme'): Promise<readonly KeyUsage[]> {
  return (await store.list(tenant, soon())).toSorted((a, b) => (a.kid < b.kid ? -1 : 1))
}

/** What every usage store promises; `open` gives a fresh one for each test. */
export function usageStoreContract(name: string, open: () => Promise<UsageStoreFixture>): void {
  const promise = promiseOn(open)

  describe(`usage store: ${name}`, () => {
    promise('signatures add up over reports and instances, each key alone', async (fixture) => {
      const { usage, second } = fixture
      assert.deepEqual(await listed(usage), [])
      await usage.add('acme', used('k1', 3), soon())
      await second.add('acme', used('k1', 4), soon())
      await second.add('acme', used('k2', 1), soon())
      await usage.add('globex', used('k1', 100), soon())
      assert.deepEqual(await listed(usage), [used('k1', 7), used('k2', 1)])
      assert.deepEqual(await listed(second, 'globex'), [used('k1', 100)])
    })

    promise('the last signature moves forward, never back, whatever comes late', async (f) => {
      await f.usage.add('acme', used('k1', 1, NOW), soon())
      await f.second.add('acme', used('k1', 1, NOW - 60_000), soon())
      assert.deepEqual(await listed(f.usage), [used('k1', 2, NOW)])
      await f.second.add('acme', used('k1', 1, NOW + 60_000), soon())
      assert.deepEqual(await listed(f.usage), [used('k1', 3, NOW + 60_000)])
    })

    promise('of 20 reports at the same time none is lost', async ({ usage, second }) => {
      await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          (n % 2 === 0 ? usage : second).add('acme', used('k1', n, NOW + n), soon()),
        ),
      )
      assert.deepEqual(await listed(usage), [used('k1', 190, NOW + 19)])
    })

    promise('counts beyond 32 bits are kept exactly', async ({ usage }) => {
      await usage.add('acme', used('k1', 2 ** 40 + 1), soon())
      await usage.add('acme', used('k1', 2), soon())
      assert.deepEqual(await listed(usage), [used('k1', 2 ** 40 + 3)])
    })

    promise('counts outlive the process', async (fixture) => {
      await fixture.usage.add('acme', used('k1', 3), soon())
      assert.deepEqual(await listed(await fixture.reopen()), [used('k1', 3)])
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ usage }) => {
      await assert.rejects(usage.add('acme', used('k1', 3), AbortSignal.abort()))
      await assert.rejects(usage.list('acme', AbortSignal.abort()))
      assert.deepEqual(await listed(usage), [])
    })
  })
}
