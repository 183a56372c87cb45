/**
 * `node test/chaos/clock-jumps.ts [--jumps N] [--seed S]`: sets the wall clock of a real server by ± 1 s to ± 10 years under load. Prints
 * JSON; ends with 1 if an expired token or one from the future was accepted, a token was issued that lives too long, or too little happened.
 */
import { parseArgs } from 'node:util'
import { clockFaults, faketime, jumpClocks } from './clock-run.ts'

const { values } = parseArgs({ options: { jumps: { type: 'string' }, seed: { type: 'string' } } })
const jumps = Number(values.jumps ?? 50)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
const look = faketime.find()

// The server is killed when this process ends by itself.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1))

if (!Number.isSafeInteger(jumps) || jumps < 1 || !Number.isSafeInteger(seed)) {
  console.error('Use: node test/chaos/clock-jumps.ts [--jumps N] [--seed S]')
  process.exitCode = 2
} else if ('missing' in look) {
  console.error(`${look.missing}. ${faketime.mend}`)
  process.exitCode = 1
} else {
  const report = await jumpClocks({ library: look.found, jumps, seed, log: console.error })
  const faults = clockFaults(report)
  for (const fault of faults) console.error(fault)
  console.log(JSON.stringify({ ...report, faults }))
  process.exitCode = faults.length > 0 ? 1 : 0
}
