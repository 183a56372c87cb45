import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { KeySnapshot, KeySnapshots } from '../../src/subject/key-snapshots.ts'
import { promiseOn } from './fixture.ts'

/** A store of key snapshots to test, fresh and empty. */
export interface KeySnapshotsFixture {
  readonly snapshots: KeySnapshots
  /** Another instance over the same state, as after a restart; in memory the same one. */
  readonly reopen: () => KeySnapshots
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(30_000)

/** A snapshot of a discovered source. */
export function aSnapshot(over: Partial<KeySnapshot> = {}): KeySnapshot {
  return {
    place: 'discovery https://login.example',
    readAt: 1_800_000_000_000,
    metadata: { issuer: 'https://login.example', jwks_uri: 'https://login.example/jwks' },
    jwks: { keys: [{ kty: 'EC', crv: 'P-256', kid: 'k1', x: 'AA', y: 'ü\n' }] },
    maxAgeSeconds: 600,
    ...over,
  }
}

/** What every {@link KeySnapshots} promises; `open` gives a fresh one for each test. */
export function keySnapshotsContract(name: string, open: () => Promise<KeySnapshotsFixture>): void {
  const promise = promiseOn(open)

  describe(`key snapshots: ${name}`, () => {
    promise('what was saved comes back, also after a restart', async ({ snapshots, reopen }) => {
      await snapshots.save(aSnapshot(), soon())
      assert.deepEqual(plain(await snapshots.load(aSnapshot().place, soon())), aSnapshot())
      assert.deepEqual(plain(await reopen().load(aSnapshot().place, soon())), aSnapshot())
    })

    promise('what a source does not have is undefined again', async ({ snapshots, reopen }) => {
      const bare = aSnapshot({ metadata: undefined, maxAgeSeconds: undefined })
      await snapshots.save(bare, soon())
      const loaded = await reopen().load(bare.place, soon())
      assert.equal(loaded?.metadata, undefined)
      assert.equal(loaded?.maxAgeSeconds, undefined)
      assert.equal(loaded?.readAt, bare.readAt)
    })

    promise('a place that was never saved is undefined', async ({ snapshots }) => {
      await snapshots.save(aSnapshot(), soon())
      for (const place of ['', 'discovery https://login.example/', 'jwksUri https://login.example'])
        assert.equal(await snapshots.load(place, soon()), undefined)
    })

    promise('a later snapshot of a place takes the place of the earlier', async (given) => {
      await given.snapshots.save(aSnapshot(), soon())
      const later = aSnapshot({ readAt: 1_800_000_600_000, jwks: { keys: [] }, maxAgeSeconds: 0 })
      await given.snapshots.save(later, soon())
      assert.deepEqual(plain(await given.reopen().load(later.place, soon())), later)
    })

    promise('places are kept apart, whatever they are called', async ({ snapshots }) => {
      const places = [
        'a',
        '../a',
        'a/../b',
        'A',
        'discovery https://é.example',
        '\0',
        'x'.repeat(4000),
      ]
      for (const [readAt, place] of places.entries())
        await snapshots.save(aSnapshot({ place, readAt }), soon())
      for (const [readAt, place] of places.entries())
        assert.equal((await snapshots.load(place, soon()))?.readAt, readAt)
    })

    promise(
      'what is changed after saving or loading changes nothing kept',
      async ({ snapshots }) => {
        const keys: unknown[] = [{ kid: 'k1' }]
        await snapshots.save(aSnapshot({ jwks: { keys } }), soon())
        keys.push({ kid: 'planted' })
        const loaded = plain(await snapshots.load(aSnapshot().place, soon()))
        assert.deepEqual(loaded?.jwks, { keys: [{ kid: 'k1' }] })
      },
    )

    promise('of many saves at once one stays whole', async ({ snapshots, reopen }) => {
      const all = Array.from({ length: 20 }, (_, n) =>
        aSnapshot({
          readAt: n,
          jwks: { keys: Array.from({ length: 50 }, () => ({ kid: `k${n}` })) },
        }),
      )
      await Promise.all(all.map((snapshot) => snapshots.save(snapshot, soon())))
      const kept = plain(await reopen().load(aSnapshot().place, soon()))
      assert.deepEqual(kept, all[kept?.readAt ?? -1])
    })
  })
}

/** As an ordinary value: objects read from disk have no prototype, which deepEqual would tell apart. */
function plain<T>(value: T): T {
  return value === undefined ? value : structuredClone(value)
}
