import assert from 'node:assert/strict'
import { type AddressInfo, connect } from 'node:net'
import { suite, test } from 'node:test'
import { publicDeps, publicOptions } from '../../test/fakes/http-edge.ts'
import { openListener, readTls } from './listen.ts'
import type { PublicDeps } from './public/deps.ts'
import { createPublicServer } from './public/server.ts'

const HEAD = 'POST /introspect HTTP/1.1\r\nHost: sts.acme.example\r\n'
const FORM = 'Content-Type: application/x-www-form-urlencoded\r\n'
const LOOPBACK = { host: '127.0.0.1', port: 0, tls: undefined, trustedProxies: [], bounds: {} }

const basic = (text: string) => `Authorization: Basic ${Buffer.from(text).toString('base64')}\r\n`

/** A listener on a real port, with bounds short enough for a test. */
async function listening(changes: Partial<PublicDeps> = {}, requestMilliseconds = 400) {
  const kept = publicDeps(changes)
  const server = createPublicServer(kept.deps, {
    ...publicOptions(),
    bounds: { headersMilliseconds: 200, requestMilliseconds, checkMilliseconds: 50 },
  })
  const listener = await openListener(server, LOOPBACK)
  const { port } = new URL(listener.url)
  /** Sends bytes, in pieces if several, and gives all that comes back until the other side closes. */
  const say = (...pieces: readonly string[]) => talk(Number(port), pieces)
  return { ...kept, server, listener, say, [Symbol.asyncDispose]: () => listener.close(1000) }
}

function talk(port: number, pieces: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let heard = ''
    for (const piece of pieces) socket.write(piece)
    socket.on('data', (data) => {
      heard += data.toString('latin1')
    })
    // A reset is an end like any other here.
    socket.on('error', () => undefined)
    socket.on('close', () => {
      resolve(heard)
    })
  })
}

