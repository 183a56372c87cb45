/** Runs cells of the fault matrix against one world, one after the other. */
import { availableParallelism, loadavg } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Served, startRolemint } from '../processes.ts'
import { type Dependency, proxyFault } from './faults.ts'
import { createProber, type IssuedToken, type Prober, type Shot } from './probes.ts'
import { type Cell, HEALTHY, type Outcome, type ProbeName } from './promises.ts'
import { FRESH_MILLISECONDS, startWorld, type Variant, type World } from './world.ts'

/** What a kind of request came to in a cell. */
export interface ProbeResult {
  readonly probe: ProbeName
  readonly outcomes: readonly Outcome[]
  readonly slowestSeconds: number
}

/** A cell that was run. */
export interface CellResult {
  readonly dependency: Dependency
  readonly fault: Cell['fault']
  readonly warmth: Cell['warmth']
  readonly pass: boolean
  readonly results: readonly ProbeResult[]
  /** From the end of the fault until everything is as ever. */
  readonly healedSeconds: number
  /** Until the alarm was there; only where one is promised. */
  readonly alarmSeconds?: number
  /** Tokens issued while the fault lasted; each was found in the ledger. */
  readonly issued: number
  readonly breaches: readonly string[]
  readonly seconds: number
  /** It failed on a machine that was overloaded, and this is the second run. */
  readonly again?: true
}

/** Longest that an answer may take, whatever the cell says: the request budget, and a second. */
const HANG_SECONDS = 6
/** What our own timers are late by, and processes that wait for each core, on a machine that measures nothing any more. */
const STALL_NANOSECONDS = 300e6
const MOST_LOAD = 2.5
const CALM_SECONDS = 60
const ALARM_SECONDS = 30
/** Between two looks at the key store, and a little more. */
const KEY_WATCH_MILLISECONDS = 6000
const BOOT_SECONDS = 45
/** No more than one reading of a key set in so long because of key ids; before it is over, "unknown" is what the last reading says. */
const KID_COOLDOWN_MILLISECONDS = 10_500
const ROUNDS = { few: 2, many: 6 }
/** How old what is in memory of cut-offs may be, and a little more. */
const CUTOFFS_AGE_MILLISECONDS = 1300
const BETWEEN_ROUNDS_MILLISECONDS = 250

/** Runs cells, each told to `log` when it is over. */
export async function runCells(
  cells: readonly Cell[],
  log: (result: CellResult) => void,
): Promise<readonly CellResult[]> {
  const world = await startWorld()
  const keepsakes: { live: IssuedToken | undefined; dead: IssuedToken | undefined } = {
    live: undefined,
    dead: undefined,
  }
  const issuers = { next: 0 }
  const prober = createProber(world, world.main, keepsakes, issuers)
  try {
    await furnish(world, prober, keepsakes)
    const results: CellResult[] = []
    for (const cell of cells) {
      const result = await runFairly({ world, prober, issuers }, cell)
      log(result)
      results.push(result)
    }
    return results
  } finally {
    await prober.close()
    await world.close()
  }
}

interface Bench {
  readonly world: World
  readonly prober: Prober
  readonly issuers: { next: number }
}

