import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { formRequest } from '../../bench/connection.ts'
import { closeServer, listen } from '../../demo/listen.ts'
import { createFleet, type Fleet, type Outcome } from './fleet.ts'

/** Longer than any of these tests may take. */
const PATIENT = { timeoutMilliseconds: 30_000 }

async function setUp(
  listener: RequestListener,
  options: { connections: number; timeoutMilliseconds: number },
) {
  const server = createServer(listener)
  const port = await listen(server, 0)
  const fleet = createFleet({ port, addresses: 2, network: 0, ...options })
  const request = formRequest(port, '/', 'a=b')
  return {
    fleet,
    call: () => {
      const { promise, resolve } = Promise.withResolvers<Outcome>()
      fleet.call({ request, due: performance.now(), done: resolve })
      return promise
    },
    close: async () => {
      fleet.close()
      await closeServer(server)
    },
  }
}

/** Looks after the fleet until these are settled. */
async function tended<T>(fleet: Fleet, calls: readonly Promise<T>[]): Promise<T[]> {
  const timer = setInterval(() => fleet.tend(performance.now()), 1)
  try {
    return await Promise.all(calls)
  } finally {
    clearInterval(timer)
  }
}

test('connections are opened on demand, used again, and never more than allowed', async () => {
  const { fleet, call, close } = await setUp(
    (_request, response) => {
      response.setHeader('content-length', 2).end('{}')
    },
    { connections: 2, ...PATIENT },
  )
  assert.deepEqual(await tended(fleet, [call(), call()]), [200, 200])
  assert.deepEqual(await tended(fleet, [call(), call()]), [200, 200])
  assert.equal(fleet.counts.dialled, 2)
  await close()
})

test('a call that finds every connection busy fails at once and is not sent later', async () => {
  const answers: (() => void)[] = []
  const { fleet, call, close } = await setUp(
    (_request, response) => {
      answers.push(() => response.setHeader('content-length', 2).end('{}'))
    },
    { connections: 1, ...PATIENT },
  )
  const first = call()
  while (answers.length === 0) {
    fleet.tend(performance.now())
    await sleep(1)
  }
  assert.deepEqual(await tended(fleet, [call()]), ['unsent'])
  answers[0]?.()
  assert.deepEqual(await tended(fleet, [first]), [200])
  assert.equal(answers.length, 1)
  assert.equal(fleet.pending, 0)
  await close()
})

test('a call that gets no answer in time fails, and its connection is not used again', async () => {
  let isFirst = true
  const { fleet, call, close } = await setUp(
    (_request, response) => {
      if (!isFirst) response.setHeader('content-length', 2).end('{}')
      isFirst = false
    },
    { connections: 1, timeoutMilliseconds: 200 },
  )
  assert.deepEqual(await tended(fleet, [call()]), ['timeout'])
  // Not asserted to be in time: the machine may be busy.
  await tended(fleet, [call()])
  assert.equal(fleet.counts.dialled >= 2, true)
  await close()
})

test('a server that says it closes is believed, and one that just closes cuts the call', async () => {
  const { fleet, call, close } = await setUp(
    (request, response) => {
      response.setHeader('connection', 'close').setHeader('content-length', 2)
      if (fleet.counts.dialled < 2) response.end('{}')
      else request.socket.destroy()
    },
    { connections: 1, ...PATIENT },
  )
  assert.deepEqual(await tended(fleet, [call()]), [200])
  assert.deepEqual(await tended(fleet, [call()]), ['cut'])
  assert.equal(fleet.counts.closedByServer, 2)
  await close()
})
