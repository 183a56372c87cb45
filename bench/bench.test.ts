import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { jwtVerify } from 'jose'
import { closeServer, listen } from '../demo/listen.ts'
import { staleSource } from './built.ts'
import { formRequest, openConnection } from './connection.ts'
import type { Measurements } from './contest.ts'
import { createCoreExchange } from './core-exchange.ts'
import { driveClosed, driveOpen, poissonArrivals } from './drive.ts'
import { parseBuckets, quantileBetween } from './ledger-latency.ts'
import type { LoadResult } from './load.ts'
import { rowsOf } from './rows.ts'
import { cpuMicros, residentMegabytes } from './server-cpu.ts'
import { median, spreadOf } from './spread.ts'
import { createIdpKey, createMinter } from './subject-tokens.ts'

const fail = (error: Error) => {
  throw error
}

const NOTHING: Measurements = {
  effort: {
    rounds: 0,
    windowSeconds: 0,
    warmUps: 0,
    latencySeconds: 0,
    users: 0,
    liveTokens: 0,
    starts: 0,
    fdatasyncs: 0,
  },
  runs: new Map(),
  ledgerPairs: [],
  latencies: [],
  idleMegabytes: { rolemint: 121, peer: 90 },
  loadedMegabytes: { rolemint: 300, peer: 200 },
  issued: 0,
  startMilliseconds: [1400, 1600, 1500],
  core: undefined,
  missing: new Map([['rolemint', 'it did not start']]),
}

test('percentiles are values that were measured, and the median of two is their mean', () => {
  const values = Float64Array.from({ length: 100 }, (_, index) => 100 - index)
  assert.deepEqual(spreadOf(values), { p50: 50, p90: 90, p99: 99, max: 100 })
  assert.equal(median([4, 1]), 2.5)
  assert.equal(median([9, 1, 5]), 5)
})

test('minted subject tokens verify and are all different', async () => {
  const { privateJwk, publicJwk } = createIdpKey()
  const key = createPublicKey({ key: publicJwk, format: 'jwk' })
  const mint = createMinter(privateJwk, Date.now)
  // Enough of them for r or s to begin with a zero byte now and then, where DER and JOSE differ in length.
  const tokens = Array.from({ length: 600 }, (_, index) => mint(index % 3))
  assert.equal(new Set(tokens).size, tokens.length)
  for (const token of tokens) await jwtVerify(token, key, { audience: 'rolemint' })
})

test('two servers meet the same arrivals, at about the rate that was asked for', () => {
  const arrivals = poissonArrivals(20_000, 1000, 7)
  assert.deepEqual(arrivals, poissonArrivals(20_000, 1000, 7))
  assert.notDeepEqual(arrivals, poissonArrivals(20_000, 1000, 8))
  const seconds = (arrivals.at(-1) ?? 0) / 1000
  assert.ok(Math.abs(seconds - 20) < 1, `20000 arrivals took ${seconds} s`)
})

test('a stalled answer also counts for the requests that were due behind it', async () => {
  let isFirst = true
  const server = createHttpServer((_request, response) => {
    const stall = isFirst ? 300 : 0
    isFirst = false
    setTimeout(() => response.setHeader('content-length', 2).end('{}'), stall)
  })
  const port = await listen(server, 0)
  const connection = await openConnection(port, fail)
  const count = 100
  const requests = Array.from({ length: count }, () => formRequest(port, '/', 'a=b'))
  const dueAt = Float64Array.from({ length: count }, (_, index) => index * 2)
  const { latencies } = await driveOpen([connection], requests, dueAt, () => undefined)
  connection.close()
  await closeServer(server)
  // Measured from the sending, 99 of them would look instant: coordinated omission.
  assert.ok(latencies.every((milliseconds) => milliseconds > 50))
})

test('a closed loop ends when there is nothing left to send', async () => {
  const server = createHttpServer((_request, response) => {
    response.setHeader('content-length', 2).end('{}')
  })
  const port = await listen(server, 0)
  const connections = await Promise.all([openConnection(port, fail), openConnection(port, fail)])
  let left = 25
  const next = () => (left-- > 0 ? formRequest(port, '/', 'a=b') : undefined)
  const statuses: number[] = []
  const { latencies } = await driveClosed(connections, next, 60_000, ({ status }) =>
    statuses.push(status),
  )
  for (const connection of connections) connection.close()
  await closeServer(server)
  assert.equal(latencies.length, 25)
  assert.deepEqual(new Set(statuses), new Set([200]))
})

