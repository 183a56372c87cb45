import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { DeadlineExceeded, waitUnder, withDeadline } from './deadline.ts'

const never = (): Promise<never> => new Promise(() => undefined)

test('work that ends in time gives its result', async () => {
  assert.equal(await withDeadline(60_000, () => Promise.resolve('done')), 'done')
})

test('work that ignores its signal is given up when the time is over', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let signal: AbortSignal | undefined
  const result = withDeadline(800, (given) => {
    signal = given
    return never()
  })
  t.mock.timers.tick(799)
  assert.equal(signal?.aborted, false)
  t.mock.timers.tick(1)

  await assert.rejects(result, DeadlineExceeded)
  assert.equal(signal?.aborted, true)
})

test('the failure of the work itself comes through unchanged', async () => {
  const failure = new Error('broken')
  await assert.rejects(
    withDeadline(60_000, () => Promise.reject(failure)),
    (error) => error === failure,
  )
})

test('a waiter leaves when its signal fires, and the work goes on', async () => {
  const gate = Promise.withResolvers<string>()
  const budget = new AbortController()
  const impatient = waitUnder(gate.promise, budget.signal)
  const patient = waitUnder(gate.promise, new AbortController().signal)
  budget.abort(new Error('budget spent'))

  await assert.rejects(impatient, /budget spent/)
  gate.resolve('late')
  assert.equal(await patient, 'late')
})

test('a signal that has fired already is not waited under', async () => {
  await assert.rejects(waitUnder(never(), AbortSignal.abort('gone')), /aborted/)
})

test('no listener is left on a signal that outlives the wait', async () => {
  const request = new AbortController()
  for (let i = 0; i < 20; i += 1) await waitUnder(Promise.resolve(i), request.signal)
  await assert.rejects(waitUnder(Promise.reject(new Error('no')), request.signal), /no/)
  await Promise.resolve()
  assert.equal(getEventListeners(request.signal, 'abort').length, 0)
})
