import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type CacheKeys, deriveCacheKeys } from '../../src/adapters/valkey/cache-keys.ts'
import { createValkey, type Valkey } from '../../src/adapters/valkey/connection.ts'
import { listenToValkey } from '../../src/adapters/valkey/listener.ts'
import {
  createValkeySharedAnswers,
  PURGE_CHANNEL,
} from '../../src/adapters/valkey/shared-answers.ts'
import type { AnswerPlace, Purge } from '../../src/entitlement/shared-answers.ts'
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
import { sharedAnswersContract } from './shared-answers.ts'

const HOUR = 3_600_000
const ada: AnswerPlace = { tenant: 'acme', source: 'hr#digest-1', user: 'ada@acme.example' }
const soon = () => AbortSignal.timeout(30_000)
const random = createSystemRandom()
const keysOf = (secret: string): CacheKeys => deriveCacheKeys(new Secret(secret))
const KEYS = keysOf('a secret of the deployment, 32 bytes')

suiteNeeding('shared answers in Valkey', valkeyServer, (binary) => {
  let server: ValkeyServer
  let valkey: Valkey
  before(async () => {
    server = await startValkey(binary)
    valkey = createValkey({ upstream: unguarded, random }, patient())
    await untilUp(valkey)
  })
  after(async () => {
    await valkey.close()
    await server.close()
  })

  const patient = () => ({
    url: server.url,
    timeoutMilliseconds: 20_000,
    connectMilliseconds: 20_000,
  })
  const answersWith = (keys: CacheKeys, now: () => number = Date.now) =>
    createValkeySharedAnswers({ valkey, keys, clock: { now }, random, tenants: () => ['acme'] })

  async function listening(answers: ReturnType<typeof answersWith>) {
    let heard = 0
    const listener = listenToValkey({ random }, patient(), PURGE_CHANNEL, {
      message: answers.hearing.message,
      missed() {
        heard += 1
        answers.hearing.missed()
      },
    })
    await until(() => heard > 0)
    return { listener, heard: () => heard }
  }

  sharedAnswersContract('Valkey', async () => {
    await server.flush()
    let now = 1_790_000_000_000
    const answers = answersWith(KEYS, () => now)
    const second = answersWith(KEYS, () => now)
    const ears = await Promise.all([listening(answers), listening(second)])
    return {
      answers,
      second,
      now: () => now,
      advance(milliseconds) {
        now += milliseconds
      },
      async close() {
        await Promise.all(ears.map(({ listener }) => listener.close()))
      },
    }
  })

  /** Everything that a hash of the server holds, as hex by field; commands of the attacker. */
  async function stored() {
    await server.flush()
    const answer = { askedAt: Date.now(), known: true, roles: ['ORDERS_R'] }
    await answersWith(KEYS).put(ada, answer, HOUR, soon())
    const [key = ''] =
      /\{rolemint\}:roles:user:[\w-]{22}/.exec(await server.command('KEYS', '*')) ?? []
    const [, field = ''] = /\r\n([\w-]{22})\r\n/.exec(await server.command('HKEYS', key)) ?? []
    return { key, field, answer }
  }
  /** Puts one hash field in the place of another, or its bytes changed, as the attacker's own script. */
  const attack = (text: string, ...words: string[]) => server.command('EVAL', text, '0', ...words)

  test('an attacker who can write to the server cannot change one bit of an answer', async () => {
    const { key, field, answer } = await stored()
    const length = Number(/:(\d+)/.exec(await server.command('HSTRLEN', key, field))?.[1])
    const flip = `
      local v = redis.call('HGET', ARGV[1], ARGV[2])
      local i = tonumber(ARGV[3])
      local b = bit.bxor(string.byte(v, i), 1)
      redis.call('HSET', ARGV[1], ARGV[2], string.sub(v, 1, i - 1) .. string.char(b) .. string.sub(v, i + 1))`
    for (let i = 1; i <= length; i += 1) {
      await attack(flip, key, field, String(i))
      assert.equal(await answersWith(KEYS).get(ada, soon()), undefined, `byte ${i}`)
      await attack(flip, key, field, String(i))
    }
    assert.deepEqual(await answersWith(KEYS).get(ada, soon()), answer)
  })

  test('an attacker who can write to the server cannot make roles', async () => {
    const { key, field } = await stored()
    const made = JSON.stringify({
      at: Date.now(),
      until: Date.now() + HOUR,
      known: true,
      roles: ['ADMIN'],
    })
    for (const value of [made, '', 'x', 'x'.repeat(200), 'x'.repeat(1_000_000)]) {
      await server.command('HSET', key, field, value)
      assert.equal(await answersWith(KEYS).get(ada, soon()), undefined)
    }
  })

  test("an attacker who moves another user's answer to his own place gets nothing by it", async () => {
    await stored()
    const admin = { askedAt: Date.now(), known: true, roles: ['ADMIN'] }
    const move = `
      local keys = redis.call('KEYS', '*roles:user:*')
      for _, from in ipairs(keys) do
        for _, to in ipairs(keys) do
          local fields = redis.call('HGETALL', from)
          for i = 1, #fields, 2 do
            for _, name in ipairs(redis.call('HKEYS', to)) do redis.call('HSET', to, name, fields[i + 1]) end
          end
        end
      end`
    for (const place of [
      { ...ada, user: 'root' },
      { ...ada, tenant: 'globex' },
      { ...ada, source: 'hr#digest-2' },
    ]) {
      await stored()
      await answersWith(KEYS).put(place, admin, HOUR, soon())
      await attack(move)
      const seen = await answersWith(KEYS).get(ada, soon())
      assert.ok(seen === undefined || !seen.roles.includes('ADMIN'))
    }
  })

  test('an answer that is put back after its own end is as good as absent, whatever life the server gives it', async () => {
    const { key } = await stored()
    await server.command('PERSIST', key)
    const later = answersWith(KEYS, () => Date.now() + HOUR)
    assert.equal(await later.get(ada, soon()), undefined)
  })

  test('an answer sealed with another secret is as good as absent', async () => {
    await stored()
    const others = keysOf('another secret of 32 bytes and more')
    const mixed = { ...others, names: KEYS.names }
    assert.equal(await answersWith(mixed).get(ada, soon()), undefined)
  })

  test('a server that evicts the mark of a purge forgets the answers with it', async () => {
    await stored()
    await server.command(
      'EVAL',
      "for _, k in ipairs(redis.call('KEYS', '*since*')) do redis.call('DEL', k) end",
      '0',
    )
    assert.equal(await answersWith(KEYS).get(ada, soon()), undefined)
    const bob = { ...ada, user: 'bob' }
    const answer = { askedAt: Date.now() + 5000, known: true, roles: [] }
    await answersWith(KEYS).put(bob, answer, HOUR, soon())
    assert.notEqual(await answersWith(KEYS).get(bob, soon()), undefined)
    assert.equal(await answersWith(KEYS).get(ada, soon()), undefined)
  })

  test('neither keys nor values nor messages hold the name of a user, a tenant or a role', async () => {
    await stored()
    await answersWith(KEYS).purge({ tenant: 'acme', user: 'nobody' }, soon())
    const keys = await server.command('KEYS', '*')
    const dump =
      "local all = '' for _, k in ipairs(redis.call('KEYS', '*user*')) do for _, v in ipairs(redis.call('HGETALL', k)) do all = all .. v end end return all"
    const everything = `${keys}${await server.command('EVAL', dump, '0')}`
    for (const name of ['ada', 'acme', 'ORDERS', 'hr#']) assert.ok(!everything.includes(name), name)
    const said: Buffer[] = []
    const spy = listenToValkey({ random }, patient(), PURGE_CHANNEL, {
      missed: () => undefined,
      message: (message) => said.push(message),
    })
    while (said.length === 0) {
      await answersWith(KEYS).purge({ tenant: 'acme', user: 'ada' }, soon())
      await setTimeout(10)
    }
    await spy.close()
    for (const message of said) assert.ok(!message.includes('ada') && !message.includes('acme'))
  })

  test('an attacker who speaks on the channel is not listened to', async () => {
    const answers = answersWith(KEYS)
    const purges: Purge[] = []
    answers.onPurge((what) => purges.push(what))
    const { listener } = await listening(answers)
    purges.length = 0
    const forged = JSON.stringify({ from: 'x', tenant: 'acme' })
    for (const message of [forged, '', 'x'.repeat(100_000)])
      await server.command('PUBLISH', PURGE_CHANNEL, message)
    await answersWith(KEYS).purge({ tenant: 'acme', source: 'hr' }, soon())
    await until(() => purges.length > 0)
    assert.deepEqual(purges, [{ tenant: 'acme', source: 'hr' }])
    await listener.close()
  })

  test('after a lost connection the channel is heard again, and everything that may have been missed is told', async () => {
    const answers = answersWith(KEYS)
    const purges: Purge[] = []
    const { listener, heard } = await listening(answers)
    answers.onPurge((what) => purges.push(what))
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until(() => heard() === 2)
    assert.deepEqual(purges, [{ tenant: 'acme' }])
    await answersWith(KEYS).purge({ tenant: 'acme', user: 'bob' }, soon())
    await until(() => purges.length === 2)
    assert.deepEqual(purges[1], { tenant: 'acme', user: 'bob' })
    await listener.close()
  })
})

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it never happened')
    await setTimeout(5)
  }
}
