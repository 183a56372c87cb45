import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join } from 'node:path'
import { suite, test } from 'node:test'

const COLLECTOR = stripTypeScriptTypes(
  readFileSync(join(import.meta.dirname, 'collector.ts'), 'utf8'),
)

/** What V8 tells of a process that settled its collector for so many cores and then made garbage. */
function traced(cores: number): string {
  const program = `
    ${COLLECTOR}
    settleCollector(${cores})
    const kept = []
    for (let round = 0; round < 120; round += 1) {
      kept.push(Array.from({ length: 50_000 }, (_, at) => ({ at, text: 'x' + at })))
      if (round % 10 === 9) kept.splice(0, 8)
      await new Promise((resolve) => setTimeout(resolve, 2))
    }`
  const args = ['--trace-concurrent-marking', '--trace-gc', '--input-type=module', '-e', program]
  return execFileSync(process.execPath, args, { encoding: 'utf8' })
}

/** How often a thread began to mark while the program ran on, and not to shorten a pause of it. */
function markedBeside(trace: string): number {
  const pauses = [...trace.matchAll(/(\d+) ms: Mark-Compact .*?, ([\d.]+) \/ /g)].map(
    ([, end, length]) => ({ from: Number(end) - Number(length) - 2, to: Number(end) + 2 }),
  )
  assert.ok(pauses.length > 0, trace)
  return [...trace.matchAll(/(\d+) ms: Starting major concurrent marking/g)].filter(
    ([, at]) => !pauses.some(({ from, to }) => Number(at) >= from && Number(at) <= to),
  ).length
}

suite('the collector of a server', () => {
  test('with one core has no threads that take turns with the one that answers', () => {
    assert.equal(markedBeside(traced(1)), 0)
  })

  test('with several cores has them', () => {
    assert.ok(markedBeside(traced(4)) > 0)
  })
})
