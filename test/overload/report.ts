/** How the programs of this folder begin and end alike. */
import { execFileSync } from 'node:child_process'
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { ensureBuilt } from '../../bench/built.ts'
import { canPin, GENERATOR_CORE } from '../../bench/child.ts'
import { makeBenchFolder } from '../../bench/contest.ts'
import type { Row } from '../../bench/rows.ts'

/** What a program measured: figures by name for others to read, rows to be judged. */
export interface Report {
  readonly figures: Readonly<Record<string, unknown>>
  readonly rows: readonly Row[]
  /** Printed above the rows, for people. */
  readonly lines: readonly string[]
}

/** What a measurement is given. */
export interface Surroundings {
  readonly folder: string
  readonly pinned: boolean
  readonly say: (text: string) => void
}

/** What a program is asked for. */
export interface ReportOptions {
  readonly json: boolean
  /**
   * Whether the ledger lies in memory, where there is such a file system. A disk that stops for 100 ms every few seconds, as
   * that of a virtual machine may, is all that the p99 of a phase of seconds shows, whatever the server does.
   */
  readonly inMemory: boolean
}

const MEMORY = '/dev/shm'

/**
 * Builds rolemint if need be, measures, prints the figures or their JSON, and leaves exit code 1 when a bound is broken.
 * The program itself only waits while others work, and does so on the generator's core.
 */
export async function report(
  options: ReportOptions,
  measure: (surroundings: Surroundings) => Promise<Report>,
): Promise<void> {
  ensureBuilt(say)
  const pinned = canPin()
  if (pinned) execFileSync('taskset', ['-acp', `${GENERATOR_CORE}`, `${process.pid}`])
  const machine = {
    node: process.version,
    cpus: cpus().length,
    model: cpus()[0]?.model,
    pinned,
    loadBefore: loadavg()[0],
    ledger: options.inMemory && hasMemory() ? 'in memory' : 'on disk',
  }
  const folder =
    machine.ledger === 'on disk' ? makeBenchFolder() : mkdtempSync(join(MEMORY, 'rolemint-'))
  try {
    const { figures, rows, lines } = await measure({ folder, pinned, say })
    const table = rows.map(
      (row) =>
        `${row.ok ? 'ok  ' : 'FAIL'}  ${shown(row.figure).padStart(7)}${row.unit.padEnd(2)} ${bound(row).padStart(9)}  ${row.what}\n${' '.repeat(27)}${row.detail}`,
    )
    console.log(
      options.json
        ? JSON.stringify({ machine, byId: byId(rows), ...figures, rows }, undefined, 2)
        : [JSON.stringify(machine), '', ...lines, '', ...table].join('\n'),
    )
    process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function hasMemory(): boolean {
  try {
    accessSync(MEMORY, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function bound({ atLeast, atMost, unit }: Row): string {
  if (atLeast !== undefined) return `≥ ${atLeast}${unit}`
  return atMost === undefined ? '' : `≤ ${atMost}${unit}`
}

function shown(figure: number | undefined): string {
  return figure === undefined || Number.isNaN(figure) ? '-' : figure.toFixed(figure < 10 ? 2 : 0)
}

function say(text: string): void {
  console.error(`… ${text}`)
}

/** For readers that want one figure by name. */
function byId(rows: readonly Row[]): Record<string, number | undefined> {
  return Object.fromEntries(rows.map(({ id, figure }) => [id, figure]))
}
