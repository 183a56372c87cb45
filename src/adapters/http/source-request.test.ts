/** One question to a source: what the wire may bring, and the traps of undici. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EntitlementApi, startEntitlementApi } from '../../../test/fakes/entitlement-api.ts'
import { sourceOf } from '../../../test/fakes/entitlement-source.ts'
import type { Source } from '../../entitlement/options.ts'
import { type SourceAnswer, type SourceExchange, SourceFailure } from '../../entitlement/source.ts'
import { Secret } from '../../lib/secret.ts'
import { createEgress } from './egress.ts'
import { createHttpEntitlementSource } from './entitlement-source.ts'
import { listenFor } from './source-request.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const http = (milliseconds: number) => new Date(milliseconds).toUTCString()
const ADA = { known: true, roles: ['a'] } as const

interface World {
  readonly api: EntitlementApi
  readonly source: Source
  readonly seen: SourceExchange[]
  readonly ask: (source?: Source) => Promise<SourceAnswer>
}

async function inWorld(check: (world: World) => Promise<void>): Promise<void> {
  const api = await startEntitlementApi()
  const seen: SourceExchange[] = []
  const port = createHttpEntitlementSource({
    egress: createEgress({ allow: [], allowLoopback: true }),
    clock: { now: () => NOW },
    observed: (exchange) => void seen.push(exchange),
  })
  const usual = sourceOf({ url: api.url })
  api.users.set('ada', ['a'])
  try {
    await check({
      api,
      seen,
      source: usual,
      ask: (source = usual) => port.rolesOf(source, 'ada', 200, AbortSignal.timeout(30_000)),
    })
  } finally {
    await port.close()
    await api.close()
  }
}

/** A server that says these bytes to every request, and then does what it is told with the connection. */
async function saying(
  bytes: string,
  then: (socket: Socket) => void,
  check: (url: string, connections: () => number) => Promise<void>,
): Promise<void> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write(bytes, () => then(socket)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    await check(`http://127.0.0.1:${port}/{user}`, () => sockets.length)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

async function failureOf(asking: Promise<SourceAnswer>): Promise<SourceFailure> {
  try {
    await asking
  } catch (error) {
    if (error instanceof SourceFailure) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'nothing failed' })
}

test('a refused credential is for the operator to mend: not retryable, and nothing of it is shown', () =>
  inWorld(async ({ api, ask, source }) => {
    const auth = { header: 'authorization', value: new Secret('Bearer s3cret') }
    for (const status of [401, 403]) {
      api.behave({ status, headers: { 'retry-after': '7' } })
      const failure = await failureOf(ask({ ...source, auth }))
      assert.deepEqual(
        [failure.kind, failure.status, failure.retryable, failure.retryAfterMilliseconds],
        ['contract', status, false, undefined],
      )
      assert.match(failure.message, /refused our credential/)
      assert.doesNotMatch(`${failure.message} ${failure.stack}`, /s3cret/)
      assert.match((await failureOf(ask())).message, /wants a credential/)
    }
  }))

test('what may be better soon is retryable, what was said for good is not', () =>
  inWorld(async ({ api, ask }) => {
    for (const status of [408, 429, 500, 502, 503, 504]) {
      api.behave({ status })
      const failure = await failureOf(ask())
      assert.deepEqual([failure.kind, failure.status, failure.retryable], ['status', status, true])
    }
    for (const status of [201, 204, 206, 301, 304, 307, 400, 405, 410, 422]) {
      api.behave({ status })
      const failure = await failureOf(ask())
      assert.deepEqual([failure.kind, failure.status, failure.retryable], ['status', status, false])
    }
  }))

