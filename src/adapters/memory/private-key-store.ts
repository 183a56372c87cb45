import type { PrivateKeyStore } from '../../keys/store.ts'
import type { Secret } from '../../lib/secret.ts'

function refuseAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Error('The call was given up before it began.')
}

const nameOf = (tenant: string, kid: string) => JSON.stringify([tenant, kid])

/** Private halves in memory, for tests and simulations. */
export function createMemoryPrivateKeyStore(): PrivateKeyStore {
  const keys = new Map<string, Secret<Buffer>>()
  return {
    async put(tenant, kid, pkcs8, signal) {
      refuseAborted(signal)
      const name = nameOf(tenant, kid)
      if (keys.has(name))
        throw new Error(
          `A private key with kid ${kid} is kept already; a kid is never overwritten.`,
        )
      keys.set(
        name,
        pkcs8.map((der) => Buffer.from(der)),
      )
    },

    async get(tenant, kid, signal) {
      refuseAborted(signal)
      // A copy: callers wipe what they were given.
      return keys.get(nameOf(tenant, kid))?.map((der) => Buffer.from(der))
    },

    async destroy(tenant, kid, signal) {
      refuseAborted(signal)
      const name = nameOf(tenant, kid)
      keys.get(name)?.reveal().fill(0)
      keys.delete(name)
    },

    async check(signal) {
      refuseAborted(signal)
    },
  }
}
