import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { issued } from '../../../test/contracts/ledger.ts'
import { ledgerFollowsModel } from '../../../test/contracts/ledger-model.ts'
import { type Part, suiteNeeding } from '../../../test/skip.ts'
import { systemClock } from '../../lib/clock.ts'
import { createSystemRandom } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { writerStatements } from './sqlite-ledger.ts'
import type { WriterSetup } from './sqlite-protocol.ts'
import { createSqliteStore, type SqliteStoreDeps, type SqliteStoreOptions } from './sqlite-store.ts'
import { connect } from './sqlite-writer.ts'

const random = createSystemRandom()
const soon = () => AbortSignal.timeout(10_000)

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-sqlite-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const open = (options: SqliteStoreOptions, deps: Partial<SqliteStoreDeps> = {}) =>
  createSqliteStore({ clock: systemClock, random, ...deps }, options)

/** A writer thread that the test can reach. */
function reachableWriter() {
  const started: Worker[] = []
  const startWriter = (setup: WriterSetup) => {
    const worker = new Worker(new URL('./sqlite-writer.ts', import.meta.url), { workerData: setup })
    started.push(worker)
    return worker
  }
  return { started, startWriter }
}

/** Ends when `attempt` does not reject any more. */
async function untilWorks(attempt: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await attempt()
      return
    } catch (error) {
      if (tries === 100) throw error
      await setTimeout(50)
    }
  }
}

test('whatever batch an append meets, it ends as it would have ended alone', async () => {
  await ledgerFollowsModel(
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'rolemint-sqlite-'))
      let now = 0
      const store = await open({ path: join(folder, 'state.db') }, { clock: { now: () => now } })
      return {
        ledger: store.ledger,
        second: store.ledger,
        setTime: (milliseconds) => {
          now = milliseconds
        },
        reopen: async () => store.ledger,
        async close() {
          await store.close()
          rmSync(folder, { recursive: true, force: true })
        },
      }
    },
    { runs: 25, inOrder: true },
  )
})

test('the file is readable by its owner only, log included', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'new', 'state.db')
    const store = await open({ path })
    await store.ledger.append(issued(), [], soon())
    for (const file of [path, `${path}-wal`]) assert.equal(statSync(file).mode & 0o077, 0)
    await store.close()
  })
})

test('the connection that writes syncs the log with every commit, overwrites what is deleted, and never checkpoints inside a commit', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const store = await open({ path })
    await store.close() // first: a failing assertion must not leave its thread behind
    const { db } = connect({ path, busyMilliseconds: 20, statements: writerStatements() })
    const pragma = (name: string) => Object.values(db.prepare(`pragma ${name}`).get() ?? {})[0]
    try {
      assert.equal(pragma('synchronous'), 2) // FULL; NORMAL, 1, loses acknowledged entries in a power cut
      assert.equal(pragma('journal_mode'), 'wal')
      assert.equal(pragma('fullfsync'), 1)
      assert.equal(pragma('checkpoint_fullfsync'), 1)
      assert.equal(pragma('secure_delete'), 1)
      assert.equal(pragma('wal_autocheckpoint'), 0)
    } finally {
      db.close()
    }
  })
})

test('the log stays small under steady writing, so that no caller waits for a long checkpoint', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const store = await open({ path })
    for (let n = 0; n < 400; n += 1) await store.ledger.append(issued(), [], soon())
    const { size } = statSync(`${path}-wal`)
    await store.close()
    assert.ok(size < 6_000_000, `${size} bytes`) // 3 MB; with no checkpoint 9 MB
  })
})

test('five stores opened on a new file at the same moment all work', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const stores = await Promise.all(Array.from({ length: 5 }, () => open({ path })))
    await Promise.all(stores.map(({ ledger }) => ledger.append(issued(), [], soon())))
    assert.equal((await stores[0]?.ledger.recent('acme', 10, undefined, soon()))?.length, 5)
    await Promise.all(stores.map((store) => store.close()))
  })
})

