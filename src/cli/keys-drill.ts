import type { AdminClient } from './admin-client.ts'
import { EXIT } from './exit-codes.ts'
import { changeKey } from './keys-change.ts'
import {
  type DrillQuestions,
  kidOf,
  type Seen,
  SIGHTS,
  tokenFrom,
  type Watch,
  type WatchDeps,
  watchReplica,
} from './keys-drill-watch.ts'
import { type KeyFacts, type RingFacts, readRing } from './keys-facts.ts'
import { CommandFailure } from './terminal.ts'

/** What is drilled. */
export interface DrillPlan extends DrillQuestions {
  readonly tenant: string
  readonly reason: string
  /** Base of the tenant's endpoints at each replica, reached past any load balancer. */
  readonly replicas: readonly string[]
  /** Longest wait for every replica to change over. */
  readonly timeoutMilliseconds: number
}

/** What {@link runDrill} needs. */
export interface DrillDeps extends WatchDeps {
  readonly admin: AdminClient
  readonly say: (line: string) => void
}

/** Seconds from the command; null when it was not seen. */
type Seconds = number | null

/** What one replica did. */
interface ReplicaReport {
  readonly replica: string
  /** The last token with the killed key; null: none came after the command. */
  readonly last_bad_signature: Seconds
  readonly jwks_clean: Seconds
  readonly introspection_denies: Seconds
  readonly first_good_token: Seconds
  /** Answers that were understood, and requests that brought none. */
  readonly answers: number
  readonly failures: number
  readonly last_failure?: string
}

/** What a drill measured: seconds from the command. */
export interface DrillReport {
  readonly tenant: string
  readonly killed: string
  readonly signs_now: string | null
  /** The kill was durable by then. */
  readonly kill_answered: number
  /** The last at any replica; null: none came after the command. */
  readonly last_bad_signature: Seconds
  /** From then on at every replica. */
  readonly jwks_clean: Seconds
  readonly introspection_denies: Seconds
  /** The first at any replica, and the first at the slowest. */
  readonly first_good_token: Seconds
  readonly good_tokens_everywhere: Seconds
  /** False when a replica had not changed over within the time. */
  readonly complete: boolean
  readonly replicas: readonly ReplicaReport[]
}

/** Without a sign of the killed key for so long, a replica has changed over and not only answered from two views at once. */
const SETTLED_MILLISECONDS = 1500
const STEP_MILLISECONDS = 50

/** A replica that has not answered every question by then is not there. */
const AT_WORK_MILLISECONDS = 10_000

/**
 * Kills the key that signs, and watches every replica from before the command until all have changed over. A rehearsal on the real thing:
 * tokens of the killed key are dead afterwards.
 *
 * @throws {CommandFailure} before anything is killed, when a replica is not seen at work or no successor is ready; or as the kill is answered.
 */
export async function runDrill(deps: DrillDeps, plan: DrillPlan): Promise<DrillReport> {
  const { admin, monotonic, say } = deps
  const [first = ''] = plan.replicas
  const token = await tokenFrom(deps, plan, first, 0)
  const kid = kidOf(token)
  const key = mustBeReady(await readRing(admin, plan.tenant), kid)
  const watches = plan.replicas.map((replica) => watchReplica(deps, plan, { replica, token, kid }))
  try {
    say(`watching ${watches.length} replicas at work with the key ${kid}`)
    const atWork = (watch: Watch) => sightsOf(watch).every(({ badAt }) => badAt !== undefined)
    if (!(await until(deps, AT_WORK_MILLISECONDS, () => watches.every(atWork))))
      throw notAtWork(watches, atWork)

    const killedAt = monotonic.now()
    const ring = await changeKey(admin, 'kill', { tenant: plan.tenant, kid, reason: plan.reason })
    const answeredAt = monotonic.now()
    say('killed; waiting for every replica')
    const settled = ({ goodSince }: Seen) =>
      goodSince !== undefined && monotonic.now() - goodSince >= SETTLED_MILLISECONDS
    const complete = await until(deps, plan.timeoutMilliseconds, () =>
      watches.flatMap(sightsOf).every(settled),
    )
    const signing = ring.keys.find(({ alg, state }) => alg === key.alg && state === 'active')
    return {
      tenant: plan.tenant,
      killed: kid,
      signs_now: signing?.kid ?? null,
      kill_answered: secondsBetween(killedAt, answeredAt),
      ...measured(watches, killedAt),
      complete,
    }
  } finally {
    for (const watch of watches) watch.stop()
    await Promise.all(watches.map(({ ended }) => ended))
  }
}

