/** Rotations by an operator who never waits: the moment a successor may sign, it is made to. */
import type { Rotating } from './rotating.ts'

/**
 * Rotates the keys of these tenants as soon as the server allows it: called again and again. Scheduled rotations come so late that the
 * successor has long been published; here `publishAhead` is all that verifiers get.
 */
export function createHandRotations(
  rotating: Rotating,
  tenants: readonly number[],
  refused: (what: string) => void,
): () => void {
  const busy = new Set<number>()

  async function rotate(tenant: number): Promise<void> {
    busy.add(tenant)
    try {
      await rotating.rotate(tenant)
    } catch (error) {
      refused(`tenant ${tenant}: ${String(error)}`)
    } finally {
      busy.delete(tenant)
    }
  }

  return () => {
    for (const tenant of tenants) {
      const allowedFrom = rotating.rotatableFrom(tenant)
      if (allowedFrom <= Date.now() && !busy.has(tenant)) void rotate(tenant)
    }
  }
}
