/** What goes wrong with a Valkey client when its server does, against a real server. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, afterEach, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import { createValkey, type LuaScript, type Valkey } from '../../src/adapters/valkey/connection.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import { DependencyUnavailable } from '../../src/lib/unavailable.ts'
import { createBreaker } from '../../src/resilience/breaker.ts'
import type { Upstream } from '../../src/resilience/upstream.ts'
import { startTcpProxy } from '../chaos/tcp-proxy.ts'
import {
  startValkey,
  unguarded,
  untilUp,
  type ValkeyServer,
  valkeyServer,
} from '../fakes/valkey.ts'
import { suiteNeeding } from '../skip.ts'

const random = createSystemRandom()
const soon = () => AbortSignal.timeout(60_000)
const script = (text: string): LuaScript => ({
  text,
  sha1: createHash('sha1').update(text).digest('hex'),
})
const ECHO = script('return ARGV[1]')
const COUNT = script("return redis.call('INCR', KEYS[1])")

const echo = async (valkey: Valkey, text: string): Promise<string> =>
  String(await valkey.run(ECHO, [], [text], soon()))
const gone = (work: Promise<unknown>) => assert.rejects(work, DependencyUnavailable)

suiteNeeding('Valkey connection', valkeyServer, (binary) => {
  let server: ValkeyServer
  const open: Valkey[] = []
  const changes: [boolean, string][] = []
  const noteChange = (up: boolean, reason: string): void => void changes.push([up, reason])
  const connected = (
    more: { url?: Secret; mostInFlight?: number; upstream?: Pick<Upstream, 'call'> } = {},
  ): Valkey => {
    const { upstream = unguarded, ...options } = more
    const valkey = createValkey(
      { upstream, random, changed: noteChange },
      { url: server.url, ...options },
    )
    open.push(valkey)
    return valkey
  }

  before(async () => {
    server = await startValkey(binary, { password: 'p@ss/word' })
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((valkey) => valkey.close()))
    changes.length = 0
    server.cont()
    if (!(await server.command('PING').catch(() => ''))) await server.restart()
  })
  after(() => server.close())

  test('a server that is not there is told at once, and used as soon as it is there', async () => {
    await server.kill()
    const valkey = connected()
    for (let i = 0; i < 100; i += 1) await gone(echo(valkey, 'x'))
    await server.restart()
    await untilUp(valkey)
    assert.equal(await echo(valkey, 'ada'), 'ada')
  })

  test('a killed server fails the commands under way, and nothing is sent again by itself', async () => {
    const valkey = connected()
    await untilUp(valkey)
    await valkey.run(COUNT, ['n'], [], soon())
    await server.stop()
    const under = Array.from({ length: 20 }, () => gone(valkey.run(COUNT, ['n'], [], soon())))
    await server.kill()
    await Promise.all(under)
    await server.restart()
    await untilUp(valkey)
    assert.equal(await server.command('GET', 'n'), '$-1\r\n')
  })

  test('a frozen server holds a bounded number of commands, and the rest are told at once', async () => {
    const valkey = connected({ mostInFlight: 100 })
    await untilUp(valkey)
    await server.stop()
    const reasons = await Promise.all(
      Array.from({ length: 5000 }, () => echo(valkey, 'x'.repeat(10_000)).catch((e: unknown) => e)),
    )
    const full = reasons.filter((e) => e instanceof Error && e.message.includes('too many'))
    assert.equal(full.length, 4900)
    for (let i = 0; i < 1000; i += 1) await gone(echo(valkey, 'x'))
  })

  test('after the first late reply nobody waits for a frozen server again', async () => {
    const valkey = connected()
    await untilUp(valkey)
    await server.stop()
    const began = performance.now()
    for (let i = 0; i < 600; i += 1) await gone(echo(valkey, 'x'))
    assert.ok(performance.now() - began < 15_000, 'each of 600 waited for its 50 ms')
    assert.deepEqual(changes.at(-1), [false, 'no answer in time'])
  })

  test('after a freeze every reply belongs to its own command', async () => {
    const valkey = connected()
    await untilUp(valkey)
    for (let round = 0; round < 5; round += 1) {
      await server.stop()
      const lost = Array.from({ length: 50 }, (_, i) => gone(echo(valkey, `lost-${round}-${i}`)))
      await Promise.all(lost)
      server.cont()
      await untilUp(valkey)
      const texts = Array.from({ length: 200 }, (_, i) => `after-${round}-${i}`)
      assert.deepEqual(await Promise.all(texts.map((text) => echo(valkey, text))), texts)
    }
  })

  test('replies that come too late are given to nobody', async () => {
    const proxy = await startTcpProxy(server.port)
    try {
      const url = new Secret(`redis://:p%40ss%2Fword@127.0.0.1:${proxy.port}`)
      const valkey = connected({ url })
      await untilUp(valkey)
      for (let round = 0; round < 3; round += 1) {
        await proxy.set({ kind: 'latency', milliseconds: 150 })
        await gone(echo(valkey, `late-${round}`))
        await proxy.set({ kind: 'none' })
        await untilUp(valkey)
        assert.equal(await echo(valkey, `own-${round}`), `own-${round}`)
      }
    } finally {
      await proxy.close()
    }
  })

  test('a command that timed out is counted once at most, whatever the reconnect does', async () => {
    const valkey = connected()
    await untilUp(valkey)
    await server.flush()
    await server.stop()
    await Promise.all(Array.from({ length: 30 }, () => gone(valkey.run(COUNT, ['n'], [], soon()))))
    server.cont()
    await untilUp(valkey)
    const count = Number(await valkey.run(COUNT, ['n'], [], soon()))
    assert.ok(count <= 31, `${count} counted`)
  })

  test('an open breaker keeps callers from the server, and closes by itself', async () => {
    let sent = 0
    const breaker = createBreaker({}, { failures: 3, openMilliseconds: 300, isFailure: () => true })
    const upstream: Pick<Upstream, 'call'> = {
      call: (work) =>
        breaker.run(() => {
          sent += 1
          return work(new AbortController().signal, 1)
        }),
    }
    const valkey = connected({ upstream })
    await server.kill()
    for (let i = 0; i < 200; i += 1) await gone(echo(valkey, 'x'))
    assert.ok(sent < 50, `${sent} were sent`)
    await server.restart()
    await untilUp(valkey)
    assert.equal(breaker.state, 'closed')
  })

  test('the event loop being blocked for long is no reason to give up a server that answered', async () => {
    const valkey = connected()
    await untilUp(valkey)
    const answers = Array.from({ length: 20 }, (_, i) => echo(valkey, `${i}`))
    const until = performance.now() + 300
    while (performance.now() < until);
    assert.equal((await Promise.all(answers)).length, 20)
    assert.deepEqual(
      changes.map(([up]) => up),
      [true],
    )
  })

  test('the reason of a signal is what its caller gets', async () => {
    const valkey = connected()
    await untilUp(valkey)
    const reason = new Error('the token ran out')
    await assert.rejects(
      valkey.run(ECHO, [], ['x'], AbortSignal.abort(reason)),
      (e) => e === reason,
    )
    await server.stop()
    const controller = new AbortController()
    const waiting = valkey.run(ECHO, [], ['x'], controller.signal)
    controller.abort(reason)
    await assert.rejects(waiting, (e) => e === reason)
  })

  test('a wrong password is a reason without the password, and nothing is printed', async (t) => {
    const printed: string[] = []
    for (const method of ['error', 'warn', 'log'] as const)
      t.mock.method(console, method, (...args: unknown[]) => printed.push(args.join(' ')))
    const url = new Secret(`redis://default:hunter2@127.0.0.1:${server.port}`)
    const valkey = connected({ url })
    await setTimeout(300)
    const error = await echo(valkey, 'x').catch((e: unknown) => e)
    assert.ok(error instanceof DependencyUnavailable)
    const everything = inspect([error, changes, valkey], { depth: 12, showHidden: true })
    for (const secret of ['hunter2', '127.0.0.1', String(server.port)])
      assert.ok(!everything.includes(secret), secret)
    assert.deepEqual(printed, [])
  })

  test('an error that the server answers is unavailability, with its first word and without its text', async () => {
    const valkey = connected()
    await untilUp(valkey)
    const failing = script("return redis.error_reply('OOM command not allowed when ada is here')")
    const error = await valkey.run(failing, [], [], soon()).catch((e: unknown) => e)
    assert.ok(error instanceof DependencyUnavailable)
    assert.equal(error.message, 'the cache gave no answer: OOM')
    assert.equal(await echo(valkey, 'still here'), 'still here')
  })

  test('closing while the server is frozen, or away, leaves nothing behind', async () => {
    const valkey = connected()
    await untilUp(valkey)
    await server.stop()
    const lost = gone(echo(valkey, 'x'))
    await valkey.close()
    await lost
    server.cont()
    await gone(echo(valkey, 'x'))
    await server.kill()
    const away = connected()
    await setTimeout(100)
    await away.close()
    await server.restart()
    await setTimeout(300)
    const clients = await server.command('CLIENT', 'LIST')
    assert.equal(clients.match(/\bid=/g)?.length, 1)
  })
})

test('an address with a query is refused, as the query would overrule what is set here, and it is not shown', () => {
  const bad = [
    'redis://:hunter2@host.example?enableOfflineQueue=true',
    'redis://:hunter2@host.example#x',
    'http://:hunter2@host.example',
    'redis://:hunter2@host.example/zero',
    'hunter2',
  ]
  for (const url of bad)
    assert.throws(
      () => createValkey({ upstream: unguarded, random }, { url: new Secret(url) }),
      (error) => error instanceof TypeError && !/hunter2|host/.test(inspect(error, { depth: 9 })),
    )
})

test('with rediss:// not a byte goes out in the clear', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const first = new Promise<Buffer>((resolve) => {
    server.on('connection', (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', (chunk: Buffer) => {
        resolve(chunk)
        socket.destroy()
      })
    })
  })
  const url = new Secret(`rediss://:hunter2@127.0.0.1:${address.port}`)
  const valkey = createValkey({ upstream: unguarded, random }, { url })
  const bytes = await first
  assert.equal(bytes[0], 0x16) // a TLS handshake record, RFC 8446 §5.1
  assert.ok(!bytes.includes('hunter2'))
  await valkey.close()
  server.close()
})
