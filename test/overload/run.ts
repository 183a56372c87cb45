/**
 * `node test/overload/run.ts [--quick] [--json] [--peer] [--plot] [--rounds N] [--connections N]`: offers rolemint up to ten
 * times what it can do and looks what becomes of it. `--peer` takes oidc-provider through the same, `--plot` also draws
 * both into docs/overload.svg. Exit code 1 when a promise is broken; `--quick` is for CI and has slack bounds (`judge.ts`).
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { overloadPlot } from './figure.ts'
import { type Figures, FULL_BOUNDS, figuresOf, judge, peakOf, QUICK_BOUNDS } from './judge.ts'
import { svgOf } from './plot.ts'
import {
  FULL_PROGRAMME,
  QUICK_PROGRAMME,
  type Round,
  runRound,
  type StepResult,
} from './programme.ts'
import { report, type Surroundings } from './report.ts'

const DRAWING = join(import.meta.dirname, '../../docs/overload.svg')

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    peer: { type: 'boolean', default: false },
    plot: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    connections: { type: 'string', default: '1000' },
  },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const connections = Number(values.connections)

await report({ ...values, inMemory: false }, async (surroundings) => {
  const targets =
    values.peer || values.plot ? (['rolemint', 'peer'] as const) : (['rolemint'] as const)
  const measured = { rolemint: [] as Round[], peer: [] as Round[] }
  for (let round = 1; round <= rounds; round += 1) {
    for (const target of targets)
      measured[target].push(await measureRound(surroundings, target, round))
  }
  const rolemint = figuresOf(measured.rolemint)
  const peer = measured.peer.length ? figuresOf(measured.peer) : undefined
  if (values.plot && peer) draw(rolemint, peer)
  return {
    figures: { rolemint, peer, connections, rounds: measured },
    rows: judge(rolemint, values.quick ? QUICK_BOUNDS : FULL_BOUNDS),
    lines: targets.flatMap((target) => [target, ...measured[target].flatMap(linesOf)]),
  }
})

function measureRound(
  { say, ...options }: Surroundings,
  target: 'rolemint' | 'peer',
  round: number,
): Promise<Round> {
  say(`${target}, round ${round} of ${rounds}`)
  return runRound({
    ...options,
    target,
    programme: values.quick ? QUICK_PROGRAMME : FULL_PROGRAMME,
    connections,
    seed: round,
    warmUpSeconds: values.quick ? 6 : 15,
    peakSeconds: values.quick ? 2 : 4,
  })
}

function draw(rolemint: Figures, peer: Figures): void {
  const subtitle = `one core each, cold exchanges, ${connections} connections, 1 s timeout, node ${process.version}, median of ${rounds}`
  writeFileSync(DRAWING, svgOf(overloadPlot(rolemint, peer, subtitle)))
}

function linesOf(round: Round): string[] {
  const peak = peakOf(round)
  return [
    `  capacity ${round.capacity.toFixed(0)}/s, peak ${peak.toFixed(0)}/s; closed loop ${round.peaks.map(({ perSecond }) => perSecond.toFixed(0)).join(' and ')}/s`,
    ...round.steps.map((step) => `  ${lineOf(step, peak)}`),
  ]
}

function lineOf(
  { name, calls, machine, recoverySeconds, ...rates }: StepResult,
  peak: number,
): string {
  const others = Object.entries(calls.others).map(([way, count]) => `${way} ${count}`)
  return [
    `${name.padEnd(14)} ${rates.offeredPerSecond.toFixed(0).padStart(6)}/s → ${rates.goodPerSecond.toFixed(0).padStart(5)}/s`,
    `${((rates.goodPerSecond / peak) * 100).toFixed(0).padStart(3)} %`,
    `p50 ${calls.p50.toFixed(1)} p99 ${calls.p99.toFixed(1)} ms`,
    `${machine.peakMegabytes.toFixed(0)} MB`,
    `busy ${machine.busy.toFixed(2)} foreign ${machine.foreign.toFixed(2)} late ${machine.lateP99.toFixed(1)} ms`,
    `dials ${machine.dials} (${machine.failedDials} failed)`,
    ...(recoverySeconds === undefined ? [] : [`normal after ${recoverySeconds} s`]),
    others.join(' '),
  ].join('  ')
}
