import type { Ring } from '../../keys/ring.ts'
import type { RingStore } from '../../keys/store.ts'

function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('The call was given up before it began.')
}

/** Key rings in memory, for tests and simulations. */
export function createMemoryRingStore(): RingStore {
  // As JSON, so that nobody can change a stored ring through the object it came from.
  const rings = new Map<string, { readonly version: number; readonly document: string }>()
  return {
    async load(tenant, signal) {
      refuseAborted(signal)
      const kept = rings.get(tenant)
      const ring: Ring | undefined = kept === undefined ? undefined : JSON.parse(kept.document)
      return ring
    },

    async compareAndSet(tenant, expectedVersion, next, signal) {
      refuseAborted(signal)
      if (next.version !== expectedVersion + 1)
        throw new RangeError(
          `A ring of version ${next.version} cannot follow version ${expectedVersion}.`,
        )
      if ((rings.get(tenant)?.version ?? 0) !== expectedVersion) return false
      rings.set(tenant, { version: next.version, document: JSON.stringify(next) })
      return true
    },
  }
}
