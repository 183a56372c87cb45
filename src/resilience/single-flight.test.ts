import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSingleFlight } from './single-flight.ts'

test('a thousand callers of one key share one run', async () => {
  const flights = createSingleFlight<number>()
  const gate = Promise.withResolvers<number>()
  let started = 0
  const start = (): Promise<number> => {
    started += 1
    return gate.promise
  }

  const answers = Array.from({ length: 1000 }, () => flights.run('ada', start))
  gate.resolve(7)

  assert.deepEqual(new Set(await Promise.all(answers)), new Set([7]))
  assert.equal(started, 1)
  assert.equal(flights.size(), 0)
})

test('different keys do not share a run', async () => {
  const flights = createSingleFlight<string>()
  const answers = await Promise.all(
    ['ada', 'bob'].map((key) => flights.run(key, () => Promise.resolve(key))),
  )
  assert.deepEqual(answers, ['ada', 'bob'])
})

test('a failure reaches everybody who waits and is forgotten', async () => {
  const flights = createSingleFlight<string>()
  const gate = Promise.withResolvers<string>()
  const waiting = [1, 2].map(() => flights.run('ada', () => gate.promise))
  gate.reject(new Error('down'))

  for (const outcome of await Promise.allSettled(waiting)) assert.equal(outcome.status, 'rejected')
  assert.equal(await flights.run('ada', () => Promise.resolve('up again')), 'up again')
})

test('a failure that nobody waits for any more does not end the process', async () => {
  const flights = createSingleFlight<string>()
  void flights.run('ada', () => Promise.reject(new Error('down')))
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(flights.size(), 0)
})
