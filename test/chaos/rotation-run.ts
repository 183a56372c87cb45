/**
 * `node test/chaos/rotation-run.ts [--rotations N] [--tenants T]`: changes signing keys under load before five kinds of real verifier
 * that cache key sets. Prints JSON; ends with 1 if a verification failed or too little happened to prove anything.
 */
import { parseArgs } from 'node:util'
import { fleetParts, startFleet } from '../fakes/verifiers/fleet.ts'

import { faultsOf, runRotations } from './rotations.ts'

/** So many that a thousand rotations take under four minutes, and few enough that each key set is asked for again and again. */
const MOST_TENANTS = 120

const { values } = parseArgs({
  options: { rotations: { type: 'string' }, tenants: { type: 'string' } },
})
const rotations = Number(values.rotations ?? 1000)
const tenants = Number(values.tenants ?? Math.min(MOST_TENANTS, rotations))
const look = fleetParts.find()

if (![rotations, tenants].every((count) => Number.isSafeInteger(count) && count >= 1)) {
  console.error('Use: node test/chaos/rotation-run.ts [--rotations N] [--tenants T]')
  process.exitCode = 2
} else if ('missing' in look) {
  console.error(`${look.missing}. ${fleetParts.mend}`)
  process.exitCode = 2
} else {
  const report = await runRotations({
    rotations,
    tenants,
    verifiers: (trusted, options) => startFleet(trusted, options, look.found),
    log: (line) => console.error(line),
  })
  const faults = faultsOf(report, rotations)
  for (const fault of faults) console.error(fault)
  const { failed, refused, ...figures } = report
  const counts = {
    failed: failed.length,
    refused: refused.length,
    kinds: Object.keys(report.fetchesPerVerifier).length,
  }
  console.log(JSON.stringify({ ...figures, ...counts, faults }))
  process.exitCode = faults.length > 0 ? 1 : 0
}
