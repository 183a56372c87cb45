import type { Ledger, LedgerEntry } from '../audit/ledger.ts'
import { newTokenId, type Random } from '../lib/id.ts'
import type { Log } from '../observe/log.ts'
import type { SigningAlgorithm } from './options.ts'
import type { KeyState, Ring, RingKey } from './ring.ts'

/** One key that changed its state. */
export interface KeyTransition {
  readonly kid: string
  readonly alg: SigningAlgorithm
  /** Undefined when the key is new. */
  readonly from: KeyState | undefined
  readonly to: KeyState
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly by: string
  readonly reason: string
}

/** What a change did to each key. */
export function transitionsBetween(before: Ring, after: Ring): readonly KeyTransition[] {
  return after.keys.flatMap((key) => {
    const from = before.keys.find(({ kid }) => kid === key.kid)?.state
    if (from === key.state) return []
    const { kid, alg, state: to, by, reason } = key
    return [{ kid, alg, from, to, at: enteredAt(key), by, reason }]
  })
}

const ENTERED = {
  staged: 'createdAt',
  published: 'publishedAt',
  active: 'activatedAt',
  'verify-only': 'verifyOnlyAt',
  retired: 'retiredAt',
  compromised: 'compromisedAt',
} as const satisfies Record<KeyState, keyof RingKey>

function enteredAt(key: RingKey): number {
  return key[ENTERED[key.state]] ?? key.createdAt
}

/** Writes every transition into the ledger and counts it. */
export interface TransitionRecords {
  /** Takes note of a change that is durable already; no I/O. */
  changed(tenant: string, before: Ring, after: Ring): void
  /**
   * Appends what was noted. Called every second and after every change by hand.
   * @throws {Error} when the ledger does not take an entry; it is tried again at the next call.
   */
  flush(signal: AbortSignal): Promise<void>
}

/** What {@link createTransitionRecords} needs. */
export interface TransitionRecordsDeps {
  readonly ledger: Pick<Ledger, 'append' | 'find'>
  readonly random: Random
  readonly count: (tenant: string, alg: SigningAlgorithm, to: KeyState) => void
  readonly log: Log
}

/** Beyond it the oldest is given up, with a log line: the ring itself still says who changed what and why. */
const MOST_WAITING = 1000

/** Notes of this process: only the replica that made a change writes it down, so that each stands in the ledger once. */
export function createTransitionRecords(deps: TransitionRecordsDeps): TransitionRecords {
  const { ledger, random, count, log } = deps
  const waiting: LedgerEntry[] = []
  let flushing: Promise<void> | undefined
  let doubtful: LedgerEntry | undefined

  async function flush(signal: AbortSignal): Promise<void> {
    for (let [entry] = waiting; entry; [entry] = waiting) {
      // Its answer got lost, perhaps after the commit: appended again it would conflict with itself for ever.
      const isThere =
        entry === doubtful && (await ledger.find(entry.tenant, entry.id, signal)) !== undefined
      doubtful = entry
      if (!isThere) await ledger.append(entry, [], signal)
      doubtful = undefined
      if (waiting[0] === entry) waiting.shift()
    }
  }

  return {
    changed(tenant, before, after) {
      for (const { kid, alg, from, to, at, by, reason } of transitionsBetween(before, after)) {
        count(tenant, alg, to)
        log.info({ tenant, kid, alg, from, to, by, reason, version: after.version }, 'key changed')
        const action = `${alg} key ${from === undefined ? '' : `from ${from} `}to ${to}`
        const entry = { id: newTokenId(random), event: 'key', tenant, at, kid } as const
        waiting.push({ ...entry, details: { action, by, reason } })
        if (waiting.length <= MOST_WAITING) continue
        log.error(
          { entry: waiting.shift() },
          'key change not recorded: the ledger was down too long',
        )
      }
    },

    flush(signal) {
      flushing ??= flush(signal).finally(() => {
        flushing = undefined
      })
      return flushing
    },
  }
}