function sightsOf({ seen }: Watch): readonly Seen[] {
  return SIGHTS.map((sight) => seen[sight])
}

/** A drill must not become the outage: with no successor nothing would sign until a key is made. */
function mustBeReady({ keys }: RingFacts, kid: string): KeyFacts {
  const key = keys.find((one) => one.kid === kid)
  if (key?.state !== 'active')
    throw new CommandFailure(
      EXIT.conflict,
      `the ring has no active key ${kid}; is --server of the same deployment?`,
    )
  if (!keys.some(({ alg, state }) => alg === key.alg && state === 'published'))
    throw new CommandFailure(
      EXIT.conflict,
      `no published ${key.alg} successor is ready; nothing was killed`,
    )
  return key
}

/** True as soon as it holds, false when the time is over. */
async function until(
  { monotonic, pause }: DrillDeps,
  mostMilliseconds: number,
  holds: () => boolean,
): Promise<boolean> {
  const end = monotonic.now() + mostMilliseconds
  while (!holds()) {
    if (monotonic.now() >= end) return false
    await pause(STEP_MILLISECONDS)
  }
  return true
}

function notAtWork(watches: readonly Watch[], atWork: (watch: Watch) => boolean): CommandFailure {
  const idle = watches
    .filter((watch) => !atWork(watch))
    .map((watch) => {
      const why = sightsOf(watch).find(({ badAt }) => badAt === undefined)?.lastFailure
      return `${watch.replica} (${why ?? 'it knows another key'})`
    })
  const message = `not seen at work with the key: ${idle.join(', ')}; nothing was killed`
  return new CommandFailure(EXIT.unreachable, message)
}

function measured(watches: readonly Watch[], killedAt: number) {
  const since = (at: number | undefined): Seconds =>
    at === undefined || at < killedAt ? null : secondsBetween(killedAt, at)
  const replicas = watches.map((watch): ReplicaReport => {
    const { exchange, jwks, introspection } = watch.seen
    const sights = sightsOf(watch)
    const failed = sights.find(({ lastFailure }) => lastFailure !== undefined)?.lastFailure
    return {
      replica: watch.replica,
      last_bad_signature: since(exchange.badAt),
      jwks_clean: since(jwks.goodSince),
      introspection_denies: since(introspection.goodSince),
      first_good_token: since(exchange.goodAt),
      answers: sights.reduce((sum, { answers }) => sum + answers, 0),
      failures: sights.reduce((sum, { failures }) => sum + failures, 0),
      ...(failed === undefined ? {} : { last_failure: failed }),
    }
  })
  const good = replicas.map((one) => one.first_good_token)
  const seenGood = good.filter((at) => at !== null)
  return {
    last_bad_signature: replicas.reduce<Seconds>(
      (last, { last_bad_signature: at }) => (at === null ? last : Math.max(last ?? 0, at)),
      null,
    ),
    jwks_clean: slowest(replicas.map((one) => one.jwks_clean)),
    introspection_denies: slowest(replicas.map((one) => one.introspection_denies)),
    first_good_token: seenGood.length === 0 ? null : Math.min(...seenGood),
    good_tokens_everywhere: slowest(good),
    replicas,
  }
}

/** The slowest; null when one was not seen at all. */
function slowest(all: readonly Seconds[]): Seconds {
  return all.reduce<Seconds>(
    (last, at) => (last === null || at === null ? null : Math.max(last, at)),
    0,
  )
}

function secondsBetween(from: number, to: number): number {
  return Math.round(to - from) / 1000
}