/** A token of a key that is then killed, a token that lives, and everything warm. */
async function furnish(
  { main, adminToken }: World,
  prober: Prober,
  keepsakes: { live: IssuedToken | undefined; dead: IssuedToken | undefined },
): Promise<void> {
  const [dead] = await issueOne(prober)
  keepsakes.dead = dead
  const header: unknown = JSON.parse(
    Buffer.from(dead?.token.split('.')[0] ?? '', 'base64url').toString(),
  )
  const killed = await fetch(`${main.adminUrl}/admin/v1/keys/${Object(header).kid}/kill`, {
    method: 'POST',
    headers: { authorization: `Bearer ${adminToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ tenant: 'within', reason: 'fault matrix' }),
  })
  if (!killed.ok) throw new Error(`a key could not be killed: ${await killed.text()}`)
  await until(
    async () => ((await prober.shoot('killed-key')).outcome === 'inactive' ? true : undefined),
    30,
  )
  keepsakes.live = (await issueOne(prober))[0]
}

async function issueOne(prober: Prober): Promise<readonly IssuedToken[]> {
  const { outcome } = await prober.shoot('known-within')
  if (outcome !== 'fresh') throw new Error(`a healthy deployment answers ${outcome}`)
  return prober.takeIssued()
}

/** A cell that failed while this machine had no time for anybody says nothing about the product: it is run once more, and says so. */
async function runFairly(bench: Bench, cell: Cell): Promise<CellResult> {
  const lag = monitorEventLoopDelay({ resolution: 20 })
  lag.enable()
  const result = await runCell(bench, cell)
  lag.disable()
  if (result.pass || (lag.max < STALL_NANOSECONDS && !isBusy())) return result
  await until(async () => (isBusy() ? undefined : true), CALM_SECONDS)
  return { ...(await runCell(bench, cell)), again: true }
}

const isBusy = (): boolean => (loadavg()[0] ?? 0) > MOST_LOAD * availableParallelism()

async function runCell(bench: Bench, cell: Cell): Promise<CellResult> {
  const { world, prober } = bench
  const { dependency, fault, warmth, expects } = cell
  const began = performance.now()
  const breachesBefore = prober.breaches.length
  const probes = Object.keys(expects).map((name) => name as ProbeName)
  const requests = probes.filter((probe) => !isBoot(probe))
  if (probes.includes('new-issuer')) prober.nextIssuer()
  await warmUp(prober, cell, requests)
  prober.takeIssued()
  const proxy = world.proxies[dependency]

  await proxy.set(proxyFault(dependency, fault))
  const shots: Shot[] = []
  let alarmSeconds: number | undefined
  let struck = 0
  try {
    const rounds = fault === 'flapping' ? ROUNDS.many : ROUNDS.few
    const [, boots, alarm] = await Promise.all([
      shootRounds(prober, requests, rounds, shots),
      Promise.all(probes.filter(isBoot).map((probe) => boot(world, probe))),
      watched(world, cell),
    ])
    shots.push(...boots)
    alarmSeconds = alarm
    ;({ struck } = proxy.counters())
  } finally {
    await proxy.set({ kind: 'none' })
  }
  const issued = prober.takeIssued()
  const healedSeconds = await heal(bench, cell, requests)
  const breaches = [
    ...prober.breaches.slice(breachesBefore),
    ...broken(cell, shots),
    ...(await unrecorded(prober, issued)),
    ...(Number.isNaN(healedSeconds) ? [`not healed within ${cell.healsWithinSeconds} s`] : []),
    ...(Number.isNaN(alarmSeconds) ? [`no alarm within ${ALARM_SECONDS} s`] : []),
    ...(struck === 0 && fault !== 'down' && fault !== 'flapping'
      ? ['the fault was never met']
      : []),
  ]
  prober.takeIssued()
  return {
    dependency,
    fault,
    warmth,
    pass: breaches.length === 0,
    results: probes.map((probe) => summary(probe, shots)),
    healedSeconds: tenths(healedSeconds),
    ...(alarmSeconds === undefined ? {} : { alarmSeconds: tenths(alarmSeconds) }),
    issued: issued.length,
    breaches,
    seconds: tenths((performance.now() - began) / 1000),
  }
}

/** Until the key store was looked after at least once; where an alarm is promised, seconds until it is there. */
async function watched(world: World, { dependency, fault, warmth }: Cell) {
  if (dependency !== 'vault' || warmth !== 'warm') return undefined
  if (fault !== 'flapping' && fault !== 'slow')
    return until(
      async () => ((await keyStoreUp(world.main)) === false ? true : undefined),
      ALARM_SECONDS,
    )
  // It answers after all, so there may be an alarm or not.
  await sleep(KEY_WATCH_MILLISECONDS)
  return undefined
}

const isBoot = (probe: ProbeName): probe is 'boot' | 'boot-from-cache' => probe.startsWith('boot')

/** Everything that is asked for later is served once; then what is fresh for a moment only gets old. */
async function warmUp(prober: Prober, cell: Cell, requests: readonly ProbeName[]): Promise<void> {
  const warm = requests.filter((probe) => probe.startsWith('known-'))
  await settled(prober, warm)
  if (warm.length > 1) await sleep(FRESH_MILLISECONDS + 100)
  // A key id is "unknown" for sure while the last reading is young; the promise is about the time after.
  if (cell.dependency === 'idp' && requests.includes('unknown-kid'))
    await sleep(KID_COOLDOWN_MILLISECONDS)
}

/** Waits until these requests are answered as in good times. */
async function settled(prober: Prober, requests: readonly ProbeName[]): Promise<void> {
  const calm = async () => {
    const shots = await Promise.all(requests.map((probe) => prober.shoot(probe)))
    return shots.every(({ probe, outcome }) => outcome === HEALTHY[probe]) ? true : undefined
  }
  const seconds = await until(calm, 60)
  if (Number.isNaN(seconds))
    throw new Error(`a healthy deployment does not serve ${requests.join()}`)
}

/** Rounds overlap: a slow answer does not keep the next round waiting, as other users would not wait either. */
async function shootRounds(
  prober: Prober,
  requests: readonly ProbeName[],
  rounds: number,
  shots: Shot[],
): Promise<void> {
  const flying: Promise<void>[] = []
  const late = requests.filter((probe) => probe === 'introspect-late')
  const early = requests.filter((probe) => probe !== 'introspect-late')
  const shoot = (probes: readonly ProbeName[]) => {
    for (const probe of probes)
      flying.push(prober.shoot(probe).then((shot) => void shots.push(shot)))
  }
  for (let round = 0; round < rounds; round += 1) {
    shoot(early)
    await sleep(BETWEEN_ROUNDS_MILLISECONDS)
  }
  if (late.length > 0) await sleep(CUTOFFS_AGE_MILLISECONDS)
  shoot(late)
  await Promise.all(flying)
}

/** Starts a process while the fault lasts, has it serve one request, and ends it. */
async function boot(world: World, probe: 'boot' | 'boot-from-cache'): Promise<Shot> {
  const variant: Variant = probe === 'boot' ? 'uncached' : 'cached'
  const began = performance.now()
  const booted = await start(world, variant)
  return { probe, ...booted, seconds: (performance.now() - began) / 1000 }
}

async function start(world: World, variant: Variant): Promise<Pick<Shot, 'outcome' | 'said'>> {
  const started = startRolemint(['serve', '-c', world.configFile(variant)], { env: world.env })
  try {
    const said = await Promise.race([
      started.says(/serves .* at (\S+), admin (\S+)\n/, BOOT_SECONDS * 1000).catch(() => undefined),
      started.ended,
    ])
    if (said === undefined) return { outcome: 'hangs', said: lastLine(started.stderr()) }
    if (!Array.isArray(said)) return { outcome: 'refused', said: lastLine(started.stderr()) }
    const [, url = '', adminUrl = ''] = said
    const none = { live: undefined, dead: undefined }
    const prober = createProber(world, { url, adminUrl }, none, { next: 0 })
    const { outcome } = await prober.shoot('known-within')
    await prober.close()
    return { outcome: `starts: ${outcome}` }
  } finally {
    started.kill('SIGKILL')
    await started.ended
  }
}

/** Seconds until everything is as in good times; NaN when that takes too long. */
async function heal({ world, prober }: Bench, cell: Cell, requests: readonly ProbeName[]) {
  let left: readonly ProbeName[] = requests
  const calm = async () => {
    const shots = await Promise.all(left.map((probe) => prober.shoot(probe)))
    left = shots
      .filter(({ probe, outcome }) => outcome !== HEALTHY[probe])
      .map(({ probe }) => probe)
    if (left.length > 0) return undefined
    const isVault = cell.dependency === 'vault'
    return isVault && !(await keyStoreUp(world.main)) ? undefined : true
  }
  const seconds = await until(calm, cell.healsWithinSeconds)
  if (cell.expects.boot === undefined || !cell.expects.boot.outcomes.includes('refused'))
    return seconds
  // What was refused succeeds now.
  const { outcome } = await start(world, 'uncached')
  return outcome === HEALTHY.boot ? seconds : Number.NaN
}

/** Of what was said, the last line that is no log line and no place in the code. */
function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => !/^(\s|\{|$|Node\.js v)/.test(line))
  return lines.at(-1)?.slice(0, 300) ?? ''
}

/** What was not as promised. */
function broken({ expects }: Cell, shots: readonly Shot[]): string[] {
  return shots.flatMap(({ probe, outcome, seconds, said }) => {
    const { outcomes = [], withinSeconds = 0 } = expects[probe] ?? {}
    const limit = isBoot(probe) ? withinSeconds : Math.min(withinSeconds, HANG_SECONDS)
    const took = `${probe}: ${outcome} after ${seconds.toFixed(1)} s`
    const because = said === undefined ? '' : ` (${said})`
    if (!outcomes.includes(outcome)) return [`${took}, not ${outcomes.join(' or ')}${because}`]
    return seconds > limit ? [`${took}, not within ${limit} s`] : []
  })
}

/** Tokens that were handed out and that the ledger does not know. */
async function unrecorded(prober: Prober, issued: readonly IssuedToken[]): Promise<string[]> {
  const outcomes = await Promise.all(
    issued.map((token) => prober.introspect(token).catch(() => 'no answer')),
  )
  return outcomes
    .filter((outcome) => outcome !== 'active')
    .map((outcome) => `an issued token is ${outcome} after the fault`)
}

function summary(probe: ProbeName, shots: readonly Shot[]): ProbeResult {
  const own = shots.filter((shot) => shot.probe === probe)
  return {
    probe,
    outcomes: [...new Set(own.map(({ outcome }) => outcome))].toSorted(),
    slowestSeconds: hundredths(Math.max(0, ...own.map(({ seconds }) => seconds))),
  }
}

async function keyStoreUp({ adminUrl }: Served): Promise<boolean | undefined> {
  const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
  const value = /^rolemint_key_store_up (\d)$/m.exec(metrics)?.[1]
  return value === undefined ? undefined : value === '1'
}

/** Seconds until `work` gives something; NaN when it does not in time. */
async function until(work: () => Promise<true | undefined>, mostSeconds: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const done = await work()
    const seconds = (performance.now() - began) / 1000
    if (done) return seconds
    if (seconds > mostSeconds) return Number.NaN
    await sleep(100)
  }
}

const tenths = (value: number) => Math.round(value * 10) / 10
const hundredths = (value: number) => Math.round(value * 100) / 100
