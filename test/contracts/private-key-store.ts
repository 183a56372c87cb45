import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { describe } from 'node:test'
import type { PrivateKeyStore } from '../../src/keys/store.ts'
import { Secret } from '../../src/lib/secret.ts'
import { promiseOn } from './fixture.ts'

/** A private key store to test, fresh and empty. */
export interface PrivateKeyStoreFixture {
  readonly keys: PrivateKeyStore
  /** Another instance over the same state; in memory the same one. */
  readonly second: PrivateKeyStore
  /** Closes both and opens the state again. */
  reopen(): Promise<PrivateKeyStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(10_000)

function newKey(): Buffer {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ format: 'der', type: 'pkcs8' })
}

/** What every private key store promises; `open` gives a fresh one for each test. */
export function privateKeyStoreContract(
  name: string,
  open: () => Promise<PrivateKeyStoreFixture>,
): void {
  const promise = promiseOn(open)

  describe(`private key store: ${name}`, () => {
    promise('a key comes back byte for byte, at every instance', async ({ keys, second }) => {
      const key = newKey()
      await keys.put('acme', 'k1', new Secret(Buffer.from(key)), soon())
      assert.deepEqual((await keys.get('acme', 'k1', soon()))?.reveal(), key)
      assert.deepEqual((await second.get('acme', 'k1', soon()))?.reveal(), key)
    })

    promise('a kid is undefined where it was never kept', async ({ keys }) => {
      await keys.put('acme', 'k1', new Secret(newKey()), soon())
      assert.equal(await keys.get('acme', 'k2', soon()), undefined)
      assert.equal(await keys.get('other', 'k1', soon()), undefined)
    })

    promise('a kid is never overwritten: a second put rejects', async ({ keys, second }) => {
      const key = newKey()
      await keys.put('acme', 'k1', new Secret(Buffer.from(key)), soon())
      await assert.rejects(second.put('acme', 'k1', new Secret(newKey()), soon()), /k1/)
      assert.deepEqual((await keys.get('acme', 'k1', soon()))?.reveal(), key)
      await keys.put('other', 'k1', new Secret(newKey()), soon())
    })

    promise('of 20 concurrent puts of one kid exactly one succeeds', async ({ keys, second }) => {
      const candidates = Array.from({ length: 20 }, newKey)
      const ends = await Promise.allSettled(
        candidates.map((key, n) =>
          (n % 2 === 0 ? keys : second).put('acme', 'k1', new Secret(Buffer.from(key)), soon()),
        ),
      )
      const winners = candidates.filter((_, n) => ends[n]?.status === 'fulfilled')
      assert.equal(winners.length, 1)
      assert.deepEqual((await keys.get('acme', 'k1', soon()))?.reveal(), winners[0])
    })

    promise('a destroyed key is undefined, and destroying it again resolves', async (fixture) => {
      await fixture.keys.put('acme', 'k1', new Secret(newKey()), soon())
      await fixture.keys.put('acme', 'k2', new Secret(newKey()), soon())
      await fixture.second.destroy('acme', 'k1', soon())
      await fixture.keys.destroy('acme', 'k1', soon())
      await fixture.keys.destroy('acme', 'never', soon())
      assert.equal(await fixture.keys.get('acme', 'k1', soon()), undefined)
      assert.notEqual(await fixture.keys.get('acme', 'k2', soon()), undefined)
      const again = await fixture.reopen()
      assert.equal(await again.get('acme', 'k1', soon()), undefined)
    })

    promise('a key is there after everything was closed and opened again', async (fixture) => {
      const key = newKey()
      await fixture.keys.put('acme', 'k1', new Secret(Buffer.from(key)), soon())
      const again = await fixture.reopen()
      assert.deepEqual((await again.get('acme', 'k1', soon()))?.reveal(), key)
    })

    promise('a caller that wipes its buffers does not wipe the stored key', async ({ keys }) => {
      const key = newKey()
      const given = Buffer.from(key)
      await keys.put('acme', 'k1', new Secret(given), soon())
      given.fill(0)
      const first = await keys.get('acme', 'k1', soon())
      first?.reveal().fill(0)
      assert.deepEqual((await keys.get('acme', 'k1', soon()))?.reveal(), key)
    })

    promise('a check resolves and keeps no key', async ({ keys }) => {
      await keys.check(soon())
      await keys.put('acme', 'k1', new Secret(newKey()), soon())
      await keys.check(soon())
      await assert.rejects(keys.check(AbortSignal.abort()))
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ keys }) => {
      const aborted = AbortSignal.abort()
      await assert.rejects(keys.put('acme', 'k1', new Secret(newKey()), aborted))
      await assert.rejects(keys.get('acme', 'k1', aborted))
      assert.equal(await keys.get('acme', 'k1', soon()), undefined)
      await keys.put('acme', 'k1', new Secret(newKey()), soon())
      await assert.rejects(keys.destroy('acme', 'k1', aborted))
      assert.notEqual(await keys.get('acme', 'k1', soon()), undefined)
    })
  })
}
