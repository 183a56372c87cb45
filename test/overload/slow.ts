/**
 * `node test/overload/slow.ts [--quick] [--json]`: slowhttptest holds 1,000 slow connections to the public port, by slow
 * headers, slow bodies and slow reading, while ordinary clients use half of what the server can do. How much slower does it
 * get for them? In the phases it is compared with, the same attack goes to a server that is nobody's. Exit code 1 when a
 * promise is broken. Needs slowhttptest (Debian).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Row } from '../../bench/rows.ts'
import { type Deployment, deployRolemint } from './deployment.ts'
import type { Fate } from './jobs.ts'
import { TIMEOUT_MILLISECONDS } from './programme.ts'
import { report, type Surroundings } from './report.ts'
import { type Comparison, compare, described, type Pair } from './rounds.ts'
import {
  hasSlowhttptest,
  openNowhere,
  SLOW_MODES,
  type SlowMode,
  startAttack,
} from './slow-attack.ts'

const SLOW_CONNECTIONS = 1000
/** Fewer at once were no attack; half of them is what one address may have. */
const LEAST_HELD = 400
const LOAD = 0.5
const CONNECTIONS = 500
const ADDRESSES = 32
/** The optimising compiler makes the server faster for some ten seconds. */
const WARM_UP_SECONDS = 6
const PEAK_SECONDS = 2
/** Until all slow connections are there. */
const RAMP_MILLISECONDS = 3000

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})
const pairs = values.quick ? 2 : 6
const phaseSeconds = values.quick ? 3 : 5
/** The promise is 1.2. In CI a short phase on a busy machine has its own opinion of a p99. */
const mostRatio = values.quick ? 6 : 1.2
const leastAnswered = values.quick ? 0.97 : 0.999

interface Measured extends Comparison {
  /** Fewest over the pairs of the most slow connections held at once; the server may close them, and should. */
  readonly slowConnections: number
}

if (!hasSlowhttptest()) throw new Error('slowhttptest is not installed')
await report({ ...values, inMemory: true }, async (surroundings) => {
  const measured = await measure(surroundings)
  return {
    figures: {
      modes: Object.fromEntries(measured),
      worstP99Ratio: Math.max(...[...measured.values()].map(({ p99Ratio }) => p99Ratio)),
    },
    rows: [...measured].flatMap(([mode, of]) => rowsOf(mode, of)),
    lines: [],
  }
})

async function measure({ say, ...options }: Surroundings): Promise<Map<SlowMode, Measured>> {
  const deployment = await deployRolemint(options)
  const nowhere = await openNowhere()
  try {
    const { perSecond, busy } = await warmUp(deployment)
    const rate = (perSecond / busy) * LOAD
    const measured = new Map<SlowMode, Measured>()
    for (const mode of SLOW_MODES) {
      const seen: Pair[] = []
      const held: number[] = []
      for (let pair = 0; pair < pairs; pair += 1) {
        say(`slow ${mode}, pair ${pair + 1} of ${pairs}, ${rate.toFixed(0)}/s`)
        const attack = { ...options, mode, connections: SLOW_CONNECTIONS }
        const { fate: ordinary } = await phase(deployment, rate, pair, {
          ...attack,
          port: nowhere.port,
        })
        const { fate: attacked, connected } = await phase(deployment, rate, pair, {
          ...attack,
          port: deployment.port,
        })
        seen.push({ ordinary, attacked })
        held.push(connected)
      }
      measured.set(mode, { ...compare(seen), slowConnections: Math.min(...held) })
    }
    return measured
  } finally {
    nowhere.close()
    await deployment.stop()
  }
}

async function warmUp(deployment: Deployment) {
  const stream = streamOf(deployment)
  await deployment.generator.peak({ stream, seconds: WARM_UP_SECONDS })
  return deployment.generator.peak({ stream, seconds: PEAK_SECONDS })
}

async function phase(
  deployment: Deployment,
  rate: number,
  seed: number,
  attack: Omit<Parameters<typeof startAttack>[0], 'seconds'>,
): Promise<{ fate: Fate; connected: number }> {
  const running = startAttack({ ...attack, seconds: RAMP_MILLISECONDS / 1000 + phaseSeconds + 5 })
  try {
    await sleep(RAMP_MILLISECONDS)
    const [result] = await deployment.generator.run({
      phases: [{ name: 'load', seconds: phaseSeconds, perSecond: [rate] }],
      streams: [streamOf(deployment)],
      probes: [],
      timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      windowMilliseconds: 1000,
      seed,
    })
    const fate = result?.streams[0]
    if (!fate) throw new Error('nothing was measured')
    return { fate, connected: await running.stop() }
  } finally {
    await running.stop()
  }
}

function streamOf({ port, form }: Deployment) {
  return {
    name: 'exchange',
    port,
    path: '/token',
    form,
    connections: CONNECTIONS,
    addresses: ADDRESSES,
  }
}

function rowsOf(mode: SlowMode, measured: Measured): Row[] {
  const { p99Ratio, answered, slowConnections } = measured
  const percent = answered * 100
  return [
    {
      id: `slow-${mode}`,
      what: `p99 of ordinary clients during ${SLOW_CONNECTIONS} connections with slow ${mode === 'read' ? 'reading' : mode}, against none`,
      figure: p99Ratio,
      unit: '×',
      atMost: mostRatio,
      ok: p99Ratio <= mostRatio && slowConnections >= LEAST_HELD,
      detail: `${described(measured)}; up to ${slowConnections} held at once`,
    },
    {
      id: `slow-${mode}-answered`,
      what: 'ordinary calls answered meanwhile',
      figure: percent,
      unit: '%',
      atLeast: leastAnswered * 100,
      ok: answered >= leastAnswered,
      detail: '',
    },
  ]
}
