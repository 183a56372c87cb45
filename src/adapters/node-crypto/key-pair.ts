import { createPublicKey, generateKeyPair as generate } from 'node:crypto'
import type { SigningAlgorithm } from '../../keys/options.ts'
import type { GenerateKeyPair } from '../../keys/signer.ts'
import { Secret } from '../../lib/secret.ts'
import { RSA_BITS } from './algorithms.ts'

/** Makes key pairs with OpenSSL in the libuv pool: an RSA key takes up to a second and must not hold the loop. */
export const generateKeyPair: GenerateKeyPair = (alg) =>
  new Promise((resolve, reject) => {
    MAKERS[alg]((error, spki, pkcs8) => {
      if (error) {
        reject(error)
        return
      }
      const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' })
      resolve({ publicKey, pkcs8: new Secret(pkcs8) })
    })
  })

type Done = (error: Error | null, spki: Buffer, pkcs8: Buffer) => void

// Both halves leave OpenSSL once, as DER: no private KeyObject is left behind that nobody could overwrite.
const DER = {
  publicKeyEncoding: { type: 'spki', format: 'der' },
  privateKeyEncoding: { type: 'pkcs8', format: 'der' },
} as const

const rsa = (done: Done): void =>
  generate('rsa', { modulusLength: RSA_BITS, publicExponent: 65537, ...DER }, done)
const ec =
  (namedCurve: string) =>
  (done: Done): void =>
    generate('ec', { namedCurve, ...DER }, done)

const MAKERS: Readonly<Record<SigningAlgorithm, (done: Done) => void>> = {
  ES256: ec('P-256'),
  ES384: ec('P-384'),
  RS256: rsa,
  PS256: rsa,
  EdDSA: (done) => generate('ed25519', DER, done),
}