test('Retry-After is heeded as seconds or date, up to an hour, and nonsense is nothing', () =>
  inWorld(async ({ api, ask }) => {
    for (const [field, expected] of [
      ['0', 0],
      ['7', 7000],
      ['999999999', 3_600_000],
      [http(NOW + 9000), 9000],
      [http(NOW - 9000), 0],
      [http(NOW + 999 * 86_400_000), 3_600_000],
      ['-1', undefined],
      ['1.5', undefined],
      ['soon', undefined],
    ] as const) {
      // The server's own Date would be today's.
      api.behave({ status: 503, headers: { 'retry-after': field, date: http(NOW) } })
      assert.equal((await failureOf(ask())).retryAfterMilliseconds, expected, field)
    }
  }))

test('an answer is asked for every time, whatever it says about being kept', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({
      headers: { 'cache-control': 'max-age=3600, immutable', etag: '"v1"', age: '0' },
    })
    for (let i = 0; i < 3; i += 1) assert.deepEqual(await ask(), ADA)
    assert.equal(api.requests.length, 3)
    // And a cache on the way must not answer by itself either.
    for (const { headers } of api.requests) assert.equal(headers['cache-control'], 'no-cache')
  }))

test('nothing is unpacked, and none is asked for: a small body could become any size', () =>
  inWorld(async ({ api, ask }) => {
    for (const encoding of ['gzip', 'br', 'identity, gzip']) {
      api.behave({ headers: { 'content-encoding': encoding } })
      assert.match((await failureOf(ask())).message, /compressed/)
    }
    assert.equal(api.requests[0]?.headers['accept-encoding'], 'identity')
  }))

test('a list that is there twice is no list: two parsers could read two of them', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ body: '{"user":"ada","items":[{"role":"admin"}],"items":[]}' })
    assert.match((await failureOf(ask())).message, /duplicate member/)
  }))

test('a body that does not match its digest is refused, by either algorithm; other algorithms say nothing', () =>
  inWorld(async ({ api, ask }) => {
    const body = '{"user":"ada","items":[{"role":"a"}]}'
    const digest = (algorithm: string, of = body) =>
      `${algorithm}=:${createHash(algorithm.replace('-', '')).update(of).digest('base64')}:`
    for (const field of [digest('sha-256'), digest('sha-512'), 'md5=:AAAA:', 'sha-256=nonsense']) {
      api.behave({ body, headers: { 'content-digest': field } })
      assert.deepEqual(await ask(), ADA, field)
    }
    for (const field of [
      digest('sha-256', 'other'),
      digest('sha-512', 'other'),
      'sha-256=::',
      `${digest('sha-256')}, ${digest('sha-512', 'other')}`,
    ]) {
      api.behave({ headers: { 'content-digest': field } })
      assert.match((await failureOf(ask())).message, /digest/, field)
    }
  }))

test('silence ends a question after the time for reading, and not at the next tick of a coarse clock', () =>
  inWorld(async ({ api, ask, source }) => {
    api.behave({ hang: true })
    // undici's headersTimeout would end it after a second, which is more than a whole look-up has.
    const first = await Promise.race([
      failureOf(ask({ ...source, readMilliseconds: 100 })),
      sleep(800, 'the coarse clock'),
    ])
    assert.ok(first instanceof SourceFailure, String(first))
    assert.deepEqual([first.kind, first.retryable], ['timeout', true])
    assert.match(first.message, /nothing was heard for 100 ms/)
  }))

for (const [what, bytes] of Object.entries({
  'half a head': 'HTTP/1.1 200 OK\r\ncontent-ty',
  'a head without a body':
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n',
  'half a body':
    'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 40\r\n\r\n{"items":[',
})) {
  test(`silence after ${what} ends the question`, () =>
    inWorld(({ source, ask }) =>
      saying(
        bytes,
        () => undefined,
        async (url) => {
          const failure = await failureOf(ask({ ...source, url, readMilliseconds: 100 }))
          assert.equal(failure.kind, 'timeout')
        },
      ),
    ))
}

test('whoever hears something in time goes on listening', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const caller = new AbortController()
  const { signal, heard, stop } = listenFor(100, caller.signal)
  for (let i = 0; i < 5; i += 1) {
    t.mock.timers.tick(99)
    heard()
  }
  assert.equal(signal.aborted, false)
  t.mock.timers.tick(100)
  assert.equal(signal.aborted, true)
  stop()

  const other = listenFor(100, caller.signal)
  caller.abort(new Error('the caller left'))
  assert.equal(other.signal.reason, caller.signal.reason)
  other.stop()
})

