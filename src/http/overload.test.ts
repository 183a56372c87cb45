import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { aTenant, publicDeps, publicOptions, tenantsOf } from '../../test/fakes/http-edge.ts'
import { selfSigned } from '../../test/fakes/self-signed.ts'
import type { LoadGate, Place } from '../admission/load.ts'
import { isRefusal, Refusal } from '../lib/refusal.ts'
import type { SocketBounds, TlsMaterial } from './fastify-server.ts'
import { openListener } from './listen.ts'
import type { PublicDeps } from './public/deps.ts'
import { createPublicServer } from './public/server.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0, tls: undefined, trustedProxies: [], bounds: {} }
const HOST = 'Host: sts.acme.example\r\n'
const FORM = 'Content-Type: application/x-www-form-urlencoded\r\n'
const JWKS = `GET /jwks HTTP/1.1\r\n${HOST}\r\n`
const introspect = (more = '') =>
  `POST /introspect HTTP/1.1\r\n${HOST}${FORM}${more}Content-Length: 7\r\n\r\ntoken=x`

/** A gate that does as it is told. */
function gate(changes: Partial<LoadGate> = {}) {
  const seen = { entered: 0, left: 0, refused: 0 }
  const place: Place = {
    leave() {
      seen.left += 1
    },
  }
  const load: LoadGate = {
    enter() {
      seen.entered += 1
      return place
    },
    refusal: () => undefined,
    overwhelmed: false,
    refused() {
      seen.refused += 1
    },
    facts: () => ({
      limit: 1,
      inFlight: 0,
      queued: 0,
      shed: { vital: 0, introspect: 0, exchange: 0 },
    }),
    ...changes,
  }
  return { load, seen, place }
}

const NO_ROOM = new Refusal('overloaded', 'There was no room.', { retryAfterSeconds: 3 })
/** Has room for what is vital alone. */
const full = (changes: Partial<LoadGate> = {}) =>
  gate({
    refusal: (_tenant, priority) => (priority === 'vital' ? undefined : NO_ROOM),
    ...changes,
  })

async function listening(
  changes: Partial<PublicDeps>,
  bounds: Partial<SocketBounds> = {},
  tls?: TlsMaterial,
) {
  const kept = publicDeps(changes)
  const server = createPublicServer(kept.deps, { ...publicOptions(), bounds, tls })
  const listener = await openListener(server, LOOPBACK)
  const port = Number(new URL(listener.url).port)
  return {
    ...kept,
    dial: () => talk(connect(port, '127.0.0.1')),
    dialTls: () => talk(connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })),
    [Symbol.asyncDispose]: () => listener.close(1),
  }
}

/** A connection that keeps what it hears. */
function talk(socket: Socket) {
  let text = ''
  let ended = false
  socket.on('data', (data) => {
    text += data.toString('latin1')
  })
  socket.on('error', () => undefined)
  socket.on('close', () => {
    ended = true
  })
  return {
    socket,
    say: (request: string) => socket.write(request),
    isClosed: () => ended,
    /** Waits until that many answers are there, and gives all that was heard. */
    answers: (count: number) =>
      until(() => ((text.match(/HTTP\/1\.1 \d/g)?.length ?? 0) >= count ? text : undefined)),
    closed: () => until(() => ended || undefined),
    [Symbol.dispose]: () => socket.destroy(),
  }
}

/** What `look` finds, now or within a time that only a broken server needs. */
async function until<T>(look: () => T | undefined): Promise<T> {
  const deadline = performance.now() + 30_000
  while (performance.now() < deadline) {
    const found = look()
    if (found !== undefined) return found
    await sleep(2)
  }
  throw new Error('it never came')
}

