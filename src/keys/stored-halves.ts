import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { Secret } from '../lib/secret.ts'
import { exportPublicJwk, importPublicJwk, thumbprint } from './jwk.ts'
import type { Custody } from './private-halves.ts'
import type { RingKey } from './ring.ts'
import type { GenerateKeyPair, LocalSigner } from './signer.ts'
import type { PrivateKeyStore } from './store.ts'

/** What {@link createStoredHalves} needs. */
export interface StoredHalvesDeps {
  readonly privateKeys: PrivateKeyStore
  readonly signer: LocalSigner
  readonly generateKeyPair: GenerateKeyPair
}

/** Private halves that are made here, kept in a store, and signed with in the memory of this process. */
export function createStoredHalves(deps: StoredHalvesDeps): Custody {
  const { privateKeys, signer, generateKeyPair } = deps
  return {
    signsByStore: false,
    check: (signal) => privateKeys.check(signal),

    async make(tenant, alg) {
      const { publicKey, pkcs8 } = await generateKeyPair(alg)
      const publicJwk = exportPublicJwk(publicKey)
      const kid = thumbprint(publicJwk)
      const wipe = () => pkcs8.reveal().fill(0)
      return {
        key: { kid, alg, publicJwk },
        keep: (signal) => privateKeys.put(tenant, kid, pkcs8, signal).finally(wipe),
        forget: () => Promise.resolve(wipe()).then(() => undefined),
      }
    },

    async load(tenant, key, signal) {
      const pkcs8 = await privateKeys.get(tenant, key.kid, signal)
      if (!pkcs8) throw new Error('it is not in the store')
      try {
        // A wrong private half would make tokens that every verifier refuses, and the first to notice would be users.
        if (!isPrivateHalfOf(key, pkcs8)) throw new Error('it does not belong to the public half')
        signer.load({ tenant, kid: key.kid, alg: key.alg }, pkcs8)
      } finally {
        pkcs8.reveal().fill(0)
      }
    },

    unload: (tenant, kid) => signer.unload({ tenant, kid }),
    destroy: (tenant, { kid }, signal) => privateKeys.destroy(tenant, kid, signal),
  }
}

function isPrivateHalfOf(key: RingKey, pkcs8: Secret<Buffer>): boolean {
  try {
    const given = createPrivateKey({ key: pkcs8.reveal(), format: 'der', type: 'pkcs8' })
    return createPublicKey(given).equals(importPublicJwk(key.publicJwk))
  } catch {
    return false
  }
}
