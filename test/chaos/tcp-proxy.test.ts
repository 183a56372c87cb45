import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts'

/** What a client saw: everything that came, and how the connection ended. */
interface Heard {
  readonly socket: Socket
  text(): string
  /** `end` after a FIN, else the code of the error, `open` while nothing of the kind has happened. */
  ended(): string
  until(what: () => boolean): Promise<void>
}

/** An echo server behind a proxy; whatever was opened is closed afterwards. */
async function withEcho(
  body: (proxy: TcpProxy, dial: () => Heard, received: () => string) => Promise<void>,
): Promise<void> {
  let received = ''
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.on('data', (piece) => {
      received += piece.toString('latin1')
      socket.write(piece)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const proxy = await startTcpProxy(address.port)
  const dial = () => {
    const heard = listen(connect(proxy.port, '127.0.0.1'))
    open.add(heard.socket)
    return heard
  }
  try {
    await body(proxy, dial, () => received)
  } finally {
    for (const socket of open) socket.destroy()
    await proxy.close()
    server.close()
  }
}

function listen(socket: Socket): Heard {
  let text = ''
  let ended = 'open'
  socket.on('data', (piece) => (text += piece.toString('latin1')))
  socket.on('end', () => (ended = 'end'))
  socket.on('error', (error: NodeJS.ErrnoException) => (ended = error.code ?? 'error'))
  return {
    socket,
    text: () => text,
    ended: () => ended,
    async until(what) {
      const deadline = Date.now() + 30_000
      while (!what()) {
        assert.ok(Date.now() < deadline, `heard ${JSON.stringify(text)}, ended ${ended}`)
        await sleep(5)
      }
    },
  }
}

/** A connection that was used before the fault is set. */
async function opened(dial: () => Heard): Promise<Heard> {
  const heard = dial()
  heard.socket.write('hello')
  await heard.until(() => heard.text() === 'hello')
  return heard
}

test('without a fault bytes go both ways, and both ends learn of a polite end', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    heard.socket.write('x'.repeat(300_000))
    await heard.until(() => heard.text().length === 300_005)
    heard.socket.end()
    await heard.until(() => heard.ended() === 'end')
    const { accepted, bytesUp, bytesDown, struck } = proxy.counters()
    assert.deepEqual(
      { accepted, bytesUp, bytesDown, struck },
      {
        accepted: 1,
        bytesUp: 300_005,
        bytesDown: 300_005,
        struck: 0,
      },
    )
  }))

test('latency holds pieces back in both directions and keeps their order', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'latency', milliseconds: 60, jitter: 40 })
    const began = performance.now()
    for (const piece of ['a', 'b', 'c']) {
      heard.socket.write(piece)
      await sleep(5)
    }
    await heard.until(() => heard.text().length === 8)
    assert.ok(performance.now() - began >= 120)
    assert.equal(heard.text(), 'helloabc')
    assert.ok(proxy.counters().struck > 0)
  }))

test('down resets what is open and refuses what is new, until it is over', () =>
  withEcho(async (proxy, dial) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'down' })
    await before.until(() => before.ended() === 'ECONNRESET')
    const refused = dial()
    await refused.until(() => refused.ended() === 'ECONNREFUSED')
    await proxy.set({ kind: 'none' })
    await opened(dial)
  }))

test('reset takes a connection and breaks it at its first byte', () =>
  withEcho(async (proxy, dial, received) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'reset' })
    await before.until(() => before.ended() === 'ECONNRESET')
    const after = dial()
    await once(after.socket, 'connect')
    after.socket.write('lost')
    await after.until(() => after.ended() === 'ECONNRESET')
    assert.equal(received(), 'hello')
  }))

test('a black hole takes everything and says nothing; what it swallowed is never delivered late', () =>
  withEcho(async (proxy, dial, received) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'blackhole' })
    const after = dial()
    for (const heard of [before, after]) heard.socket.write('swallowed')
    await after.until(() => proxy.counters().struck >= 2)
    assert.deepEqual([before.text(), after.text()], ['hello', ''])
    assert.deepEqual([before.ended(), after.ended()], ['open', 'open'])
    await proxy.set({ kind: 'none' })
    for (const heard of [before, after]) await heard.until(() => heard.ended() === 'ECONNRESET')
    assert.equal(received(), 'hello')
    await opened(dial)
  }))

test('a connection that was idle in a black hole lives on after it', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'blackhole' })
    await proxy.set({ kind: 'none' })
    heard.socket.write('!')
    await heard.until(() => heard.text() === 'hello!')
  }))

