import type { Clock } from '../lib/clock.ts'
import type { Log } from '../observe/log.ts'
import type { SigningAlgorithm } from './options.ts'
import type { NewKey, Ring, RingKey } from './ring.ts'

/**
 * The private half of a key that signs or will sign could not be used. Never answered by a new key: the public half of
 * the lost one is what verifiers have.
 */
export class PrivateHalfError extends Error {
  override readonly name = 'PrivateHalfError'
  readonly kid: string

  constructor(tenant: string, key: Pick<RingKey, 'kid' | 'alg' | 'state'>, cause: unknown) {
    const why = cause instanceof Error ? cause.message.replace(/\.$/, '') : 'unknown reason'
    super(
      `The private half of the ${key.state} ${key.alg} key ${key.kid} of tenant ${tenant} could not be loaded: ${why}. ` +
        'Give the key-encryption key that sealed it, or restore the store that holds it.',
      { cause },
    )
    this.kid = key.kid
  }
}

/** A key that was made and that nobody knows of yet. Exactly one of the two is called, once. */
export interface MadeKey {
  readonly key: NewKey
  /** Puts the private half into safe keeping: durable on resolve. When it rejects, it may have been kept all the same. */
  keep(signal: AbortSignal): Promise<void>
  /** Wipes it. A failure leaves behind a key that no ring names, and is logged. */
  forget(signal: AbortSignal): Promise<void>
}

/** Where private halves live: in a store of ours and the memory of this process, or in a remote signer that keeps them. */
export interface Custody {
  make(tenant: string, alg: SigningAlgorithm, signal: AbortSignal): Promise<MadeKey>
  /** Makes the signer able to sign with the key. Rejects when its private half is not there, is another's, or gave no answer. */
  load(tenant: string, key: RingKey, signal: AbortSignal): Promise<void>
  /** Makes the signer forget the key. */
  unload(tenant: string, kid: string): void
  /** Makes the private half unrecoverable. Resolves also when it was gone. */
  destroy(tenant: string, key: RingKey, signal: AbortSignal): Promise<void>
  /** True when destroying ends signing at once, so that it must wait for what is under way. */
  readonly signsByStore: boolean
  /** Rejects when private halves could not be read or written now. Touches no key. */
  check(signal: AbortSignal): Promise<void>
}

/** Keeps signer and store in step with the ring, and destroys what may no longer sign. */
export interface PrivateHalves extends Pick<Custody, 'check'> {
  /** New keys, one for each entry of `algorithms`. All of them or none. */
  make(
    tenant: string,
    algorithms: readonly SigningAlgorithm[],
    signal: AbortSignal,
  ): Promise<readonly MadeKey[]>
  /** Gives the signer every key of the ring that signs or will sign and is not loaded yet; returns those that failed. */
  load(tenant: string, ring: Ring, signal: AbortSignal): Promise<readonly PrivateHalfError[]>
  /** Takes killed keys out of the signer at once. No I/O. */
  dropKilled(tenant: string, ring: Ring): void
  /** Destroys the private half of every key of the ring that may no longer sign. What failed is tried again at the next call. */
  destroySpent(tenant: string, ring: Ring, signal: AbortSignal): Promise<void>
  /** True when the signer holds the key. */
  isLoaded(tenant: string, kid: string): boolean
}

/** What {@link createPrivateHalves} needs. */
export interface PrivateHalvesDeps {
  readonly custody: Custody
  readonly clock: Clock
  readonly log?: Log | undefined
}

/**
 * How long the signer's memory outlives the stored private half. A request that was recorded under the old key when
 * the rotation came still has to be signed with it; without this every rotation would fail the exchanges under way.
 */
const UNDER_WAY_MILLISECONDS = 10_000

/** After this a retired key was destroyed long ago, and a process that starts does not ask for it again. */
const FORGOTTEN_MILLISECONDS = 90 * 86_400_000

/** What this process has done for one tenant, by kid. */
interface Held {
  readonly loaded: Set<string>
  /** Never to be loaded again. */
  readonly killed: Set<string>
  /** When to take a key out of the signer (milliseconds since the epoch). */
  readonly leaving: Map<string, number>
  readonly destroyed: Set<string>
  /** Failures that were logged, so that a store that stays down is not a line a second. */
  readonly reported: Set<string>
}

