/** A short run of what `npm run prove -- 3` does at length, and controls: a fault in it is seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type IdpRotationReport, idpRotationFaults, runIdpRotations } from './idp-rotating.ts'

test('an IdP rotates under load in every way: nothing wrong is accepted, and a new key takes one fetch', async () => {
  const report = await runIdpRotations({ rotations: 6 })
  assert.deepEqual(idpRotationFaults(report), [])
})

test('control: each fault of a run is told', () => {
  const good: IdpRotationReport = {
    rotations: 3,
    modes: { overlap: 1, 'no overlap': 1, 'kid reused': 1 },
    issued: 100,
    forged: 100,
    withdrawn: 4,
    wrongAccepts: 0,
    refusedGood: [],
    firstByOneFetch: 3,
    jwksFetches: 4,
    discoveryFetches: 1,
  }
  assert.deepEqual(idpRotationFaults(good), [])
  for (const fault of [
    { wrongAccepts: 1 },
    { refusedGood: ['load: 400 invalid_signature'] },
    { firstByOneFetch: 2 },
    { jwksFetches: 5 },
    { issued: 0 },
    { forged: 0 },
    { withdrawn: 0 },
  ])
    assert.equal(idpRotationFaults({ ...good, ...fault }).length, 1, JSON.stringify(fault))
})
