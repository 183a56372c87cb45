import { generateKeyPair } from '../../src/adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from '../../src/adapters/node-crypto/local-signer.ts'
import { exportPublicJwk, thumbprint } from '../../src/keys/jwk.ts'
import { signerContract } from './signer.ts'

signerContract('local signer', async () => {
  const signer = createLocalSigner()
  return {
    signer,
    async makeKey(tenant, alg) {
      const { publicKey, pkcs8 } = await generateKeyPair(alg)
      const key = { tenant, kid: thumbprint(exportPublicJwk(publicKey)), alg }
      signer.load(key, pkcs8)
      return [key, publicKey]
    },
    async takeAway(key) {
      signer.unload(key)
    },
    async close() {},
  }
})