/** Private halves of all tenants of this process. */
export function createPrivateHalves({ custody, clock, log }: PrivateHalvesDeps): PrivateHalves {
  const tenants = new Map<string, Held>()
  const heldBy = (tenant: string): Held => {
    const held = tenants.get(tenant) ?? newHeld()
    tenants.set(tenant, held)
    return held
  }

  function unload(tenant: string, kid: string, held: Held): void {
    custody.unload(tenant, kid)
    held.loaded.delete(kid)
    held.leaving.delete(kid)
  }

  /** True when nothing signs with the key any more. */
  function letGo(tenant: string, kid: string, held: Held): boolean {
    if (!held.loaded.has(kid)) return true
    const at = held.leaving.get(kid) ?? clock.now() + UNDER_WAY_MILLISECONDS
    held.leaving.set(kid, at)
    if (clock.now() < at) return false
    unload(tenant, kid, held)
    return true
  }

  async function destroy(tenant: string, key: RingKey, held: Held, signal: AbortSignal) {
    const { kid } = key
    try {
      await custody.destroy(tenant, key, signal)
      held.destroyed.add(kid)
    } catch (err) {
      reportOnce(held, kid, () =>
        log?.error({ tenant, kid, err }, 'private half not destroyed yet; it will be tried again'),
      )
    }
  }

  /** A remote signer may keep what could not be deleted, and no ring names it: the log has to. */
  function told(tenant: string, made: MadeKey): MadeKey {
    return {
      ...made,
      forget: (signal) =>
        made.forget(signal).catch((err: unknown) => {
          const { kid, handle } = made.key
          log?.warn({ tenant, kid, handle, err }, 'a key that no ring names was left behind')
        }),
    }
  }

  return {
    check: (signal) => custody.check(signal),

    async make(tenant, algorithms, signal) {
      const made = await Promise.allSettled(
        algorithms.map((alg) => custody.make(tenant, alg, signal)),
      )
      const failed = made.find((one) => one.status === 'rejected')
      const keys = made.flatMap((one) =>
        one.status === 'fulfilled' ? [told(tenant, one.value)] : [],
      )
      if (!failed) return keys
      await Promise.allSettled(keys.map((key) => key.forget(signal)))
      throw failed.reason
    },

    async load(tenant, ring, signal) {
      const held = heldBy(tenant)
      const failures: PrivateHalfError[] = []
      for (const key of ring.keys) {
        if ((key.state !== 'active' && key.state !== 'published') || held.loaded.has(key.kid))
          continue
        try {
          await custody.load(tenant, key, signal)
          held.loaded.add(key.kid)
          held.reported.delete(key.kid)
          // A store may take its time: the kill that was heard of meanwhile found nothing to drop.
          if (held.killed.has(key.kid)) unload(tenant, key.kid, held)
        } catch (cause) {
          const err = new PrivateHalfError(tenant, key, cause)
          failures.push(err)
          reportOnce(held, key.kid, () =>
            log?.error({ tenant, kid: key.kid, err }, 'signing key not loaded'),
          )
        }
      }
      return failures
    },

    dropKilled(tenant, ring) {
      const held = heldBy(tenant)
      for (const { kid, state } of ring.keys) {
        if (state !== 'compromised') continue
        held.killed.add(kid)
        if (held.loaded.has(kid)) unload(tenant, kid, held)
      }
    },

    async destroySpent(tenant, ring, signal) {
      const held = heldBy(tenant)
      const forgotten = clock.now() - FORGOTTEN_MILLISECONDS
      for (const key of ring.keys) {
        const { kid, state, retiredAt = Number.POSITIVE_INFINITY } = key
        if (state === 'staged' || state === 'published' || state === 'active') continue
        const unused = letGo(tenant, kid, held)
        if (held.destroyed.has(kid) || retiredAt < forgotten) continue
        if (unused || !custody.signsByStore) await destroy(tenant, key, held, signal)
      }
    },

    isLoaded: (tenant, kid) => tenants.get(tenant)?.loaded.has(kid) ?? false,
  }
}

function newHeld(): Held {
  return {
    loaded: new Set(),
    killed: new Set(),
    leaving: new Map(),
    destroyed: new Set(),
    reported: new Set(),
  }
}

function reportOnce(held: Held, kid: string, report: () => void): void {
  if (held.reported.has(kid)) return
  held.reported.add(kid)
  report()
}