/** What `look` finds, now or a few turns of the event loop later. */
async function eventually<T>(look: () => T | undefined): Promise<T> {
  for (let turn = 0; turn < 1000; turn++) {
    const found = look()
    if (found !== undefined) return found
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error('it never came')
}

suite('row 76: what is no honest HTTP is refused, and others are served', () => {
  test('Content-Length together with Transfer-Encoding, in any order or spelling, never smuggles a second request', async () => {
    await using edge = await listening()
    const smuggled =
      'POST /introspect HTTP/1.1\r\nHost: sts.acme.example\r\nContent-Length: 7\r\n\r\ntoken=x'
    for (const framing of [
      'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
      'Content-Length: 5\r\nTransfer-Encoding: identity, chunked\r\n',
      'Content-Length: 5\r\nTransfer-Encoding : chunked\r\n',
      'Content-Length: 5\r\nContent-Length: 6\r\n',
      'Content-Length: +5\r\n',
      'Transfer-Encoding: gzip\r\n',
      'Transfer-Encoding: chunked, gzip\r\n',
    ]) {
      const heard = await edge.say(`${HEAD}${FORM}${framing}\r\n0\r\n\r\n${smuggled}`)
      assert.match(heard, /^HTTP\/1\.1 400 /, framing)
      assert.equal(heard.match(/HTTP\/1\.1/g)?.length, 1, framing)
    }
    assert.equal(edge.introspected.length, 0)
  })

  test('the answer to broken framing is a problem without a word of the request', async () => {
    await using edge = await listening()
    const heard = await edge.say('GET /eyJhbGciOi HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n')
    assert.match(heard, /^HTTP\/1\.1 400 Bad Request\r\n/)
    assert.match(heard, /content-type: application\/problem\+json/)
    assert.match(heard, /"status":400/)
    assert.match(heard, /connection: close/)
    assert.doesNotMatch(heard, /eyJ|Bad Header/)
  })

  test('headers over 16 KiB are 431', async () => {
    await using edge = await listening()
    const heard = await edge.say(`${HEAD}X-Filler: ${'x'.repeat(17 * 1024)}\r\n\r\n`)
    assert.match(heard, /^HTTP\/1\.1 431 /)
    assert.match(heard, /"status":431/)
  })

  test('headers that never end are 408 while others are served', { timeout: 30_000 }, async () => {
    await using edge = await listening({}, 60_000)
    const slow = edge.say(HEAD)
    const quick = await edge.say(
      `${HEAD}${FORM}Content-Length: 7\r\nConnection: close\r\n\r\ntoken=x`,
    )
    assert.match(quick, /^HTTP\/1\.1 200 /)
    assert.match(await slow, /^HTTP\/1\.1 408 /)
  })

  test('a body that never ends is 408', async () => {
    await using edge = await listening()
    const heard = await edge.say(`${HEAD}${FORM}Content-Length: 1000\r\n\r\ntoken=`)
    assert.match(heard, /^HTTP\/1\.1 408 /)
    assert.equal(edge.introspected.length, 0)
  })

  test('row 6: a chunked body over 64 KiB is 413 and the connection ends', async () => {
    await using edge = await listening()
    const chunk = `1000\r\n${'x'.repeat(0x1000)}\r\n`
    const heard = await edge.say(
      `${HEAD}${FORM}Transfer-Encoding: chunked\r\n\r\n`,
      chunk.repeat(17),
    )
    assert.match(heard, /^HTTP\/1\.1 413 /)
    assert.match(heard, /connection: close/i)
  })

  test('two Authorization headers are not one: neither is used', async () => {
    await using edge = await listening()
    const heard = await edge.say(
      `${HEAD}${FORM}${basic('a:b')}${basic('c:d')}Content-Length: 7\r\nConnection: close\r\n\r\ntoken=x`,
    )
    assert.match(heard, /^HTTP\/1\.1 401 /)
    assert.equal(edge.introspected.length, 0)
  })

  test('two Host headers, or none, are no tenant', async () => {
    await using edge = await listening()
    const end = 'Connection: close\r\n\r\n'
    const two = await edge.say(
      `GET /jwks HTTP/1.1\r\nHost: sts.acme.example\r\nHost: sts.acme.example\r\n${end}`,
    )
    assert.match(two, /^HTTP\/1\.1 (400|404) /)
    assert.match(await edge.say(`GET /jwks HTTP/1.1\r\n${end}`), /^HTTP\/1\.1 400 /)
  })

  test('row 77: a request id with a line break cannot split the answer', async () => {
    await using edge = await listening()
    const heard = await edge.say(
      'GET /jwks HTTP/1.1\r\nHost: sts.acme.example\r\nX-Request-Id: a\rset-cookie: b\r\nConnection: close\r\n\r\n',
    )
    assert.doesNotMatch(heard, /set-cookie/)
  })
})

suite('listeners', () => {
  test('close lets the request in hand finish and takes no new one', async () => {
    const reached = Promise.withResolvers<void>()
    const answer = Promise.withResolvers<{ active: boolean }>()
    const edge = await listening({
      introspect: () => {
        reached.resolve()
        return answer.promise
      },
    })
    const heard = edge.say(`${HEAD}${FORM}Content-Length: 7\r\n\r\ntoken=x`)
    await reached.promise
    const { port } = edge.server.server.address() as AddressInfo
    const closed = edge.listener.close(60_000)
    answer.resolve({ active: true })
    assert.match(await heard, /\{"active":true\}/)
    await closed
    assert.equal(await talk(port, [HEAD]), '')
  })

  test('close cuts what is not answered when the drain time is over', async () => {
    const reached = Promise.withResolvers<void>()
    const edge = await listening({
      introspect: () => {
        reached.resolve()
        return new Promise(() => undefined)
      },
    })
    const heard = edge.say(`${HEAD}${FORM}Content-Length: 7\r\n\r\ntoken=x`)
    await reached.promise
    await edge.listener.close(1)
    assert.equal(await heard, '')
    const line = await eventually(() => edge.log.lines.find(({ message }) => message === 'request'))
    assert.equal(line['status'], 499)
  })

  test('a port that is taken is an error, not a silence', async () => {
    await using edge = await listening()
    const { port } = new URL(edge.listener.url)
    const { deps } = publicDeps()
    const second = createPublicServer(deps, publicOptions())
    await assert.rejects(openListener(second, { ...LOOPBACK, port: Number(port) }), {
      code: 'EADDRINUSE',
    })
  })

  test('certificate and key are read from their files, and only where TLS is asked for', async () => {
    const read: string[] = []
    const readFile = (path: string) => {
      read.push(path)
      return Promise.resolve(Buffer.from(path))
    }
    assert.equal(await readTls(LOOPBACK, readFile), undefined)
    const tls = await readTls({ ...LOOPBACK, tls: { cert: 'c.pem', key: 'k.pem' } }, readFile)
    assert.deepEqual(read, ['c.pem', 'k.pem'])
    assert.deepEqual(tls, { cert: Buffer.from('c.pem'), key: Buffer.from('k.pem') })
  })
})
