import type { Clock } from '../lib/clock.ts'
import type { SigningAlgorithm } from './options.ts'
import type { MadeKey, PrivateHalves } from './private-halves.ts'
import { discard, publish, type Ring, type RingChange, type RingPolicy, stage } from './ring.ts'

/** What {@link createKeySupply} needs. */
export interface KeySupplyDeps {
  readonly halves: PrivateHalves
  readonly clock: Clock
  /** Writes what a step makes of the newest ring; a step that returns the ring as it is writes nothing. */
  readonly commit: (step: (newest: Ring) => Ring, signal: AbortSignal) => Promise<Ring>
}

type ChangedBy = Pick<RingChange, 'by' | 'reason'>

/** Brings new keys into the ring of `tenant`. */
export function createKeySupply(
  { halves, clock, commit }: KeySupplyDeps,
  tenant: string,
  policy: () => RingPolicy,
) {
  /** Takes staged keys out of the ring's life. What fails here is done when the keys have been staged for too long. */
  async function giveUp(kids: readonly string[], reason: string, signal: AbortSignal) {
    const gone = { now: clock.now(), by: 'rolemint', reason }
    await commit((newest) => {
      const staged = newest.keys.filter(
        ({ kid, state }) => kids.includes(kid) && state === 'staged',
      )
      if (staged.length === 0) return newest
      return asOneChange(
        newest,
        staged.reduce((ring, { kid }) => discard(ring, kid, gone), newest),
      )
    }, signal).catch(() => undefined)
  }

  /**
   * Makes one key for each entry of `algorithms` and publishes it: written into the ring as staged, kept, then published. A crash at any point
   * leaves a staged key that every replica knows of and clears up. Keys that `wanted` no longer asks for at the end are given up.
   */
  async function supply(
    algorithms: readonly SigningAlgorithm[],
    wanted: (newest: Ring, alg: SigningAlgorithm) => boolean,
    changedBy: ChangedBy,
    signal: AbortSignal,
  ): Promise<Ring> {
    const made = await halves.make(tenant, algorithms, signal)
    const keys = made.map(({ key }) => key)
    const change = () => ({ ...changedBy, now: clock.now() })
    await commit((newest) => stage(newest, keys, change()), signal).catch(
      async (error: unknown) => {
        await forget(made, signal)
        throw error
      },
    )
    try {
      await Promise.all(made.map((one) => one.keep(signal)))
      const faster = 'another replica was faster'
      return await commit((newest) => {
        const next = keys.reduce((ring, { kid, alg }) => {
          if (wanted(ring, alg)) return publish(ring, kid, policy(), change())
          return discard(ring, kid, { ...change(), reason: faster })
        }, newest)
        return asOneChange(newest, next)
      }, signal)
    } catch (error) {
      const kids = keys.map(({ kid }) => kid)
      await giveUp(kids, 'its private half could not be kept', signal)
      throw error
    }
  }

  return { supply, giveUp }
}

async function forget(made: readonly MadeKey[], signal: AbortSignal): Promise<void> {
  await Promise.allSettled(made.map((one) => one.forget(signal)))
}

/** Several transitions that are written together count as one version. */
function asOneChange(before: Ring, after: Ring): Ring {
  return { ...after, version: before.version + 1 }
}