suite('when a tenant is over its limit', () => {
  const OVER = new Refusal('rate_limited', 'Too many requests came for this tenant.', {
    retryAfterSeconds: 7,
  })
  const exchange = `POST /token HTTP/1.1\r\n${HOST}${FORM}Content-Length: 7\r\n\r\n`

  test('an exchange is refused before its body is there, and what is not limited is served', async () => {
    const { load, seen } = gate()
    await using edge = await listening({ load, full: () => OVER })
    using client = edge.dial()
    client.say(exchange)
    const heard = await client.answers(1)
    assert.match(heard, /^HTTP\/1\.1 429 /)
    assert.match(heard, /\r\nretry-after: 7\r\n/)
    assert.match(heard, /"error_code":"rate_limited"/)
    assert.deepEqual(edge.exchanged, [])
    assert.equal(seen.entered, 0)
    client.say(`token=x${JWKS}`)
    assert.match(await client.answers(2), /HTTP\/1\.1 200 /)
    client.say(introspect())
    assert.match(await client.answers(3), /HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 /)
  })

  test('one that lacks room as well is told of its limit, and an answer made for the one is not given for the other', async () => {
    const { load } = full()
    let isOver = true
    const twin = new Refusal('rate_limited', 'Too many.', { retryAfterSeconds: 3 })
    await using edge = await listening({ load, full: () => (isOver ? twin : undefined) })
    using client = edge.dial()
    client.say(`${exchange}token=x`)
    assert.match(await client.answers(1), /^HTTP\/1\.1 429 /)
    isOver = false
    client.say(`${exchange}token=x`)
    assert.match(await client.answers(2), /"rate_limited"[^]*HTTP\/1\.1 503 [^]*"overloaded"/)
  })
})

suite('when there is no room', () => {
  test('a request is refused before its body is there, and told when to come back', async () => {
    const { load, seen } = full()
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(`POST /introspect HTTP/1.1\r\n${HOST}${FORM}Content-Length: 7\r\n\r\n`)
    const heard = await client.answers(1)
    assert.match(heard, /^HTTP\/1\.1 503 /)
    assert.match(heard, /\r\nretry-after: 3\r\n/)
    assert.match(heard, /\r\ncache-control: no-store\r\n/)
    assert.match(heard, /\r\nx-content-type-options: nosniff\r\n/)
    const body = JSON.parse(heard.slice(heard.indexOf('\r\n\r\n')))
    assert.equal(body.error, 'temporarily_unavailable')
    assert.equal(body.error_code, 'overloaded')
    assert.equal(body.type, 'https://sts.acme.example/errors/overloaded')
    assert.equal(/x-request-id: (\w+)/.exec(heard)?.[1], body.request_id)
    assert.deepEqual(edge.introspected, [])
    assert.deepEqual(seen, { entered: 0, left: 0, refused: 1 })
  })

  test('the connection can be used again', async () => {
    const { load } = full()
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect())
    await client.answers(1)
    client.say(JWKS)
    assert.match(await client.answers(2), /HTTP\/1\.1 503 [^]*HTTP\/1\.1 200 /)
  })

  test('a problem is answered to who prefers one', async () => {
    const { load } = full()
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect('Accept: application/problem+json\r\n'))
    assert.match(await client.answers(1), /content-type: application\/problem\+json/)
    client.say(introspect())
    assert.match(await client.answers(2), /503[^]*503[^]*content-type: application\/json/)
  })

  test('a body too long to be read for nothing ends the connection', async () => {
    const { load } = full()
    await using edge = await listening({ load })
    for (const framing of ['Content-Length: 1000000\r\n', 'Transfer-Encoding: chunked\r\n']) {
      using client = edge.dial()
      client.say(`POST /introspect HTTP/1.1\r\n${HOST}${FORM}${framing}\r\n`)
      assert.match(await client.answers(1), /503[^]*connection: close/)
      await client.closed()
    }
  })

  test('a page of the tenant may read why it was refused', async () => {
    const { load } = full({
      enter() {
        throw NO_ROOM
      },
    })
    const origin = 'https://app.acme.example'
    const tenants = tenantsOf(aTenant({ corsOrigins: [origin] }))
    await using edge = await listening({ load, tenants })
    using client = edge.dial()
    const length = 'Content-Length: 2\r\n\r\n{}'
    client.say(
      `POST /v1/token/exchange HTTP/1.1\r\n${HOST}Origin: ${origin}\r\nContent-Type: application/json\r\n${length}`,
    )
    assert.match(await client.answers(1), /503[^]*access-control-allow-origin: https:\/\/app\.acme/)
  })

  test('ten thousand refusals are one log line a second, and counted all the same', async () => {
    const { load } = full()
    const counted: unknown[] = []
    await using edge = await listening({
      load,
      metrics: { httpRequest: (...facts) => void counted.push(facts.slice(0, 3)) },
    })
    using client = edge.dial()
    for (let i = 1; i <= 20; i++) {
      client.say(introspect())
      await client.answers(i)
    }
    assert.equal(counted.length, 20)
    assert.deepEqual(counted[0], ['public', '/introspect', 503])
    assert.equal(edge.log.lines.filter(({ message }) => message === 'request').length, 0)
    const told = edge.log.lines.filter(
      ({ message }) => message === 'requests refused before they were read',
    )
    assert.ok(told.length >= 1 && told.length < 20)
    assert.deepEqual(told[0]?.['refused'], { overloaded: 1 })
  })
})

