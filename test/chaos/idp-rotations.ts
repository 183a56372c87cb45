/**
 * `node test/chaos/idp-rotations.ts [--rotations N]`: an IdP changes its keys N times under load, with overlap, without, and by giving a kid to
 * another key, while forgers try their luck. Prints JSON; ends with 1 if a wrong token was accepted, a good one refused, or a new key took more
 * than one fetch.
 */
import { parseArgs } from 'node:util'
import { idpRotationFaults, runIdpRotations } from './idp-rotating.ts'

const { values } = parseArgs({ options: { rotations: { type: 'string' } } })
const rotations = Number(values.rotations ?? 200)

if (!Number.isSafeInteger(rotations) || rotations < 1) {
  console.error('Use: node test/chaos/idp-rotations.ts [--rotations N]')
  process.exitCode = 2
} else {
  const report = await runIdpRotations({ rotations })
  const faults = idpRotationFaults(report)
  for (const fault of faults) console.error(fault)
  const { refusedGood, ...figures } = report
  console.log(JSON.stringify({ ...figures, refusedGood: refusedGood.length, faults }))
  process.exitCode = faults.length > 0 ? 1 : 0
}
