/** A short run of what `npm run prove -- 2` does at length, and controls: a fault in the life of a key is seen by it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type FleetParts, fleetParts, startFleet } from '../fakes/verifiers/fleet.ts'
import type { Trusted, VerifierOptions } from '../fakes/verifiers/verifier.ts'
import { suiteNeeding } from '../skip.ts'
import { faultsOf, runRotations } from './rotations.ts'

const fleetOf = (parts: FleetParts) => (trusted: readonly Trusted[], options: VerifierOptions) =>
  startFleet(trusted, options, parts)

const silent = () => {}

suiteNeeding('rotations under load', fleetParts, (parts) => {
  test('five kinds of verifiers accept every token while keys rotate', async () => {
    const run = { tenants: 24, rotations: 20, verifiers: fleetOf(parts), log: silent }
    const report = await runRotations(run)
    assert.deepEqual(faultsOf(report, 20), [])
  })

  test('a key that signs without having been published makes verifications fail', async () => {
    const run = { tenants: 4, rotations: 4, verifiers: fleetOf(parts), log: silent }
    const { failed } = await runRotations({ ...run, fault: 'unpublished' })
    for (const kind of ['jose', 'PyJWT'])
      assert.ok(
        failed.some((one) => one.includes(kind) && one.includes('key unpublished-')),
        `${kind} noticed nothing`,
      )
  })

  test('a key that signs right after it was published makes verifications fail', async () => {
    const run = { tenants: 4, rotations: 12, verifiers: fleetOf(parts), log: silent }
    const { failed } = await runRotations({ ...run, fault: 'unguarded' })
    for (const kind of ['jose', 'PyJWT'])
      assert.ok(
        failed.some((one) => one.includes(kind) && one.includes('(fresh)')),
        `${kind} noticed nothing`,
      )
  })

  test('a key that leaves the key set before its tokens have expired makes verifications fail', async () => {
    const run = { tenants: 8, rotations: 6, verifiers: fleetOf(parts), log: silent }
    const { failed } = await runRotations({ ...run, fault: 'retired-early' })
    assert.ok(failed.length > 0, 'nobody noticed anything')
    assert.match(failed[0] ?? '', /retired \d/)
  })
})