suite('when even refusing is too much', () => {
  test('the no is held back while vital requests are answered, and comes when there is time', async () => {
    let overwhelmed = true
    const { load } = full({
      get overwhelmed() {
        return overwhelmed
      },
    })
    await using edge = await listening({ load })
    using shed = edge.dial()
    using vital = edge.dial()
    shed.say(introspect())
    vital.say(JWKS)
    await vital.answers(1)
    overwhelmed = false
    assert.match(await shed.answers(1), /503/)
  })

  test('nobody is kept waiting for ever', async () => {
    const { load } = full({ overwhelmed: true })
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect())
    assert.match(await client.answers(1), /503/)
  })

  test('whoever goes away meanwhile is not answered', async () => {
    let overwhelmed = true
    const { load, seen } = full({
      get overwhelmed() {
        return overwhelmed
      },
    })
    await using edge = await listening({ load })
    using gone = edge.dial()
    using stays = edge.dial()
    gone.say(introspect())
    await until(() => edge.log.lines.length > 0 || undefined)
    gone.socket.destroy()
    stays.say(introspect())
    await sleep(50)
    overwhelmed = false
    await stays.answers(1)
    assert.equal(seen.refused, 1)
  })
})

suite('places', () => {
  test('a request has its place until it is answered, and leaves it once', async () => {
    const { load, seen } = gate()
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect())
    await client.answers(1)
    await until(() => seen.left > 0 || undefined)
    assert.deepEqual(seen, { entered: 1, left: 1, refused: 0 })
  })

  test('an attacker that sends bodies slowly holds no place', async () => {
    const { load, seen } = gate()
    await using edge = await listening({ load })
    using slow = edge.dial()
    using quick = edge.dial()
    slow.say(`POST /introspect HTTP/1.1\r\n${HOST}${FORM}Content-Length: 1000\r\n\r\ntoken=`)
    quick.say(introspect())
    await quick.answers(1)
    assert.equal(seen.entered, 1)
  })

  test('who waits for a place is served once there is one', async () => {
    const waiting = Promise.withResolvers<Place>()
    const { load, place } = gate({ enter: () => waiting.promise })
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect() + JWKS)
    await sleep(20)
    assert.equal(edge.introspected.length, 0)
    waiting.resolve(place)
    assert.match(await client.answers(2), /HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 /)
  })

  test('who waited in vain is refused as everybody is', async () => {
    const { load } = gate({ enter: () => Promise.reject(NO_ROOM) })
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect())
    assert.match(await client.answers(1), /503[^]*retry-after: 3/)
  })

  test('a place that comes after its caller has gone is given back unused', async () => {
    const waiting = Promise.withResolvers<Place>()
    const asked = Promise.withResolvers<void>()
    const { load, seen, place } = gate({
      enter() {
        asked.resolve()
        return waiting.promise
      },
    })
    await using edge = await listening({ load })
    using client = edge.dial()
    client.say(introspect())
    await asked.promise
    client.socket.destroy()
    await until(() => edge.log.lines.find(({ message }) => message === 'request'))
    waiting.resolve(place)
    await until(() => seen.left > 0 || undefined)
    assert.equal(edge.introspected.length, 0)
  })
})