test('a file written by a newer version is refused at the start', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    await (await open({ path })).close()
    const db = new DatabaseSync(path)
    db.exec(`insert into kysely_migration values ('9999_later', '2030-01-01T00:00:00.000Z')`)
    db.close()
    await assert.rejects(open({ path }), /9999_later/)
  })
})

test('a file that is no database is refused at the start', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    writeFileSync(path, 'this is a text, and long enough to be read as one'.repeat(50))
    await assert.rejects(open({ path }), /not a database/)
  })
})

test('when the writer thread dies what it had rejects, and a new one takes over', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const { started, startWriter } = reachableWriter()
    const store = await open({ path }, { startWriter })
    const before = issued()
    await store.ledger.append(before, [], soon())

    const calls = Promise.allSettled(
      Array.from({ length: 20 }, () => store.ledger.append(issued(), [], soon())),
    )
    await setTimeout(0)
    await started[0]?.terminate()
    await calls // each settles, one way or the other; none hangs

    assert.deepEqual(await store.ledger.append(issued(), [], soon()), { recorded: true })
    assert.equal(started.length, 2)
    assert.notEqual(await store.ledger.find('acme', before.id, soon()), undefined)
    await store.close()
  })
})

test('a writer thread that hangs makes callers reject at their signal, and then everything at once', async () => {
  await withFolder(async (folder) => {
    const hung = new Worker('require("node:worker_threads").parentPort.on("message", () => {})', {
      eval: true,
    })
    const store = await open(
      { path: join(folder, 'state.db'), stallMilliseconds: 200, maxPending: 3 },
      { startWriter: () => hung },
    )
    const never = new AbortController().signal
    await assert.rejects(store.ledger.append(issued(), [], AbortSignal.timeout(20)), /in time/)
    const patient = [
      store.ledger.append(issued(), [], never),
      store.ledger.append(issued(), [], never),
    ]
    await assert.rejects(store.ledger.append(issued(), [], never), /Too many/)
    for (const call of patient) await assert.rejects(call, /stalled/)
    await assert.rejects(store.rings.compareAndSet('acme', 0, { version: 1, keys: [] }, never))
    // Reads go another way.
    assert.equal(await store.ledger.find('acme', 'x', soon()), undefined)
    const closed = store.close()
    await hung.terminate()
    await closed
  })
})

test('while another process holds the write lock appends reject in time, then work again', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const store = await open({ path, busyMilliseconds: 20 })
    const other = new DatabaseSync(path)
    other.exec('begin immediate')
    await assert.rejects(store.ledger.append(issued(), [], soon()), /database is locked/)
    assert.equal(await store.ledger.find('acme', 'x', soon()), undefined)
    other.exec('rollback')
    other.close()
    assert.deepEqual(await store.ledger.append(issued(), [], soon()), { recorded: true })
    await store.close()
  })
})

test('a write that the database refuses for its content spoils no other of its batch', async () => {
  await withFolder(async (folder) => {
    const store = await open({ path: join(folder, 'state.db') })
    const broken = { ...issued(), at: 1.5 } // no whole number of milliseconds: STRICT refuses it
    const ends = await Promise.allSettled(
      [issued(), broken, issued()].map((entry) => store.ledger.append(entry, [], soon())),
    )
    assert.deepEqual(
      ends.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    await store.close()
  })
})

test('a destroyed key is in none of the files, neither sealed nor its data key', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const store = await open({ path })
    const keys = store.privateKeys(new Secret(Buffer.alloc(32, 1)))
    const raw = new DatabaseSync(path, { readOnly: true })
    for (let n = 0; n < 20; n += 1) {
      await keys.put('acme', `k${n}`, new Secret(randomBytes(140)), soon())
    }
    const row = raw.prepare(`select sealed, wrapped_key from private_keys where kid = 'k7'`).get()
    raw.close()
    const parts = [row?.['sealed'], row?.['wrapped_key']].map((part) =>
      Buffer.from(part as Uint8Array),
    )
    const files = () => Buffer.concat([readFileSync(path), readFileSync(`${path}-wal`)])
    assert.ok(parts.every((part) => files().includes(part)))
    await keys.destroy('acme', 'k7', soon())
    assert.ok(parts.every((part) => !files().includes(part)))
    assert.notEqual(await keys.get('acme', 'k8', soon()), undefined)
    await store.close()
  })
})

