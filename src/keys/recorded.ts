import type { Ledger } from '../audit/ledger.ts'
import type { Clock } from '../lib/clock.ts'
import { newTokenId, type Random } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Keys } from './keys.ts'
import type { SigningAlgorithm } from './options.ts'
import type { Ring } from './ring.ts'
import type { RingStore } from './store.ts'

/** A rotation as an operator asks for it. */
export interface RotationOrder {
  /** Left out: every algorithm of the ring. */
  readonly alg?: SigningAlgorithm
  readonly reason: string
  readonly by: string
  /** Request id, for the ledger entry. */
  readonly traceId: string
}

/** What a recorded change is made with. */
export interface RecordedKeysDeps {
  readonly keys: Keys
  readonly rings: RingStore
  readonly ledger: Ledger
  readonly clock: Clock
  readonly random: Random
}

/** Key changes by hand, each in the ledger before and after: who, why, and what came of it. */
export function createRecordedKeys({ keys, rings, ledger, clock, random }: RecordedKeysDeps) {
  async function record(
    tenant: string,
    order: RotationOrder,
    action: string,
    kid: string | undefined,
    signal: AbortSignal,
  ) {
    const entry = {
      id: newTokenId(random),
      event: 'key' as const,
      tenant,
      at: clock.now(),
      traceId: order.traceId,
      ...(kid === undefined ? {} : { kid }),
      details: { action, by: order.by, reason: order.reason },
    }
    await ledger.append(entry, [], signal).catch((cause: unknown) => {
      throw new Refusal(
        'ledger_unavailable',
        'The change could not be recorded; look at the keys before trying again.',
        {
          cause,
          retryAfterSeconds: 5,
        },
      )
    })
  }

  /** The ring as it is stored now. @throws {Refusal} `signer_unavailable` when there is none. */
  async function stored(tenant: string, signal: AbortSignal): Promise<Ring> {
    const ring = await rings.load(tenant, signal)
    if (!ring) throw new Refusal('signer_unavailable', 'The tenant has no key ring yet.')
    return ring
  }

  return {
    list: (tenant: { readonly name: string }, signal: AbortSignal) => stored(tenant.name, signal),

    /**
     * Rotates. The wish is recorded first, so that nothing changes while the ledger is down.
     * @throws {RingError} when the ring does not allow it now. @throws {Refusal} `ledger_unavailable`, `signer_unavailable`.
     */
    async rotate(
      tenant: { readonly name: string },
      order: RotationOrder,
      signal: AbortSignal,
    ): Promise<Ring> {
      await record(tenant.name, order, `rotate ${order.alg ?? 'all'} asked`, undefined, signal)
      const rotations = await keys.rotate(tenant.name, order.alg ?? 'all', order, signal)
      for (const { alg, active, previous, successor } of rotations) {
        const action = `rotated ${alg}: ${active} signs, ${previous} only verifies, ${successor} is published`
        await record(tenant.name, order, action, active, signal)
      }
      return stored(tenant.name, signal)
    },
  }
}
