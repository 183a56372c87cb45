/**
 * `node test/chaos/key-faults.ts [--seconds N]`: lets a real OpenBao fail in every way under load, each for N seconds. Prints JSON; ends with 1 if
 * an exchange failed, or too little happened to prove anything. A late alarm or recovery ends it with an error.
 */
import { parseArgs } from 'node:util'
import { runKeyStoreFaults } from './key-store-faults.ts'

const { values } = parseArgs({ options: { seconds: { type: 'string' } } })
const seconds = Number(values.seconds ?? 5)

if (!(seconds > 0)) {
  console.error('Use: node test/chaos/key-faults.ts [--seconds N]')
  process.exitCode = 2
} else {
  const runs = await runKeyStoreFaults({ seconds, log: console.error })
  const failures = runs.flatMap(({ fault, failed }) => failed.map((reply) => `${fault}: ${reply}`))
  for (const failure of failures.slice(0, 20)) console.error(failure)
  const report = {
    faults: runs.length,
    issued: runs.reduce((sum, { issued }) => sum + issued, 0),
    failed: failures.length,
    slowestAlarmSeconds: Math.max(...runs.map(({ alarmSeconds }) => alarmSeconds)),
    slowestRecoverySeconds: Math.max(...runs.map(({ recoverySeconds }) => recoverySeconds)),
    runs: runs.map(({ failed, ...run }) => ({ ...run, failed: failed.length })),
  }
  console.log(JSON.stringify(report))
  const idle = runs.some(({ issued }) => issued < 10)
  process.exitCode = failures.length > 0 || idle ? 1 : 0
}