test('the slicer sends small pieces', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'slicer', bytes: 3, milliseconds: 10 })
    const sizes: number[] = []
    heard.socket.on('data', (piece) => sizes.push(piece.length))
    heard.socket.write('0123456789')
    await heard.until(() => heard.text() === 'hello0123456789')
    assert.ok(sizes.length > 1, String(sizes))
  }))

test('bandwidth slows a stream down and loses nothing', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'bandwidth', bytesPerSecond: 100_000 })
    const began = performance.now()
    heard.socket.write('x'.repeat(20_000))
    await heard.until(() => heard.text().length === 20_005)
    assert.ok(performance.now() - began > 200)
  }))

test('a cut lets exactly so many bytes through, counted from when it was set', () =>
  withEcho(async (proxy, dial, received) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'cut', bytes: 7, direction: 'down' })
    for (const [heard, old] of [
      [before, 'hello'],
      [dial(), ''],
    ] as const) {
      heard.socket.write('0123456789')
      await heard.until(() => heard.ended() === 'end')
      assert.equal(heard.text(), `${old}0123456`)
    }
    await proxy.set({ kind: 'cut', bytes: 4, direction: 'up', reset: true })
    const up = dial()
    up.socket.write('ABCDEFGH')
    await up.until(() => up.ended() === 'ECONNRESET')
    await up.until(() => received().length >= 25)
    assert.ok(!received().includes('ABCDE'))
  }))

test('truncated takes the end off an answer and closes politely', () =>
  withEcho(async (proxy, dial) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'truncated', lose: 2 })
    const after = dial()
    for (const heard of [before, after]) heard.socket.write('0123456789')
    for (const heard of [before, after]) await heard.until(() => heard.ended() === 'end')
    assert.deepEqual([before.text(), after.text()], ['hello01234567', '01234567'])
  }))

test('corrupt changes one byte and nothing else', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'corrupt', offset: 6, direction: 'down' })
    heard.socket.write('0123')
    await heard.until(() => heard.text().length === 9)
    heard.socket.write('456789')
    await heard.until(() => heard.text().length === 15)
    const turned = String.fromCharCode('6'.charCodeAt(0) ^ 0xff)
    assert.equal(heard.text(), `hello012345${turned}789`)
  }))

test('duplicate sends what comes back twice', () =>
  withEcho(async (proxy, dial) => {
    const heard = await opened(dial)
    await proxy.set({ kind: 'duplicate' })
    heard.socket.write('ab')
    await heard.until(() => heard.text() === 'helloabab')
  }))

const numbered = (request: Buffer, connection: number) =>
  Buffer.from(`${connection}:${request.length}`)

test('a made-up reply comes instead of the server, which hears nothing', () =>
  withEcho(async (proxy, dial, received) => {
    const before = await opened(dial)
    await proxy.set({ kind: 'reply', answer: numbered, end: true })
    const after = dial()
    for (const heard of [before, after]) heard.socket.write('four')
    for (const heard of [before, after]) await heard.until(() => heard.ended() === 'end')
    assert.deepEqual([before.text(), after.text()], ['hello1:4', '2:4'])
    assert.equal(received(), 'hello')
  }))

test('flapping goes down and comes up again by itself, until another fault is set', () =>
  withEcho(async (proxy, dial) => {
    await proxy.set({ kind: 'flapping', upMilliseconds: 100, downMilliseconds: 100 })
    const seen = new Set<string>()
    const deadline = Date.now() + 30_000
    while (seen.size < 2 && Date.now() < deadline) {
      const heard = dial()
      heard.socket.write('x')
      await heard.until(() => heard.text() === 'x' || heard.ended() !== 'open')
      seen.add(heard.text() === 'x' ? 'up' : 'down')
      heard.socket.destroy()
      await sleep(20)
    }
    assert.deepEqual([...seen].toSorted(), ['down', 'up'])
    await proxy.set({ kind: 'none' })
    const steady = await opened(dial)
    await sleep(300)
    assert.equal(steady.ended(), 'open')
  }))

test('a server that is down behind the proxy is a reset, not a silence', () =>
  withEcho(async () => {
    const proxy = await startTcpProxy(1)
    const heard = listen(connect(proxy.port, '127.0.0.1'))
    heard.socket.write('anybody?')
    await heard.until(() => heard.ended() === 'ECONNRESET')
    await proxy.close()
  }))
