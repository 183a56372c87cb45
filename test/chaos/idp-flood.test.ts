/** A short run of what `npm run prove -- 3` does at length, and controls: a fault in it is seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FloodReport, forgedKidFaults, runForgedKids } from './idp-flood.ts'

test('a flood of forged kids costs the IdP one request in a cooldown, in this process and over HTTP', async () => {
  const { inProcess, overHttp } = await runForgedKids({ perSecond: 2000, seconds: 2 })
  // Two seconds say nothing about memory.
  const still = { grownMegabytes: 0 }
  const report = { inProcess: { ...inProcess, ...still }, overHttp: { ...overHttp, ...still } }
  assert.deepEqual(forgedKidFaults(report), [])
})

test('control: each fault of a flood is told', () => {
  const good: FloodReport = {
    seconds: 10,
    forged: 1000,
    forgedPerSecond: 100,
    otherwise: 0,
    example: undefined,
    good: 10,
    goodRefused: 0,
    fetches: 2,
    fetchesAllowed: 2,
    grownMegabytes: 1,
  }
  assert.deepEqual(forgedKidFaults({ inProcess: good, overHttp: good }), [])
  for (const fault of [
    { fetches: 3 },
    { otherwise: 1 },
    { goodRefused: 1 },
    { good: 0 },
    { grownMegabytes: 1000 },
    { forged: 0 },
  ])
    for (const where of ['inProcess', 'overHttp'] as const)
      assert.equal(
        forgedKidFaults({ inProcess: good, overHttp: good, [where]: { ...good, ...fault } }).length,
        1,
        JSON.stringify(fault),
      )
})
