/** Rotations under load: no token may be refused by a verifier that keeps key sets for as long as `max-age` says. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Trusted, Verifier, VerifierOptions } from '../fakes/verifiers/verifier.ts'
import { createHandRotations } from './hand-rotations.ts'
import { breakRing, type Fault } from './ring-faults.ts'
import { ACCELERATED, type Rotating, startRotating } from './rotating.ts'
import { createTrier, type Trials } from './token-trials.ts'

/** What is to be done. */
export interface RotationRun {
  readonly tenants: number
  /** The run ends when so many have been shown to all verifiers, over all tenants. */
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
  /** Rotations after which all verifiers were shown a token of the new key, in time. */
  readonly rotations: number
  /** Rotations after which this machine was too slow for that. */
  readonly unseen: number
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
const LEAST_PATIENCE_MILLISECONDS = 120_000

/** Rotates under load until `rotations` have happened, or until far more time has passed than that should take. */
export async function runRotations(run: RotationRun): Promise<RotationReport> {
  const isGuarded = run.fault !== 'unguarded'
  const rotating = await startRotating(run.tenants, { isGuarded })
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
  const { verifications, failed, fetchesPerVerifier } = report
  const kinds = Object.entries(fetchesPerVerifier)
  const each = verifications / kinds.length
  const faults: (string | false)[] = [
    report.rotations < rotations && `${report.rotations} rotations of ${rotations}`,
    failed.length > 0 && `${failed.length} failures, the first: ${failed[0]}`,
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
  const rotations = watchRotations(rotating, (tenant) => trier.start(tenant))
  const breaking = fault && breakRing(fault, rotating)
  const seen = () => [...rotations.kids].filter((kid) => trier.hasSeen(kid)).length
  const tell = () => log(JSON.stringify({ rotations: seen(), ...counts(trier.result()) }))
  const startedAt = Date.now()
  const secondsNeeded = (wanted * ACCELERATED.rotateEverySeconds) / tenants
  const patience = Math.max(LEAST_PATIENCE_MILLISECONDS, secondsNeeded * 1000 * PATIENCE)
  // Every other tenant; the rest rotates by schedule.
  const impatient = [...rotating.trusted.keys()].filter((tenant) => tenant % 2 === 1)
  const byHand = createHandRotations(rotating, impatient, trier.refuse)
  const watching = every(WATCH_MILLISECONDS, () => {
    rotations.look()
    byHand()
  })
  const telling = every(REPORT_MILLISECONDS, tell)

  let exchanges = 0
  for (let passed = 0; seen() < wanted && passed < patience; ) {
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
    rotations: seen(),
    unseen: rotations.kids.size - seen(),
    ...trier.result(),
    fetchesPerVerifier: Object.fromEntries(verifiers.map((one) => [one.kind, one.fetches()])),
    seconds: Math.round((Date.now() - startedAt) / 1000),
  }
}

/** Notes the keys that come to sign, by looking for active keys that were not there before. */
function watchRotations(rotating: Rotating, rotated: (tenant: number) => void) {
  const active = new Map<number, string>()
  const kids = new Set<string>()
  return {
    kids,
    look: () => {
      for (const tenant of rotating.trusted.keys()) {
        const kid = rotating.keys(tenant).find(({ state }) => state === 'active')?.kid
        const before = active.get(tenant)
        if (kid === undefined || kid === before) continue
        active.set(tenant, kid)
        if (before === undefined) continue
        kids.add(kid)
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

function counts({ failed, refused, ...rest }: Trials) {
  return { ...rest, failed: failed.length, refused: refused.length }
}
