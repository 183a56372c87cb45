/**
 * `node test/chaos/kill-loop.ts --kills N [--seconds-max S]`: kills real servers under load, at random moments, and then
 * looks for every token that was answered in the ledger. Prints JSON; ends with 1 if a token is missing, a once-only id
 * was accepted twice, or too little happened to prove anything.
 */
import { parseArgs } from 'node:util'
import { faultsOf, killUnderLoad } from './kills.ts'

const { values } = parseArgs({
  options: { kills: { type: 'string' }, 'seconds-max': { type: 'string' } },
})
const kills = Number(values.kills ?? 25)
const secondsMax = Number(values['seconds-max'] ?? Number.POSITIVE_INFINITY)

if (!Number.isSafeInteger(kills) || kills < 1 || !(secondsMax > 0)) {
  console.error('Use: node test/chaos/kill-loop.ts --kills N [--seconds-max S]')
  process.exitCode = 2
} else {
  const report = await killUnderLoad({ kills, secondsMax })
  const faults = faultsOf(report)
  for (const fault of faults) console.error(fault)
  console.log(JSON.stringify({ ...report, faults }))
  process.exitCode = faults.length > 0 ? 1 : 0
}