test('an answer in pieces is put together, and one without a length makes the run void', async () => {
  const pieces = ['HTTP/1.1 40', '1 No\r\nContent-', 'Length: 5\r\n\r', '\nhel', 'lo']
  const server = createServer((socket) => {
    socket.setNoDelay(true)
    const sendPieces = async () => {
      for (const piece of pieces) {
        socket.write(piece)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    socket.once('data', () => {
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'))
      void sendPieces()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address)
  const failure = Promise.withResolvers<Error>()
  const connection = await openConnection(address.port, failure.resolve)
  const answer = await new Promise((resolve) =>
    connection.send(Buffer.from('x'), ({ status, body }) =>
      resolve({ status, body: body.toString() }),
    ),
  )
  assert.deepEqual(answer, { status: 401, body: 'hello' })
  connection.send(Buffer.from('x'), () => assert.fail('this is no answer'))
  assert.match((await failure.promise).message, /Content-Length/)
  connection.close()
  server.close()
})

test('CPU time and memory of a process are read from outside', () => {
  const before = cpuMicros(process.pid)
  const { user, system } = process.cpuUsage()
  // Ticks are hundredths of a second, and the two are read one after the other.
  assert.ok(Math.abs(before - user - system) < 100_000)
  const megabytes = process.memoryUsage.rss() / 1e6
  assert.ok(Math.abs(residentMegabytes(process.pid) - megabytes) < megabytes / 2)
})

test('a quantile of the ledger counts only what came between two readings', () => {
  const metric = 'rolemint_ledger_append_duration_seconds'
  const text = (fast: number, all: number) =>
    `${metric}_bucket{le="0.001"} ${fast}\n${metric}_bucket{le="0.005"} ${all}\n${metric}_bucket{le="+Inf"} ${all}\n`
  const before = parseBuckets(text(1000, 1000))
  assert.deepEqual(quantileBetween(before, parseBuckets(text(1050, 1100)), 0.75), {
    value: 3,
    from: 1,
    to: 5,
  })
  assert.equal(quantileBetween(before, before, 0.99), undefined)
  assert.throws(() => parseBuckets('up 1\n'), /no rolemint_ledger_append/)
})

test('a source without a build, or with an older one, is stale', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-stale-'))
  try {
    const [src, dist] = [join(folder, 'src'), join(folder, 'dist')]
    for (const made of [src, dist]) mkdirSync(made)
    writeFileSync(join(src, 'a.ts'), '')
    writeFileSync(join(src, 'a.test.ts'), '')
    assert.equal(staleSource(src, dist), 'a.ts')
    writeFileSync(join(dist, 'a.js'), '')
    utimesSync(join(src, 'a.ts'), 1000, 1000)
    assert.equal(staleSource(src, dist), undefined)
    utimesSync(join(dist, 'a.js'), 999, 999)
    assert.equal(staleSource(src, dist), 'a.ts')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('the core exchange issues for distinct tokens and refuses one of another IdP', async () => {
  const { privateJwk, publicJwk } = createIdpKey()
  const exchange = await createCoreExchange({ idpPublicJwk: publicJwk })
  const mint = createMinter(privateJwk, Date.now)
  for (let user = 0; user < 3; user += 1) await exchange(mint(user))
  const foreign = createMinter(createIdpKey().privateJwk, Date.now)
  await assert.rejects(exchange(foreign(0)), { code: 'invalid_signature' })
})

test('what was not measured has failed, and its row says why', () => {
  const rows = new Map(rowsOf(NOTHING).map((row) => [row.id, row]))
  assert.equal(rows.get('full-path')?.ok, false)
  assert.equal(rows.get('full-path')?.detail, 'it did not start')
  assert.equal(rows.get('rss-idle')?.ok, false)
  assert.equal(rows.get('rss-loaded')?.ok, true)
  assert.equal(rows.get('start')?.figure, 1.5)
  assert.equal(rows.get('start')?.ok, true)
})

const runAt = (perSecond: number): LoadResult => ({
  completed: 1,
  refused: 0,
  firstRefusal: undefined,
  perSecond,
  cpuMicrosPerRequest: 1,
  busy: 1,
  foreign: undefined,
  milliseconds: { p50: 1, p90: 1, p99: 1, max: 1 },
})

const costRowOf = (durable: number, memory: number) =>
  rowsOf({ ...NOTHING, ledgerPairs: [{ durable: runAt(durable), memory: runAt(memory) }] }).find(
    ({ id }) => id === 'ledger-cost',
  )

test('a ledger that seems to cost less than nothing makes its row void, not met', () => {
  assert.equal(costRowOf(90, 100)?.ok, true)
  assert.equal(costRowOf(150, 100)?.ok, false)
  assert.match(costRowOf(150, 100)?.detail ?? '', /^void/)
})
