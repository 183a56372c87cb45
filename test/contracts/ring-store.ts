import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { Ring } from '../../src/keys/ring.ts'
import type { RingStore } from '../../src/keys/store.ts'
import { promiseOn } from './fixture.ts'

/** A ring store to test, fresh and empty. */
export interface RingStoreFixture {
  readonly rings: RingStore
  /** Another instance over the same state; in memory the same one. */
  readonly second: RingStore
  /** Closes both and opens the state again. */
  reopen(): Promise<RingStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(10_000)

function ring(version: number, reason = 'test'): Ring {
  return {
    version,
    keys: [
      {
        kid: `k${version}`,
        alg: 'ES256',
        state: 'active',
        publicJwk: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' },
        createdAt: 1_800_000_000_000,
        activatedAt: 1_800_000_000_001,
        reason,
        by: 'test',
      },
    ],
  }
}

/** What every ring store promises; `open` gives a fresh one for each test. */
export function ringStoreContract(name: string, open: () => Promise<RingStoreFixture>): void {
  const promise = promiseOn(open)

  describe(`ring store: ${name}`, () => {
    promise('the ring of a tenant is undefined until one is written', async ({ rings, second }) => {
      assert.equal(await rings.load('acme', soon()), undefined)
      assert.equal(await rings.compareAndSet('acme', 0, ring(1), soon()), true)
      assert.deepEqual(await rings.load('acme', soon()), ring(1))
      assert.deepEqual(await second.load('acme', soon()), ring(1))
      assert.equal(await rings.load('other', soon()), undefined)
    })

    promise(
      'a ring is replaced only at the version that was expected',
      async ({ rings, second }) => {
        assert.equal(await rings.compareAndSet('acme', 1, ring(2), soon()), false)
        assert.equal(await rings.load('acme', soon()), undefined)
        assert.equal(await rings.compareAndSet('acme', 0, ring(1), soon()), true)
        assert.equal(await second.compareAndSet('acme', 0, ring(1, 'late'), soon()), false)
        assert.equal(await second.compareAndSet('acme', 1, ring(2), soon()), true)
        assert.equal(await rings.compareAndSet('acme', 1, ring(2, 'late'), soon()), false)
        assert.deepEqual(await rings.load('acme', soon()), ring(2))
      },
    )

    promise('of 20 concurrent callers exactly one sets the first ring, and the next', async (f) => {
      for (const expected of [0, 1]) {
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            (n % 2 === 0 ? f.rings : f.second).compareAndSet(
              'acme',
              expected,
              ring(expected + 1, `caller ${n}`),
              soon(),
            ),
          ),
        )
        assert.equal(results.filter(Boolean).length, 1)
        const stored = await f.rings.load('acme', soon())
        assert.equal(stored?.keys[0]?.reason, `caller ${results.indexOf(true)}`)
      }
    })

    promise('a ring whose version does not follow the expected one rejects', async ({ rings }) => {
      await assert.rejects(rings.compareAndSet('acme', 0, ring(2), soon()))
      await assert.rejects(rings.compareAndSet('acme', 0, ring(0), soon()))
      assert.equal(await rings.load('acme', soon()), undefined)
    })

    promise('a ring is there after everything was closed and opened again', async (fixture) => {
      await fixture.rings.compareAndSet('acme', 0, ring(1), soon())
      assert.deepEqual(await (await fixture.reopen()).load('acme', soon()), ring(1))
    })

    promise('a stored ring does not change with the object it came from', async ({ rings }) => {
      const mutable = structuredClone(ring(1)) as { version: number; keys: unknown[] }
      await rings.compareAndSet('acme', 0, mutable as unknown as Ring, soon())
      mutable.keys.length = 0
      assert.deepEqual(await rings.load('acme', soon()), ring(1))
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ rings }) => {
      await assert.rejects(rings.load('acme', AbortSignal.abort()))
      await assert.rejects(rings.compareAndSet('acme', 0, ring(1), AbortSignal.abort()))
      assert.equal(await rings.load('acme', soon()), undefined)
    })
  })
}
