import type { Clock } from '../lib/clock.ts'
import type { Log } from '../observe/log.ts'
import type { KeyRingFacts } from '../observe/metrics.ts'
import type { Keys } from './keys.ts'
import type { SigningAlgorithm } from './options.ts'
import type { Custody } from './private-halves.ts'
import { activeKey, dueFrom, publishedKeys, type Ring, type RingPolicy } from './ring.ts'

/** What {@link createKeyWatch} needs. */
export interface KeyWatchDeps {
  readonly keys: Pick<Keys, 'list'>
  readonly custody: Pick<Custody, 'check'>
  readonly clock: Clock
  readonly log: Log
  readonly metrics: {
    keyStoreUp(up: boolean): void
    keyRing(tenant: string, alg: SigningAlgorithm, facts: KeyRingFacts): void
  }
}

/**
 * Looks after what operators must be woken for: a key store that does not answer (nothing fails yet, as keys are in memory), a rotation that
 * is overdue, a successor that is missing. Called every few seconds.
 */
export function createKeyWatch(deps: KeyWatchDeps, policy: () => RingPolicy) {
  const { keys, custody, clock, log, metrics } = deps
  let up = true

  return async (tenants: Iterable<string>, signal: AbortSignal): Promise<void> => {
    for (const tenant of tenants) {
      const ring: Ring = { version: 0, keys: keys.list(tenant) }
      const signed = ring.keys.filter(({ activatedAt }) => activatedAt !== undefined)
      for (const alg of new Set(signed.map((key) => key.alg))) {
        // Also of an algorithm that nothing signs for any more: its gauges must not go on saying what was true before the kill.
        const active = activeKey(ring, alg)
        metrics.keyRing(tenant, alg, {
          successors: publishedKeys(ring, alg).length,
          signsForSeconds: active ? seconds((active.signUntil ?? 0) - clock.now()) : 0,
          overdueSeconds: active ? seconds(clock.now() - dueFrom(active, policy())) : 0,
        })
      }
    }
    let failure: unknown
    await custody.check(signal).catch((error: unknown) => {
      failure = error
    })
    const isUp = failure === undefined
    metrics.keyStoreUp(isUp)
    if (up && !isUp)
      log.error({ err: failure }, 'key store does not answer; signing goes on from memory')
    if (!up && isUp) log.info({}, 'key store answers again')
    up = isUp
  }
}

function seconds(milliseconds: number): number {
  return Math.max(0, Math.floor(milliseconds / 1000))
}
