import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, rename, rm, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PrivateKeyStore } from '../../keys/store.ts'
import { createSystemRandom } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { createMemoryPrivateKeyStore } from '../memory/private-key-store.ts'
import { createKeyCache } from './key-cache.ts'

const HOUR = 3_600_000
const MAX_AGE = 72 * HOUR
const soon = () => AbortSignal.timeout(30_000)
const KEY = Buffer.from('the private half of a key')

interface World {
  readonly file: string
  /** What the store throws instead of answering; undefined: it answers. */
  failure: Error | undefined
  now: number
  /** Kids that the store was asked for. */
  readonly asked: string[]
  readonly logged: string[]
  readonly memory: PrivateKeyStore
  /** A cache as a process that starts now would have it. */
  open(kek?: Buffer): PrivateKeyStore
}

const KEK = randomBytes(32)

/** Runs `body` in a folder of its own. */
async function inWorld(body: (world: World) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'rolemint-key-cache-'))
  const memory = createMemoryPrivateKeyStore()
  const answer = async <T>(work: () => Promise<T>): Promise<T> => {
    if (world.failure) throw world.failure
    return work()
  }
  const store: PrivateKeyStore = {
    put: (...given) => answer(() => memory.put(...given)),
    get: (tenant, kid, signal) =>
      answer(() => {
        world.asked.push(kid)
        return memory.get(tenant, kid, signal)
      }),
    destroy: (...given) => answer(() => memory.destroy(...given)),
    check: (signal) => answer(() => memory.check(signal)),
  }
  const note = (_fields: object, message: string) => void world.logged.push(message)
  const log = { debug: note, info: note, warn: note, error: note }
  const world: World = {
    file: join(folder, 'state', 'keys.cache'),
    failure: undefined,
    now: Date.UTC(2026, 0, 1),
    asked: [],
    logged: [],
    memory,
    open(kek = KEK) {
      const files = { open, rename, unlink, mkdir }
      const clock = { now: () => world.now }
      return createKeyCache(
        { store, files, clock, random: createSystemRandom(), log },
        { file: world.file, kek: new Secret(Buffer.from(kek)), maxAgeMilliseconds: MAX_AGE },
      )
    },
  }
  try {
    await body(world)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const put = (store: PrivateKeyStore, kid: string, tenant = 'acme') =>
  store.put(tenant, kid, new Secret(Buffer.from(KEY)), soon())
const down = () => new DependencyUnavailable('down')
const textOf = async (store: PrivateKeyStore, kid: string, tenant = 'acme') =>
  (await store.get(tenant, kid, soon()))?.reveal()

test('a process that starts while the store is down has the keys of an earlier one', async () => {
  await inWorld(async (world) => {
    const before = world.open()
    await put(before, 'k1')
    await put(before, 'k2')
    world.failure = down()
    const after = world.open()
    assert.deepEqual(await textOf(after, 'k1'), KEY)
    assert.deepEqual(await textOf(after, 'k2'), KEY)
    await assert.rejects(after.get('acme', 'k3', soon()), DependencyUnavailable)
    await assert.rejects(after.get('other', 'k1', soon()), DependencyUnavailable)
  })
})

test('a key that was only read is copied too', async () => {
  await inWorld(async (world) => {
    await put(world.memory, 'k1')
    await textOf(world.open(), 'k1')
    world.failure = down()
    assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
  })
})

test('a right that was withdrawn is not got round by the copy', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await put(cache, 'k1')
    world.failure = new Error('status 403')
    await assert.rejects(cache.get('acme', 'k1', soon()), /403/)
    await assert.rejects(world.open().get('acme', 'k1', soon()), /403/)
  })
})

test('a key that its store says it has not is answered so, and its copy is removed', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await put(cache, 'k1')
    await world.memory.destroy('acme', 'k1', soon())
    assert.equal(await cache.get('acme', 'k1', soon()), undefined)
    world.failure = down()
    await assert.rejects(cache.get('acme', 'k1', soon()), DependencyUnavailable)
  })
})

test('destroying removes the copy even when the store gives no answer, and rejects then', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await put(cache, 'k1')
    await put(cache, 'k2')
    world.failure = down()
    await assert.rejects(cache.destroy('acme', 'k1', soon()), DependencyUnavailable)
    await assert.rejects(cache.get('acme', 'k1', soon()), DependencyUnavailable)
    assert.deepEqual(await textOf(cache, 'k2'), KEY)
  })
})

