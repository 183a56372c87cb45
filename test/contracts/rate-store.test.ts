import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { createMemoryRateStore } from '../../src/adapters/memory/rate-store.ts'
import { createValkey, type Valkey } from '../../src/adapters/valkey/connection.ts'
import { createValkeyRateStore } from '../../src/adapters/valkey/rate-store.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import {
  startValkey,
  unguarded,
  untilUp,
  type ValkeyServer,
  valkeyServer,
} from '../fakes/valkey.ts'
import { suiteNeeding } from '../skip.ts'
import { rateStoreContract } from './rate-store.ts'

const START = 1_790_000_000_000
const soon = () => AbortSignal.timeout(30_000)

rateStoreContract('memory', async () => {
  let now = START
  const store = createMemoryRateStore({ clock: { now: () => now } })
  return {
    store,
    second: store,
    advance(milliseconds) {
      now += milliseconds
    },
    async close() {},
  }
})

describe('rate store in memory', () => {
  test('it answers synchronously', () => {
    const store = createMemoryRateStore()
    const rate = { count: 1, perMilliseconds: 1000 }
    assert.equal(store.take([{ key: 'client\0a', rate }])[0]?.waitMilliseconds, 0)
  })

  test('keys of one kind cannot push out those of another, and the oldest of a kind go first', () => {
    const rate = { count: 1, perMilliseconds: 3_600_000 }
    const store = createMemoryRateStore({}, { mostOfAKind: 100 })
    const passes = (key: string) => store.take([{ key, rate }])[0]?.waitMilliseconds === 0
    assert.ok(passes('client\0web'))
    for (let i = 0; i < 1000; i += 1) assert.ok(passes(`subject\0web\0made-up-${i}`))
    assert.ok(!passes('client\0web'))
    assert.ok(!passes('subject\0web\0made-up-999'))
    assert.ok(passes('subject\0web\0made-up-0'))
  })
})

/** How many scripts ran that the server knew. */
async function evalshas(server: ValkeyServer): Promise<number> {
  const stats = await server.command('INFO', 'commandstats')
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1])
}

suiteNeeding('rate store in Valkey', valkeyServer, (binary) => {
  let server: ValkeyServer
  let valkey: Valkey
  before(async () => {
    server = await startValkey(binary)
    valkey = createValkey(
      { upstream: unguarded, random: createSystemRandom() },
      { url: server.url, timeoutMilliseconds: 20_000, connectMilliseconds: 20_000 },
    )
    await untilUp(valkey)
  })
  after(async () => {
    await valkey.close()
    await server.close()
  })

  /** The script as it is, but for the time of the server, which stands still, and for keys that this time would let expire. */
  function underOurClock(now: () => number): Pick<Valkey, 'run'> {
    return {
      run(script, keys, args, signal) {
        const milliseconds = now()
        const time = `{${Math.floor(milliseconds / 1000)}, ${(milliseconds % 1000) * 1000}}`
        const text = script.text
          .replace("redis.call('TIME')", time)
          .replace("'PX', left", "'PX', 9999999")
        assert.equal(text.split(time).length, 2)
        assert.ok(text.includes('9999999'))
        return valkey.run(
          { text, sha1: createHash('sha1').update(text).digest('hex') },
          keys,
          args,
          signal,
        )
      },
    }
  }

  rateStoreContract('Valkey', async () => {
    await server.flush()
    let now = START
    const nameKey = new Secret(Buffer.alloc(32, 7))
    const shared = { valkey: underOurClock(() => now), nameKey }
    return {
      store: createValkeyRateStore(shared),
      second: createValkeyRateStore(shared),
      advance(milliseconds) {
        now += milliseconds
      },
      async close() {},
    }
  })

  test('a bucket is gone from the server when it has run empty, by the clock of the server', async () => {
    await server.flush()
    const store = createValkeyRateStore({ valkey, nameKey: undefined })
    const rate = { count: 2, perMilliseconds: 600 }
    const take = () => store.take([{ key: 'client\0acme\0web', rate }], soon())
    await take()
    assert.equal(await server.command('DBSIZE'), ':1\r\n')
    const deadline = Date.now() + 30_000
    while ((await server.command('DBSIZE')) !== ':0\r\n') {
      assert.ok(Date.now() < deadline, 'the key never expired')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const [answer] = await take()
    assert.equal(answer?.remaining, 1)
  })

  test('no name of a user is in the server, in keys or values, and no hash that a list of users undoes', async () => {
    await server.flush()
    const key = 'subject\0acme\0web\0ada@acme.example'
    const rate = { count: 2, perMilliseconds: 3_600_000 }
    const nameKey = new Secret(Buffer.alloc(32, 7))
    await createValkeyRateStore({ valkey, nameKey }).take([{ key, rate }], soon())
    const keys = await server.command('KEYS', '*')
    assert.match(keys, /\{rolemint\}:rate:subject:[\w-]{22}:2\/3600000/)
    const guess = createHash('sha256').update(key).digest('base64url').slice(0, 22)
    for (const name of ['ada', 'acme', 'web', guess]) assert.ok(!keys.includes(name))
  })

  test('however many buckets there are, one command goes to the server', async () => {
    const store = createValkeyRateStore({ valkey, nameKey: undefined })
    const rate = { count: 100, perMilliseconds: 1000 }
    const asks = ['total\0', 'tenant\0t', 'client\0t\0c'].map((key) => ({ key, rate }))
    await store.take(asks, soon())
    const first = await evalshas(server)
    for (let i = 0; i < 10; i += 1) await store.take(asks, soon())
    assert.equal((await evalshas(server)) - first, 10)
  })

  test('scripts that the server forgot are sent again', async () => {
    const store = createValkeyRateStore({ valkey, nameKey: undefined })
    const rate = { count: 100, perMilliseconds: 1000 }
    await server.command('SCRIPT', 'FLUSH')
    assert.equal((await store.take([{ key: 'client\0a', rate }], soon()))[0]?.waitMilliseconds, 0)
  })
})
