/**
 * `node test/chaos/entitlement-cuts.ts [--quick] [--step N]`: cuts a three-page entitlement answer at every byte before a whole deployment
 * and prints what became of it as JSON. Exit code 1 when anything was partial, or nothing was what it should be at times.
 */
import { parseArgs } from 'node:util'
import { faultsOf, runCuts } from './entitlement-cut-run.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    step: { type: 'string' },
  },
})
const step = Number(values.step ?? (values.quick ? 29 : 1))
const report = await runCuts({ step, log: (line) => process.stderr.write(`${line}\n`) })
const faults = faultsOf(report)
process.stdout.write(`${JSON.stringify({ step, ...report, faults }, null, 2)}\n`)
process.exitCode = faults.length === 0 ? 0 : 1