test('a copy is good until its age limit and not a moment longer', async () => {
  await inWorld(async (world) => {
    await put(world.open(), 'k1')
    world.failure = down()
    world.now += MAX_AGE
    assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
    world.now += 1
    const late = world.open()
    await assert.rejects(late.get('acme', 'k1', soon()), DependencyUnavailable)
    await assert.rejects(late.get('acme', 'k1', soon()), DependencyUnavailable)
    assert.equal(world.logged.filter((line) => line.includes('too old')).length, 1)
  })
})

test('a clock that was set back does not make an old copy good', async () => {
  await inWorld(async (world) => {
    await put(world.open(), 'k1')
    world.failure = down()
    world.now -= HOUR
    await assert.rejects(world.open().get('acme', 'k1', soon()), DependencyUnavailable)
  })
})

test('a copy made younger, moved to another key or changed in one bit does not open', async () => {
  await inWorld(async (world) => {
    await put(world.open(), 'k1')
    const good = readFileSync(world.file, 'utf8')
    world.failure = down()
    const { keys } = JSON.parse(good) as { keys: [{ confirmedAt: number; sealed: string }] }
    const sealed = Buffer.from(keys[0].sealed, 'base64')
    sealed.writeUInt8(sealed.readUInt8(20) ^ 1, 20)
    const changes = {
      younger: { ...keys[0], confirmedAt: keys[0].confirmedAt + 1 },
      moved: { ...keys[0], kid: 'k2' },
      bit: { ...keys[0], sealed: sealed.toString('base64') },
      short: { ...keys[0], sealed: '' },
    }
    for (const [name, entry] of Object.entries(changes)) {
      writeFileSync(world.file, JSON.stringify({ version: 1, keys: [entry] }))
      const kid = name === 'moved' ? 'k2' : 'k1'
      await assert.rejects(world.open().get('acme', kid, soon()), DependencyUnavailable, name)
    }
    writeFileSync(world.file, good)
    assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
    await assert.rejects(world.open(randomBytes(32)).get('acme', 'k1', soon()), /down/)
  })
})

test('a file that is no key cache is as good as none, and is replaced', async () => {
  await inWorld(async (world) => {
    await put(world.open(), 'k1')
    for (const text of ['', '{', '[]', '{"version":2,"keys":[]}', '{"version":1,"keys":[1]}']) {
      writeFileSync(world.file, text)
      world.failure = down()
      await assert.rejects(world.open().get('acme', 'k1', soon()), DependencyUnavailable, text)
      world.failure = undefined
      assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
      world.failure = down()
      assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
    }
  })
})

test('the file is for its owner alone, holds no key in the clear, and leaves nothing beside it', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((kid) => put(cache, kid)))
    assert.equal(statSync(world.file).mode & 0o777, 0o600)
    const text = readFileSync(world.file, 'utf8')
    assert.equal(text.includes(KEY.toString('base64')), false)
    assert.equal((JSON.parse(text) as { keys: unknown[] }).keys.length, 8)
    assert.deepEqual(readdirSync(join(world.file, '..')), ['keys.cache'])
  })
})

test('a server whose disk takes no copy still has its keys, and says so once', async () => {
  await inWorld(async (world) => {
    writeFileSync(join(world.file, '..', '..', 'state'), 'a file where the folder would be')
    const cache = world.open()
    await put(cache, 'k1')
    assert.deepEqual(await textOf(cache, 'k1'), KEY)
    assert.deepEqual(world.logged, ['key cache: a copy could not be kept'])
    // But a key whose copy may still be there is not destroyed.
    await assert.rejects(cache.destroy('acme', 'k1', soon()))
    assert.equal(await world.memory.get('acme', 'k1', soon()), undefined)
  })
})

test('checks keep the copies of a server that runs for long young enough to start from', async () => {
  await inWorld(async (world) => {
    await put(world.open(), 'k1')
    await put(world.open(), 'k2')
    const running = world.open()
    await running.check(soon())
    assert.deepEqual(world.asked, [], 'young copies are left alone')
    for (let hours = 0; hours < 240; hours += 1) {
      world.now += HOUR
      await running.check(soon())
    }
    assert.ok(world.asked.length < 100, 'a check does not read every key every time')
    world.failure = down()
    assert.deepEqual(await textOf(world.open(), 'k1'), KEY)
    assert.deepEqual(await textOf(world.open(), 'k2'), KEY)
  })
})

test('a check rejects when the store gives no answer, whatever the copies are', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await put(cache, 'k1')
    world.failure = down()
    await assert.rejects(cache.check(soon()), DependencyUnavailable)
  })
})

test('a call that was given up before it began is not answered from the copy', async () => {
  await inWorld(async (world) => {
    const cache = world.open()
    await put(cache, 'k1')
    world.failure = down()
    await assert.rejects(cache.get('acme', 'k1', AbortSignal.abort()), DependencyUnavailable)
  })
})
