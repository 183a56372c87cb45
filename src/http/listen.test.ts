import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { publicDeps, publicOptions } from '../../test/fakes/http-edge.ts'
import { selfSigned } from '../../test/fakes/self-signed.ts'
import type { SocketBounds, TlsMaterial } from './fastify-server.ts'
import { openListener } from './listen.ts'
import { createPublicServer } from './public/server.ts'

const HANDLES = 8
/** So many that no one of the listening sockets can have got them all by chance. */
const DIALS = 64
const JWKS = 'GET /jwks HTTP/1.1\r\nHost: sts.acme.example\r\nConnection: close\r\n\r\n'

async function opened({
  port = 0,
  tls,
  bounds = {},
}: {
  port?: number
  tls?: TlsMaterial
  bounds?: Partial<SocketBounds>
} = {}) {
  const server = createPublicServer(publicDeps().deps, { ...publicOptions(), bounds, tls })
  const files = tls && { cert: 'cert.pem', key: 'key.pem' }
  const listener = await openListener(server, {
    host: '127.0.0.1',
    port,
    tls: files,
    trustedProxies: [],
    bounds: {},
    handles: HANDLES,
  })
  return {
    port: Number(new URL(listener.url).port),
    close: () => listener.close(1000),
    [Symbol.asyncDispose]: () => listener.close(1),
  }
}

/** What a server says to one request, or that there is none. */
function asked(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let heard = ''
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => (heard += text))
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(heard))
    socket.write(JWKS)
  })
}

const dials = (port: number, dial: (port: number) => Socket) =>
  Promise.all(Array.from({ length: DIALS }, () => asked(dial(port))))

const plain = (port: number) => connect(port, '127.0.0.1')

const secure = (port: number) => connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })

test('every connection is served whichever of the listening sockets takes it, and none when it is closed', async () => {
  const edge = await opened()
  for (const answer of await dials(edge.port, plain)) assert.match(answer, /^HTTP\/1\.1 200 /)
  await edge.close()
  assert.deepEqual(new Set(await dials(edge.port, plain)), new Set(['']))
})

test('with TLS none of them speaks anything else', async () => {
  await using edge = await opened({ tls: selfSigned() })
  for (const answer of await dials(edge.port, secure)) assert.match(answer, /^HTTP\/1\.1 200 /)
  for (const answer of await dials(edge.port, plain)) assert.doesNotMatch(answer, /200/)
})

test('a second process on the same port is told that it is taken: shared, it would get half of the requests unseen', async () => {
  await using edge = await opened()
  await assert.rejects(opened({ port: edge.port }), { code: 'EADDRINUSE' })
  assert.match(await asked(plain(edge.port)), /^HTTP\/1\.1 200 /)
})

test('a port that was chosen is the one that is open', async () => {
  const { port, close } = await opened()
  await close()
  await using again = await opened({ port })
  assert.equal(again.port, port)
  assert.match(await asked(plain(port)), /^HTTP\/1\.1 200 /)
})

test('the bound on connections of one address holds over all of them', async () => {
  await using edge = await opened({ bounds: { connectionsPerAddress: 3 } })
  const sockets = Array.from({ length: 24 }, () => plain(edge.port))
  for (const socket of sockets) socket.on('error', () => undefined).resume()
  const left = () => sockets.filter(({ closed }) => !closed).length
  for (const deadline = Date.now() + 30_000; left() > 3 && Date.now() < deadline; ) await sleep(5)
  assert.equal(left(), 3)
  for (const socket of sockets) socket.destroy()
})
