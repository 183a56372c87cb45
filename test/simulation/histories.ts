/**
 * `node test/simulation/histories.ts [--histories N] [--seed FIRST] [--tell]`: plays N histories of a key ring with three replicas, seeds
 * FIRST and up. Prints JSON; ends with 1 if a promise was broken. `--tell` prints what happens, to look at the seed of a breach.
 */
import { parseArgs } from 'node:util'
import { createKeys } from '../../src/keys/keys.ts'
import { playHistory } from './history.ts'
import { runHistories } from './key-ring.ts'

const MOST_BREACHES = 20

const { values } = parseArgs({
  options: {
    histories: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    tell: { type: 'boolean', default: false },
  },
})
const count = Number(values.histories)
const from = Number(values.seed)

if (!(Number.isSafeInteger(count) && count >= 1 && Number.isSafeInteger(from))) {
  console.error('Use: node test/simulation/histories.ts [--histories N] [--seed FIRST] [--tell]')
  process.exitCode = 2
} else if (values.tell) {
  const { broken } = await playHistory(from, createKeys, (line) => console.log(line))
  process.exitCode = broken === undefined ? 0 : 1
} else {
  // Most errors here are refusals that are expected, and their stack traces are a third of the time.
  Error.stackTraceLimit = 0
  const start = performance.now()
  const report = await runHistories({ from, count, patience: MOST_BREACHES }, createKeys)
  for (const { seed, what } of report.breaches) console.error(`seed ${seed}: ${what}`)
  console.log(
    JSON.stringify({
      histories: report.histories,
      breaches: report.breaches.length,
      signatures: report.reached.get('signed') ?? 0,
      millisecondsEach: (performance.now() - start) / report.histories,
      reached: Object.fromEntries(report.reached),
    }),
  )
  process.exitCode = report.breaches.length > 0 ? 1 : 0
}