test('a key under another KEK rejects and names the kid; it is never undefined', async () => {
  await withFolder(async (folder) => {
    const store = await open({ path: join(folder, 'state.db') })
    await store
      .privateKeys(new Secret(Buffer.alloc(32, 1)))
      .put('acme', 'k1', new Secret(randomBytes(140)), soon())
    const other = store.privateKeys(new Secret(Buffer.alloc(32, 2)))
    await assert.rejects(other.get('acme', 'k1', soon()), /k1 could not be opened/)
    await store.close()
  })
})

test('a ring that goes back, as after restoring an old backup, rejects instead of being served', async () => {
  await withFolder(async (folder) => {
    const path = join(folder, 'state.db')
    const store = await open({ path })
    await store.rings.compareAndSet('acme', 0, { version: 1, keys: [] }, soon())
    await store.rings.compareAndSet('acme', 1, { version: 2, keys: [] }, soon())
    const other = new DatabaseSync(path)
    other.exec(`update key_rings set version = 1, document = '{"version":1,"keys":[]}'`)
    await assert.rejects(store.rings.load('acme', soon()), /went back from version 2 to 1/)
    other.exec('delete from key_rings')
    other.close()
    await assert.rejects(store.rings.load('acme', soon()), /went back from version 2 to 0/)
    await store.close()
  })
})

const mount = (folder: string) =>
  spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'rolemint-test', folder])
const unmount = (folder: string) => spawnSync('umount', ['--lazy', folder])
const large = () => issued({ details: { reason: 'x'.repeat(4000) } })

/** A small file system of its own, which can be filled. */
const smallDisk: Part<(use: (folder: string) => Promise<void>) => Promise<void>> = {
  name: 'a tmpfs',
  mend: 'Run the tests as root on Linux, where one can be mounted.',
  find() {
    const trial = mkdtempSync(join(tmpdir(), 'rolemint-disk-'))
    const works = mount(trial).status === 0
    if (works) unmount(trial)
    rmSync(trial, { recursive: true })
    if (!works) return { missing: 'mount did not work' }
    return {
      found: (use) =>
        withFolder(async (folder) => {
          const disk = join(folder, 'disk')
          mkdirSync(disk)
          mount(disk)
          try {
            await use(disk)
          } finally {
            unmount(disk)
          }
        }),
    }
  },
}

suiteNeeding('a full disk', smallDisk, (withSmallDisk) => {
  test('appends reject while the disk is full, lose nothing acknowledged, and work again by themselves', async () => {
    await withSmallDisk(async (disk) => {
      const path = join(disk, 'state.db')
      const store = await open({ path })
      const acknowledged: string[] = []
      // Ballast first, so that space can be given back.
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(1_200_000))
      let refused = 0
      for (let n = 0; n < 400 && refused < 5; n += 1) {
        const entry = large()
        try {
          await store.ledger.append(entry, [], soon())
          acknowledged.push(entry.id)
        } catch (error) {
          assert.match(String(error), /full|disk I\/O/)
          refused += 1
        }
      }
      assert.equal(refused, 5)
      rmSync(join(disk, 'ballast'))
      const after = large()
      await untilWorks(() => store.ledger.append(after, [], soon()))
      await store.close()

      const again = await open({ path })
      for (const id of [...acknowledged, after.id]) {
        assert.notEqual(await again.ledger.find('acme', id, soon()), undefined)
      }
      await again.close()
    })
  })
})
