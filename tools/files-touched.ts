/**
 * How much code one warm exchange runs: files under src/ in which a function ran, and functions, over HTTP in this process,
 * counted by V8. Ends with 1 when the exchange is spread over too many files or its conductor grew too long.
 *
 *   node tools/files-touched.ts [--list] [--json]
 */
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { startSts } from '../test/fakes/sts.ts'
import { CONDUCTOR, MOST_LINES } from './architecture/plan.ts'
import { openCoverageTap } from './coverage-tap.ts'
import { ROOT } from './run-tests.ts'

/** Most files a warm exchange may touch; panva's oidc-provider takes 48 for less. */
const MOST_FILES = 32
/** Exchanges before the one that counts: caches are full, lazily loaded parts are there. */
const WARM_UP = 30
/** Exchanges that count. Timers run beside them now and then: only what ran in every one of them belongs to the exchange. */
const ROUNDS = 9

async function filesTouched(): Promise<ReadonlyMap<string, readonly string[]>> {
  const sts = await startSts()
  // The same subject token each time: every cache is warm, the one of verified tokens included.
  const form = { subject_token: sts.subjectToken() }
  const tap = await openCoverageTap()
  try {
    for (let done = 0; done < WARM_UP; done++) await sts.exchange(form)
    const product = pathToFileURL(`${ROOT}src/`).href
    let always: ReadonlyMap<string, readonly string[]> | undefined
    for (let round = 0; round < ROUNDS; round++) {
      await tap.reset()
      await sts.exchange(form)
      const ran = new Map([...(await tap.take())].filter(([url]) => url.startsWith(product)))
      always = always ? inBoth(always, ran) : ran
    }
    return new Map(
      [...(always ?? [])].map(([url, names]) => [`src/${url.slice(product.length)}`, names]),
    )
  } finally {
    tap.close()
    await sts.close()
  }
}

function inBoth(
  one: ReadonlyMap<string, readonly string[]>,
  other: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, readonly string[]> {
  const common = [...one].map(
    ([url, names]) => [url, names.filter((name) => other.get(url)?.includes(name))] as const,
  )
  return new Map(common.filter(([, names]) => names.length > 0))
}

const touched = await filesTouched()
const files = touched.size
const functions = [...touched.values()].reduce((sum, names) => sum + names.length, 0)
const conductorLines = readFileSync(`${ROOT}${CONDUCTOR}`, 'utf8').trimEnd().split('\n').length
// None at all means that the exchange ran somewhere else, not that it is free.
const ok = files > 0 && files <= MOST_FILES && conductorLines <= MOST_LINES.conductor

if (process.argv.includes('--json')) {
  console.log(
    JSON.stringify({ ok, files, functions, conductorLines, touched: [...touched.keys()] }),
  )
} else {
  for (const [path, names] of process.argv.includes('--list') ? touched : [])
    console.log(`${String(names.length).padStart(4)}  ${path}`)
  console.log(`files touched by a warm exchange   ${files} (at most ${MOST_FILES})`)
  console.log(`functions run by it                ${functions}`)
  console.log(
    `lines of the conductor             ${conductorLines} (at most ${MOST_LINES.conductor})`,
  )
}
process.exitCode = ok ? 0 : 1