suite('a caller that goes away', () => {
  test('ends its own work, and nobody else’s', async () => {
    const signals: AbortSignal[] = []
    const answer = Promise.withResolvers<{ active: boolean }>()
    await using edge = await listening({
      introspect: (_tenant, _credentials, _token, signal) => {
        signals.push(signal)
        return answer.promise
      },
    })
    using gone = edge.dial()
    using stays = edge.dial()
    gone.say(introspect())
    await until(() => signals[0])
    stays.say(introspect())
    await until(() => signals[1])
    gone.socket.destroy()
    await until(() => signals[0]?.aborted || undefined)
    assert.ok(isRefusal(signals[0]?.reason, 'overloaded'))
    assert.equal(signals[1]?.aborted, false)
    answer.resolve({ active: true })
    assert.match(await stays.answers(1), /\{"active":true\}/)
    const lines = edge.log.lines.filter(({ message }) => message === 'request')
    assert.ok(lines.some(({ status }) => status === 499))
    assert.ok(edge.log.lines.every(({ message }) => message !== 'request failed on a bug'))
  })

  test('a request that was answered fires nothing', async () => {
    const signals: AbortSignal[] = []
    await using edge = await listening({
      introspect: (_tenant, _credentials, _token, signal) => {
        signals.push(signal)
        return Promise.resolve({ active: false })
      },
    })
    using client = edge.dial()
    client.say(introspect())
    await client.answers(1)
    client.socket.destroy()
    await until(() => edge.log.lines.find(({ message }) => message === 'request'))
    assert.equal(signals[0]?.aborted, false)
  })
})

suite('too many connections', () => {
  const idle = { connectionsPerAddress: 3 }

  test('row 19: slow ones make room for whoever comes after, even from the same address', async () => {
    await using edge = await listening({}, idle)
    using one = edge.dial()
    using two = edge.dial()
    using used = edge.dial()
    one.say('POST /introspect HTTP/1.1\r\n')
    two.say(`POST /introspect HTTP/1.1\r\n${HOST}${FORM}Content-Length: 1000\r\n\r\ntoken=`)
    used.say(JWKS)
    await used.answers(1)
    // Both count as slow after a second.
    await sleep(1100)
    using first = edge.dial()
    first.say(JWKS)
    await first.answers(1)
    using second = edge.dial()
    second.say(JWKS)
    await second.answers(1)
    await Promise.all([one.closed(), two.closed()])
    assert.equal(used.isClosed(), false)
    used.say(JWKS)
    await used.answers(2)
  })

  test('with TLS too a connection in use is told from one that brings nothing', async () => {
    await using edge = await listening({}, idle, selfSigned())
    using one = edge.dial()
    one.say('no handshake')
    using silent = edge.dial()
    using used = edge.dialTls()
    used.say(JWKS)
    await used.answers(1)
    await sleep(1100)
    using late = edge.dialTls()
    late.say(JWKS)
    await late.answers(1)
    using later = edge.dialTls()
    later.say(JWKS)
    await later.answers(1)
    await Promise.all([one.closed(), silent.closed()])
    using refused = edge.dialTls()
    await refused.closed()
    used.say(JWKS)
    await used.answers(2)
  })

  test('one in use is never taken away: the new one is refused', async () => {
    const answer = Promise.withResolvers<{ active: boolean }>()
    const reached: unknown[] = []
    const introspecting = () => {
      reached.push(1)
      return answer.promise
    }
    await using edge = await listening({ introspect: introspecting }, idle)
    const busy = [edge.dial(), edge.dial(), edge.dial()]
    for (const client of busy) client.say(introspect())
    await until(() => reached.length === 3 || undefined)
    using late = edge.dial()
    await late.closed()
    answer.resolve({ active: true })
    for (const client of busy) await client.answers(1)
    for (const client of busy) client.socket.destroy()
  })

  test('all addresses together have a bound too', async () => {
    await using edge = await listening({}, { connections: 1 })
    using one = edge.dial()
    one.say(JWKS)
    await one.answers(1)
    using late = edge.dial()
    await late.closed()
    one.say(JWKS)
    await one.answers(2)
  })

  test('a connection that is over is not counted', async () => {
    await using edge = await listening({}, { connectionsPerAddress: 1 })
    for (let i = 0; i < 5; i++) {
      using client = edge.dial()
      client.say(`GET /jwks HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`)
      await client.answers(1)
      await client.closed()
    }
  })

  test('an attacker that pipelines a thousand requests loses its connection', async () => {
    const answer = Promise.withResolvers<{ active: boolean }>()
    await using edge = await listening({ introspect: () => answer.promise })
    using client = edge.dial()
    client.say(introspect().repeat(1000))
    await client.closed()
    answer.resolve({ active: true })
  })
})
