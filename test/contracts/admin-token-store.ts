import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe } from 'node:test'
import type { AdminTokenRecord, AdminTokenStore } from '../../src/http/admin-tokens.ts'
import { promiseOn } from './fixture.ts'

/** An admin token store to test, fresh and empty. */
export interface AdminTokenStoreFixture {
  readonly tokens: AdminTokenStore
  /** Another instance over the same state, as the command line would have; in memory the same one. */
  readonly second: AdminTokenStore
  /** Closes both and opens the state again. */
  reopen(): Promise<AdminTokenStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(10_000)
const NOW = 1_800_000_000_000

function record(token: string, change: Partial<AdminTokenRecord> = {}): AdminTokenRecord {
  const hash = createHash('sha256').update(token).digest()
  return { hash, role: 'admin', by: 'ops', expiresAt: NOW, ...change }
}

/** What every admin token store promises; `open` gives a fresh one for each test. */
export function adminTokenStoreContract(
  name: string,
  open: () => Promise<AdminTokenStoreFixture>,
): void {
  const promise = promiseOn(open)

  describe(`admin token store: ${name}`, () => {
    promise('a record added by another process is found', async ({ tokens, second }) => {
      const added = record('t1')
      await second.add(added, soon())
      assert.deepEqual(await tokens.find(added.hash, soon()), added)
      assert.equal(await tokens.find(record('t2').hash, soon()), undefined)
    })

    promise('a record is there after everything was closed and opened again', async (fixture) => {
      const added = record('t1')
      await fixture.tokens.add(added, soon())
      assert.deepEqual(await (await fixture.reopen()).find(added.hash, soon()), added)
    })

    promise('a record is found whether it has expired or not', async ({ tokens }) => {
      const old = record('old', { expiresAt: 1 })
      await tokens.add(old, soon())
      assert.deepEqual(await tokens.find(old.hash, soon()), old)
    })

    promise('expire forgets records that expired before now, and no others', async ({ tokens }) => {
      const old = record('old', { expiresAt: NOW - 1 })
      const edge = record('edge', { expiresAt: NOW })
      await tokens.add(old, soon())
      await tokens.add(edge, soon())
      await tokens.expire(NOW, soon())
      assert.equal(await tokens.find(old.hash, soon()), undefined)
      assert.deepEqual(await tokens.find(edge.hash, soon()), edge)
    })

    promise('a hash added again rejects and keeps its role', async ({ tokens, second }) => {
      const added = record('t1', { role: 'viewer' as AdminTokenRecord['role'] })
      await tokens.add(added, soon())
      await assert.rejects(second.add({ ...added, role: 'admin' }, soon()))
      assert.deepEqual(await tokens.find(added.hash, soon()), added)
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ tokens }) => {
      const added = record('t1')
      await assert.rejects(tokens.add(added, AbortSignal.abort()))
      await assert.rejects(tokens.find(added.hash, AbortSignal.abort()))
      assert.equal(await tokens.find(added.hash, soon()), undefined)
      await tokens.add(added, soon())
      await assert.rejects(tokens.expire(NOW + 1, AbortSignal.abort()))
      assert.deepEqual(await tokens.find(added.hash, soon()), added)
    })
  })
}
