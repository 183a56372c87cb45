/**
 * `node test/overload/fairness.ts [--quick] [--json]`: two tenants, one of which asks for ten times what it may; how much
 * slower does the other one's service get? Once with a rate limit for each tenant, once with nothing but the load gate.
 * Quiet and noisy phases take turns, and the figure is the median of their ratios. Exit code 1 when a promise is broken.
 */
import { parseArgs } from 'node:util'
import type { Row } from '../../bench/rows.ts'
import { type BenchDocument, type Deployment, deployRolemint } from './deployment.ts'
import { available, TIMEOUT_MILLISECONDS } from './programme.ts'
import { report, type Surroundings } from './report.ts'
import { type Comparison, compare, described, type Pair } from './rounds.ts'

/** About a tenth of what a core can do, so that ten times of it is all of it. */
const LIMIT_PER_SECOND = 300
/** Within its limit. */
const QUIET_PER_SECOND = 240
const TIMES = 10
const CONNECTIONS = 500
const ADDRESSES = 32
/** The optimising compiler makes the server faster for some 30,000 exchanges, and takes its time from everybody while it does. */
const WARM_UP_SECONDS = 15
const PEAK_SECONDS = 2
/** A tenant that was quiet has a second's worth of requests to spare, which are within its limit. */
const SETTLING_SECONDS = 1
/** Until every user of a tenant was looked up once, at its limit. */
const FILLING_SECONDS = 5

/** `warm` is one that nobody limits. */
const TENANTS = ['quiet', 'noisy', 'warm'] as const
type Tenant = (typeof TENANTS)[number]

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})
const pairs = values.quick ? 5 : 12
const phaseSeconds = values.quick ? 2 : 4
/** The promise is 1.2. In CI a short phase on a busy machine has its own opinion of a p99. */
const mostRatio = values.quick ? 6 : 1.2
/**
 * Without a limit the noisy tenant may use whatever the quiet one leaves, so the core is saturated and everybody's queue is
 * longer. What is promised of anybody in an overload holds: three times; and every call of the quiet tenant is answered.
 */
const mostRatioByLoad = values.quick ? 12 : 3
const leastAnswered = values.quick ? 0.95 : 0.99

await report({ ...values, inMemory: true }, async (surroundings) => {
  const limited = await measure(surroundings, 'by limit')
  const byLoad = await measure(surroundings, 'by load')
  return {
    figures: { limited, byLoad },
    rows: [
      ratioRow(
        'fairness-limited',
        'p99 of a quiet tenant while another is at 10× its rate limit, against 1×',
        limited,
        mostRatio,
      ),
      answeredRow('answered-limited', limited),
      ratioRow(
        'fairness-by-load',
        'the same without limits, the noisy one at 10× its half of the core',
        byLoad,
        mostRatioByLoad,
      ),
      answeredRow('answered-by-load', byLoad),
    ],
    lines: [],
  }
})

async function measure(
  { say, ...options }: Surroundings,
  kind: 'by limit' | 'by load',
): Promise<Comparison> {
  const deployment = await deployRolemint({
    ...options,
    audience: TENANTS,
    configure: (config) => tenantsOf(config, kind),
  })
  try {
    const capacity = await warmUp(deployment)
    const ordinary = kind === 'by limit' ? LIMIT_PER_SECOND : capacity / 2
    say(
      `${kind}: ${pairs} pairs, noisy tenant at ${ordinary.toFixed(0)} and ${(ordinary * TIMES).toFixed(0)}/s`,
    )
    const conditions = [
      { name: 'ordinary', perSecond: [QUIET_PER_SECOND, ordinary] },
      { name: 'noisy', perSecond: [QUIET_PER_SECOND, ordinary * TIMES] },
    ]
    // One to settle in, which is not looked at, and one to measure.
    const phases = Array.from({ length: pairs }, () =>
      conditions.flatMap((condition) => [
        { ...condition, seconds: SETTLING_SECONDS },
        { ...condition, seconds: phaseSeconds },
      ]),
    ).flat()
    const results = await deployment.generator.run({
      phases,
      streams: [streamOf(deployment, 'quiet'), streamOf(deployment, 'noisy')],
      probes: [],
      timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      windowMilliseconds: 1000,
      seed: 1,
    })
    return compare(
      Array.from({ length: pairs }, (_, index): Pair => {
        const [, before, , after] = results.slice(index * 4, index * 4 + 4)
        const fates = { ordinary: before?.streams[0], attacked: after?.streams[0] }
        if (!fates.ordinary || !fates.attacked) throw new Error('a phase was not run')
        return { ordinary: fates.ordinary, attacked: fates.attacked }
      }),
    )
  } finally {
    await deployment.stop()
  }
}

/** A server that has been at work for a while: compiled, with all users in its caches. Gives what it can do. */
async function warmUp(deployment: Deployment): Promise<number> {
  const peak = (tenant: Tenant, seconds: number) =>
    deployment.generator.peak({ stream: streamOf(deployment, tenant), seconds })
  await peak('warm', WARM_UP_SECONDS)
  const { perSecond, busy, foreign } = await peak('warm', PEAK_SECONDS)
  await peak('noisy', FILLING_SECONDS)
  await peak('quiet', FILLING_SECONDS)
  return perSecond / Math.max(busy, available(foreign))
}

function streamOf({ port, form }: Deployment, tenant: Tenant) {
  return {
    name: tenant,
    port,
    path: `/${tenant}/token`,
    form,
    connections: CONNECTIONS,
    addresses: ADDRESSES,
  }
}

/**
 * The bench's tenant once for each, told apart by the path of the issuer. Their IdP is one, so each has an audience of its own there,
 * and the tokens carry both.
 */
function tenantsOf({ tenants: { bench }, ...config }: BenchDocument, kind: 'by limit' | 'by load') {
  const tenant = (name: Tenant) => ({
    ...bench,
    issuer: `http://${config.listen.public}/${name}`,
    idps: { bench: { ...bench.idps.bench, audience: name } },
  })
  const limited = kind === 'by limit' ? { limits: { perTenant: `${LIMIT_PER_SECOND}/s` } } : {}
  return {
    ...config,
    tenants: {
      quiet: { ...tenant('quiet'), ...limited },
      noisy: { ...tenant('noisy'), ...limited },
      warm: tenant('warm'),
    },
  }
}

function ratioRow(id: string, what: string, comparison: Comparison, atMost: number): Row {
  const figure = comparison.p99Ratio
  return {
    id,
    what,
    figure,
    unit: '×',
    atMost,
    ok: figure <= atMost,
    detail: described(comparison),
  }
}

function answeredRow(id: string, { answered }: Comparison): Row {
  const figure = answered * 100
  const atLeast = leastAnswered * 100
  return {
    id,
    what: 'calls of the quiet tenant that were answered meanwhile',
    figure,
    unit: '%',
    atLeast,
    ok: figure >= atLeast,
    detail: '',
  }
}
