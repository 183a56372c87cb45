import type { Ledger } from '../audit/ledger.ts'
import type { NewCutoff } from '../cutoff/store.ts'
import type { Clock } from '../lib/clock.ts'
import { newTokenId, type Random } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Log } from '../observe/log.ts'
import type { Keys } from './keys.ts'
import type { SigningAlgorithm } from './options.ts'
import type { Ring, RingPolicy } from './ring.ts'
import type { KeyUsage, RingStore, UsageStore } from './store.ts'
import type { KeyAction } from './tenant-ring.ts'
import type { TransitionRecords } from './transitions.ts'

/** A change as an operator asks for it. */
export interface KeyOrder {
  readonly reason: string
  readonly by: string
  /** Request id, for the ledger entry. */
  readonly traceId: string
}

/** A ring as operators see it. */
export interface RingReport {
  readonly ring: Ring
  /** The waits in force, to tell what may happen when. */
  readonly policy: RingPolicy
  readonly usage: ReadonlyMap<string, KeyUsage>
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What a recorded change is made with. */
export interface RecordedKeysDeps {
  readonly keys: Pick<Keys, 'list' | 'rotate' | 'change'>
  readonly rings: RingStore
  readonly usage: Pick<UsageStore, 'list'>
  readonly ledger: Pick<Ledger, 'append'>
  readonly transitions: TransitionRecords
  /** Writes a cut-off rule; a second one of the same kid changes nothing. */
  readonly cutOff: (cutoff: NewCutoff, signal: AbortSignal) => Promise<unknown>
  readonly isCutOff: (tenant: string, kid: string) => boolean
  readonly policy: () => RingPolicy
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface NamedTenant {
  readonly name: string
}

/** The keys as operators see and change them: each change is in the ledger before (the wish) and after (what came of it). */
export interface RecordedKeys {
  /** The ring as it is stored now. @throws {Refusal} `signer_unavailable` when there is none. */
  report(tenant: NamedTenant, signal: AbortSignal): Promise<RingReport>
  /**
   * Rotates one algorithm, or all of the ring. The wish is recorded first, so that nothing changes while the ledger is down.
   * @throws {RingError} when the ring does not allow it now. @throws {Refusal} `ledger_unavailable`, `signer_unavailable`.
   */
  rotate(
    tenant: NamedTenant,
    alg: SigningAlgorithm | undefined,
    order: KeyOrder,
    signal: AbortSignal,
  ): Promise<RingReport>
  /** Promotes, retires or kills one key. @throws as `rotate` does. */
  change(
    tenant: NamedTenant,
    action: KeyAction,
    kid: string,
    order: KeyOrder,
    signal: AbortSignal,
  ): Promise<RingReport>
  /** Gives every killed key of these tenants its cut-off rule, where writing it failed before. Called every second. */
  cutOffKilled(tenants: Iterable<string>, signal: AbortSignal): Promise<void>
}

/** Key changes by hand. */
export function createRecordedKeys(deps: RecordedKeysDeps): RecordedKeys {
  const { keys, rings, usage, ledger, transitions, clock, random, log } = deps

  async function wish(tenant: string, order: KeyOrder, action: string, signal: AbortSignal) {
    const entry = {
      id: newTokenId(random),
      event: 'key' as const,
      tenant,
      at: clock.now(),
      traceId: order.traceId,
      details: { action: `asked to ${action}`, by: order.by, reason: order.reason },
    }
    await ledger.append(entry, [], signal).catch((cause: unknown) => {
      throw new Refusal(
        'ledger_unavailable',
        'The change could not be recorded; nothing was done.',
        {
          cause,
          retryAfterSeconds: 5,
        },
      )
    })
  }

  async function report(tenant: string, signal: AbortSignal): Promise<RingReport> {
    const ring = await rings.load(tenant, signal)
    if (!ring) throw new Refusal('signer_unavailable', 'The tenant has no key ring yet.')
    const counted = await usage.list(tenant, signal)
    const byKid = new Map(counted.map((one) => [one.kid, one]))
    return { ring, policy: deps.policy(), usage: byKid, now: clock.now() }
  }

  async function cutOffKilled(tenant: string, signal: AbortSignal): Promise<void> {
    for (const { kid, state, compromisedAt = clock.now(), reason, by } of keys.list(tenant)) {
      if (state !== 'compromised' || deps.isCutOff(tenant, kid)) continue
      const times = { notBefore: compromisedAt, at: clock.now() }
      await deps.cutOff({ tenant, kind: 'kid', id: kid, ...times, reason, by }, signal)
    }
  }

  /** What follows a change. The change itself is done: what fails here is logged, and done again by the timers. */
  async function finish(tenant: string, signal: AbortSignal): Promise<RingReport> {
    const failed = (err: unknown) => log.error({ tenant, err }, 'key change not fully recorded yet')
    await cutOffKilled(tenant, signal).catch(failed)
    await transitions.flush(signal).catch(failed)
    return report(tenant, signal)
  }

  return {
    report: ({ name }, signal) => report(name, signal),

    async rotate({ name }, alg, order, signal) {
      await wish(name, order, `rotate ${alg ?? 'all'}`, signal)
      await keys.rotate(name, alg ?? 'all', order, signal)
      return finish(name, signal)
    },

    async change({ name }, action, kid, order, signal) {
      await wish(name, order, `${action} ${kid}`, signal)
      await keys.change(name, action, kid, order, signal)
      return finish(name, signal)
    },

    async cutOffKilled(tenants, signal) {
      for (const tenant of tenants) await cutOffKilled(tenant, signal)
    },
  }
}