test('a body that breaks after it was given up does not end the process', () =>
  inWorld(async ({ source, ask }) => {
    const html = 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 99\r\n\r\n<html>'
    const error = 'HTTP/1.1 500 X\r\ncontent-type: text/html\r\ncontent-length: 99\r\n\r\n<html>'
    for (const bytes of [html, error]) {
      await saying(
        bytes,
        (socket) => socket.resetAndDestroy(),
        async (url) => {
          for (let i = 0; i < 20; i += 1) await failureOf(ask({ ...source, url }))
        },
      )
      await sleep(20)
    }
  }))

test('the body of an error is not read without end, and does not hold the failure back', () =>
  inWorld(async ({ source, ask }) => {
    let written = 0
    const flood = (socket: Socket): void => {
      if (socket.destroyed) return
      written += 65_536
      socket.write('x'.repeat(65_536), () => setImmediate(flood, socket))
    }
    await saying('HTTP/1.1 503 X\r\nconnection: close\r\n\r\n', flood, async (url) => {
      assert.equal((await failureOf(ask({ ...source, url }))).status, 503)
      // It goes on until our side closes the connection; were it read without end it would never stop.
      let before = -1
      for (let i = 0; i < 300 && before !== written; i += 1) {
        before = written
        await sleep(100)
      }
      assert.equal(before, written)
    })
  }))

test('connections stay usable after refusals, so that a source in trouble is not also connected to anew', () =>
  inWorld(async ({ api, ask }) => {
    for (const status of [503, 404, 401, 429]) {
      api.behave({ status })
      for (let i = 0; i < 5; i += 1) await ask().catch(() => undefined)
    }
    assert.ok(api.connections() <= 2, `${api.connections()} connections for 20 requests`)
  }))

test('a source gets as many connections as it may have, and another source has its own', () =>
  inWorld(async ({ api, source, ask }) => {
    const first = { ...source, concurrency: 3 }
    const second = { ...source, concurrency: 2, name: 'other' }
    api.behave({ delayMilliseconds: 20 })
    const asks = Array.from({ length: 24 }, (_, i) => ask(i % 2 === 0 ? first : second))
    await Promise.all(asks)
    assert.equal(api.connections(), 5)
  }))

test('an address that may not be called is a matter of configuration', () =>
  inWorld(async ({ source, ask }) => {
    for (const url of ['http://169.254.169.254/{user}', 'http://10.0.0.1/{user}']) {
      const failure = await failureOf(ask({ ...source, url }))
      assert.deepEqual([failure.kind, failure.retryable], ['contract', false], failure.message)
    }
  }))

test('what is no HTTP is a failure', () =>
  inWorld(async ({ source, ask }) => {
    for (const bytes of ['SSH-2.0-x\r\n', '\0\0\0\0\0\0\0\0', 'HTTP/9.9 200 OK\r\n\r\n']) {
      await saying(
        bytes,
        (socket) => socket.end(),
        async (url) => {
          assert.equal((await failureOf(ask({ ...source, url }))).kind, 'unreachable')
        },
      )
    }
  }))

test('a look-up can be watched, without its secrets', () =>
  inWorld(async ({ api, source, ask, seen }) => {
    const auth = { header: 'x-api-key', value: new Secret('s3cret') }
    await ask({ ...source, auth })
    api.behave({ status: 503 })
    await failureOf(ask({ ...source, auth }))
    assert.deepEqual(
      seen.map(({ method, target, status }) => ({ method, target, status })),
      [200, 503].map((status) => ({ method: 'GET', target: '/users/ada/roles', status })),
    )
    assert.ok((seen[0]?.bytes ?? 0) > 10)
    assert.doesNotMatch(JSON.stringify(seen), /s3cret/)
  }))
