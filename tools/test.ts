/**
 * `npm test`: unit tests in one process, then everything that crosses rooms, then what was skipped and why.
 *
 *   npm test                     everything
 *   npm test -- --unit           unit tests alone
 *   npm test -- kill wycheproof  test files whose path contains one of the words
 */
import { relative } from 'node:path'
import { everythingRequired } from '../test/skip.ts'
import { findFiles, ROOT, runTests, type Tally, type TestRun } from './run-tests.ts'
import type { TallyLine } from './tally-reporter.ts'

const MINUTE = 60_000

/** Unit tests share one process, so they come first: they answer within a minute. */
const PHASES: readonly {
  readonly name: string
  readonly globs: readonly string[]
  readonly isolation: TestRun['isolation']
  readonly testMilliseconds: number
  readonly runMilliseconds: number
}[] = [
  {
    name: 'unit',
    globs: ['{src,packages,demo,tools,bench}/**/*.test.ts'],
    isolation: 'none',
    testMilliseconds: MINUTE,
    runMilliseconds: 6 * MINUTE,
  },
  {
    name: 'whole',
    globs: ['test/**/*.test.ts'],
    isolation: 'process',
    testMilliseconds: 10 * MINUTE,
    runMilliseconds: 25 * MINUTE,
  },
]

async function main(args: readonly string[]): Promise<number> {
  const words = args.filter((arg) => !arg.startsWith('--'))
  const unknown = args.find((arg) => arg.startsWith('--') && arg !== '--unit')
  if (unknown !== undefined) return usage(`${unknown} is not an option; there is only --unit.`)

  const planned = PHASES.filter(({ name }) => name === 'unit' || !args.includes('--unit'))
    .map((phase) => ({ ...phase, files: pick(findFiles(phase.globs), words) }))
    .filter(({ files }) => files.length > 0)
  if (planned.length === 0) return usage('No test file has one of these words in its path.')

  const tallies: { readonly name: string; readonly tally: Tally }[] = []
  for (const { name, ...run } of planned)
    tallies.push({ name, tally: await runTests({ ...run, show: true }) })
  return close(tallies)
}

function pick(files: readonly string[], words: readonly string[]): string[] {
  return files.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
}

/** Says what was left out, and ends with 1 if anything failed or was left out without leave. */
function close(phases: readonly { readonly name: string; readonly tally: Tally }[]): number {
  const skipped = phases.flatMap(({ tally }) => [...tally.skipped, ...tally.todo])
  console.log(skipped.length === 0 ? '\nNothing was skipped.' : `\nSkipped (${skipped.length}):`)
  for (const line of skipped) console.log(`  ${describe(line)}`)

  const complaints = phases.flatMap(({ name, tally }) => [
    ...(tally.ok
      ? []
      : [
          `${name} tests failed${tally.failed.length > 0 ? `: ${tally.failed.length}` : ' to run'}`,
        ]),
    ...tally.empty.map(({ name: file }) => `${file} ran no test`),
    ...(ran(tally) > 0 ? [] : [`the ${name} run ran no test`]),
  ])
  const silent = skipped.filter(({ reason }) => reason === '')
  if (silent.length > 0) complaints.push(`${silent.length} skipped without a reason`)
  if (everythingRequired() && skipped.length > 0)
    complaints.push(`ROLEMINT_REQUIRE=all, and ${skipped.length} skipped`)
  for (const { name, tally } of phases) {
    for (const line of tally.failed) console.log(`failed (${name})  ${describe(line)}`)
  }
  if (complaints.length > 0) console.log(`\nFAIL  ${complaints.join('; ')}`)
  return complaints.length > 0 ? 1 : 0
}

function ran({ passed, failed, skipped, todo }: Tally): number {
  return passed.length + failed.length + skipped.length + todo.length
}

function describe({ name, file, reason }: TallyLine): string {
  const where = file === '' ? '' : `  (${relative(ROOT, file)})`
  return `${name}${where}${reason === '' ? '' : `\n      ${reason}`}`
}

function usage(problem: string): number {
  console.error(`${problem}\nUse: npm test [-- --unit] [-- WORD...]`)
  return 2
}

process.exitCode = await main(process.argv.slice(2))
