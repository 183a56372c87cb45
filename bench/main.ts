/**
 * `npm run bench [-- --quick] [-- --json]`: rolemint against its own limits and its peer, as ratios of one run. `-- --transit` measures only what
 * signing by Transit costs.
 */
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import type { Effort } from './bench.ts'
import { ensureBuilt } from './built.ts'
import { canPin, GENERATOR_CORE } from './child.ts'
import { type Measurements, makeBenchFolder, runContest } from './contest.ts'
import { figuresOf, type Row, rowsOf } from './rows.ts'
import { measureTransit, transitRows } from './transit.ts'

const FULL: Effort = {
  rounds: 5,
  windowSeconds: 2,
  warmUps: 2,
  latencySeconds: 4,
  users: 10_000,
  liveTokens: 100_000,
  starts: 5,
  fdatasyncs: 1000,
}

/** Fits CI. Its figures are rougher, and its memory row is about fewer users and tokens. */
const QUICK: Effort = {
  rounds: 2,
  windowSeconds: 1,
  warmUps: 1,
  latencySeconds: 1,
  users: 1000,
  liveTokens: 0,
  starts: 1,
  fdatasyncs: 300,
}

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    json: { type: 'boolean' },
    transit: { type: 'boolean' },
  },
})
const say = (text: string) => console.error(`… ${text}`)
// Here too and not only before `npm run bench`: an old build is never measured.
ensureBuilt(say)
const pinned = canPin()
// The orchestrator only waits while others work, and does so on the generator's core.
if (pinned) execFileSync('taskset', ['-acp', `${GENERATOR_CORE}`, `${process.pid}`])
const loadBefore = loadavg()[0] ?? NaN
const folder = makeBenchFolder()
try {
  const effort = values.quick ? QUICK : FULL
  const measured = values.transit ? undefined : await runContest(effort, { folder, pinned, say })
  say('signatures by Transit')
  const transit = await measureTransit(values.quick ? 100 : 500)
  const rows = [...(measured ? rowsOf(measured) : []), ...transitRows(transit)]
  console.log(
    values.json ? toJson(rows, measured) : toTable(rows, measured ? figuresOf(measured) : []),
  )
  process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function toTable(rows: readonly Row[], figures: readonly string[]): string {
  const lines = rows.map((row) => {
    const figure = row.figure === undefined ? '-' : `${round(row.figure)}${row.unit}`
    const columns = [verdict(row), figure.padStart(8), target(row).padStart(9)]
    return `${columns.join('  ')}  ${row.what}\n${' '.repeat(27)}${row.detail}`
  })
  return [machineLine(), '', ...figures, '', ...lines].join('\n')
}

/** A row without a target informs and cannot fail. */
function verdict({ ok, atLeast, atMost }: Row): string {
  if (atLeast === undefined && atMost === undefined) return 'info'
  return ok ? 'ok  ' : 'FAIL'
}

function target({ atLeast, atMost, unit }: Row): string {
  if (atLeast !== undefined) return `≥ ${atLeast}${unit}`
  return atMost === undefined ? '' : `≤ ${atMost}${unit}`
}

function round(value: number): string {
  return value.toFixed(value < 10 ? 2 : 0)
}

function machineLine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor'
  return (
    `node ${process.version}, OpenSSL ${process.versions.openssl}, ${cpus().length} × ${model}, ` +
    `${pinned ? 'generator and servers pinned apart' : 'NOT pinned: rates disturb each other'}, ` +
    `load before ${loadBefore.toFixed(1)}; median (best), CPU per request`
  )
}

function toJson(rows: readonly Row[], measured: Measurements | undefined): string {
  const machine = {
    node: process.version,
    openssl: process.versions.openssl,
    cpus: cpus().length,
    model: cpus()[0]?.model,
    pinned,
    loadBefore,
  }
  if (!measured) return JSON.stringify({ machine, rows }, undefined, 2)
  const { runs, missing, ...others } = measured
  const raw = { ...others, runs: Object.fromEntries(runs), missing: Object.fromEntries(missing) }
  return JSON.stringify({ machine, rows, measured: raw }, undefined, 2)
}
