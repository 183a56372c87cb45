/**
 * `node test/chaos/forged-kids.ts [--per-second N] [--seconds S]`: tokens with key ids that nobody has, as many as this machine can
 * push, against the verifier in this process and against a whole deployment over HTTP. Prints JSON; ends with 1 if an IdP was asked more than
 * once in a cooldown, a good token refused, a forged one accepted, or memory grew.
 */
import { parseArgs } from 'node:util'
import { forgedKidFaults, runForgedKids } from './idp-flood.ts'

const { values } = parseArgs({
  options: { 'per-second': { type: 'string' }, seconds: { type: 'string' } },
})
const perSecond = Number(values['per-second'] ?? 10_000)
const seconds = Number(values.seconds ?? 30)

if (!(perSecond >= 1) || !(seconds >= 1)) {
  console.error('Use: node test/chaos/forged-kids.ts [--per-second N] [--seconds S]')
  process.exitCode = 2
} else {
  const report = await runForgedKids({ perSecond, seconds })
  const faults = forgedKidFaults(report)
  for (const fault of faults) console.error(fault)
  console.log(JSON.stringify({ ...report, faults }))
  process.exitCode = faults.length > 0 ? 1 : 0
}
