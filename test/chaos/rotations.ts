/** Rotations under load: no token may be refused by a verifier that keeps key sets for as long as `max-age` says. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Trusted, Verifier, VerifierOptions } from '../fakes/verifiers/verifier.ts'
import { breakRing, type Fault } from './ring-faults.ts'
import { ACCELERATED, type Rotating, startRotating } from './rotating.ts'
import { createTrier, type Trials } from './token-trials.ts'

/** What is to be done. */
export interface RotationRun {
  readonly tenants: number
  /** The run ends when so many have happened, over all tenants. */
  readonly rotations: number
  /** Starts the verifiers for these issuers. */
  readonly verifiers: (
    trusted: readonly Trusted[],
    options: VerifierOptions,
  ) => Promise<readonly Verifier[]>
  readonly log: (line: string) => void
  /** Breaks the rings on purpose: then there have to be failures, or a run without any proves nothing. */
  readonly fault?: Fault
}

/** What happened. */
export interface RotationReport extends Trials {
  readonly rotations: number
  /** Key sets fetched, by kind of verifier. */
  readonly fetchesPerVerifier: Readonly<Record<string, number>>
  readonly seconds: number
}

/** Beside the one right after each rotation. */
const EXCHANGES_PER_SECOND = 15
/** More tokens in flight than this, and the next one is left out: a slow machine must not be buried. */
const MOST_IN_FLIGHT = 150
const STEP_MILLISECONDS = 20
const WATCH_MILLISECONDS = 200
const REPORT_MILLISECONDS = 10_000
/** A run is given up when it has taken so many times what it should, and this long in any case. */
const PATIENCE = 4
const LEAST_PATIENCE_MILLISECONDS = 180_000
/** Of the verifications, those that may come too late to say anything. */
const MOST_LATE_SHARE = 0.02

/** Rotates under load until `rotations` have happened, or until far more time has passed than that should take. */
export async function runRotations(run: RotationRun): Promise<RotationReport> {
  const rotating = await startRotating(run.tenants)
  try {
    const { maxAgeSeconds, skewSeconds } = ACCELERATED
    const options = { maxAgeSeconds, leewaySeconds: skewSeconds }
    const verifiers = await run.verifiers(rotating.trusted, options)
    try {
      return await putUnderLoad(run, rotating, verifiers)
    } finally {
      await Promise.all(verifiers.map((one) => one.close()))
    }
  } finally {
    await rotating.close()
  }
}

/** Why a report is no proof; nothing when it is one. */
export function faultsOf(report: RotationReport, rotations: number): readonly string[] {
  const { verifications, late, failed, keys, fetchesPerVerifier } = report
  const kinds = Object.entries(fetchesPerVerifier)
  const each = verifications / kinds.length
  const faults: (string | false)[] = [
    report.rotations < rotations && `${report.rotations} rotations of ${rotations}`,
    failed.length > 0 && `${failed.length} failures, the first: ${failed[0]}`,
    keys < report.rotations && `${keys} keys were seen to sign after ${report.rotations} rotations`,
    late > verifications * MOST_LATE_SHARE && `${late} of ${verifications} came too late`,
    kinds.length < 5 && `${kinds.length} kinds of verifiers`,
    ...kinds.map(
      ([kind, fetches]) =>
        !(fetches > 0 && fetches < each / 2) &&
        `${kind} fetched keys ${fetches} times for ${Math.round(each)} verifications`,
    ),
  ]
  return faults.filter((fault) => fault !== false)
}

async function putUnderLoad(
  { tenants, rotations: wanted, log, fault }: RotationRun,
  rotating: Rotating,
  verifiers: readonly Verifier[],
): Promise<RotationReport> {
  const trier = createTrier(rotating, verifiers, log)
  // A token by each new key at once: if verifiers do not have the key, it is then that they do not.
  const rotations = watchRotations(rotating, trier.start)
  const breaking = fault && breakRing(fault, rotating)
  const tell = () =>
    log(JSON.stringify({ rotations: rotations.count(), ...counts(trier.result()) }))
  const startedAt = Date.now()
  const secondsNeeded = (wanted * ACCELERATED.rotateEverySeconds) / tenants
  const patience = Math.max(LEAST_PATIENCE_MILLISECONDS, secondsNeeded * 1000 * PATIENCE)
  const watching = every(WATCH_MILLISECONDS, rotations.look)
  const telling = every(REPORT_MILLISECONDS, tell)

  let exchanges = 0
  for (let passed = 0; rotations.count() < wanted && passed < patience; ) {
    watching(passed)
    telling(passed)
    await breaking?.(passed)
    // By the clock and not by counting sleeps, so that the rate holds on a busy machine.
    for (; exchanges < (passed / 1000) * EXCHANGES_PER_SECOND; exchanges += 1)
      if (trier.inFlight() < MOST_IN_FLIGHT) trier.start(exchanges % tenants)
    await sleep(STEP_MILLISECONDS)
    passed = Date.now() - startedAt
  }
  await trier.settled()
  tell()
  return {
    rotations: rotations.count(),
    ...trier.result(),
    fetchesPerVerifier: Object.fromEntries(verifiers.map((one) => [one.kind, one.fetches()])),
    seconds: Math.round((Date.now() - startedAt) / 1000),
  }
}

/** Counts rotations by looking for active keys that were not there before. */
function watchRotations({ trusted, keys }: Rotating, rotated: (tenant: number) => void) {
  const active = new Map<number, string>()
  let count = 0
  return {
    count: () => count,
    look() {
      for (const tenant of trusted.keys()) {
        const kid = keys(tenant).find(({ state }) => state === 'active')?.kid
        const before = active.get(tenant)
        if (kid === undefined || kid === before) continue
        active.set(tenant, kid)
        if (before === undefined) continue
        count += 1
        rotated(tenant)
      }
    },
  }
}

/** Calls `work` when so much has passed since the last time. */
function every(milliseconds: number, work: () => void): (passed: number) => void {
  let last = 0
  return (passed) => {
    if (passed - last < milliseconds) return
    last = passed
    work()
  }
}

function counts({ failed, ...rest }: Trials) {
  return { ...rest, failed: failed.length }
}
