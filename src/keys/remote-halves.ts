import { exportPublicJwk, importPublicJwk, thumbprint } from './jwk.ts'
import type { Custody } from './private-halves.ts'
import type { RingKey } from './ring.ts'
import type { RemoteSigner } from './signer.ts'

/** Private halves that a remote signer makes, keeps and signs with; none of them ever comes here. */
export function createRemoteHalves(signer: RemoteSigner): Custody {
  return {
    signsByStore: true,
    check: (signal) => signer.check(signal),

    async make(tenant, alg, signal) {
      const { publicKey, handle } = await signer.create(tenant, alg, signal)
      const publicJwk = exportPublicJwk(publicKey)
      return {
        key: { kid: thumbprint(publicJwk), alg, publicJwk, handle },
        keep: () => Promise.resolve(), // it was born there
        forget: (until) => signer.destroy(handle, until),
      }
    },

    async load(tenant, key, signal) {
      const handle = handleOf(key)
      if (!(await signer.holds(handle, importPublicJwk(key.publicJwk), signal)))
        throw new Error('the remote signer does not hold it')
      signer.bind({ tenant, kid: key.kid, alg: key.alg }, handle)
    },

    unload: (tenant, kid) => signer.unbind({ tenant, kid }),
    destroy: (_tenant, key, signal) => signer.destroy(handleOf(key), signal),
  }
}

function handleOf({ handle }: RingKey): string {
  if (handle === undefined)
    throw new Error('it is no key of the remote signer, but of a store of private keys')
  return handle
}
