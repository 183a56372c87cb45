import {
  createPrivateKey,
  type KeyObject,
  type SignKeyObjectInput,
  sign as signWith,
} from 'node:crypto'
import type { LocalSigner, SignerKey } from '../../keys/signer.ts'
import { Refusal } from '../../lib/refusal.ts'
import { RECIPES, type Recipe } from './algorithms.ts'
import { derToRaw } from './ecdsa.ts'

/** A private key ready to sign. It lives in this file's closure only: no listing, no export. */
interface Loaded {
  readonly alg: SignerKey['alg']
  readonly recipe: Recipe
  readonly input: KeyObject | SignKeyObjectInput
}

/**
 * Signs in this process, with keys held as `KeyObject`s outside the JavaScript heap.
 *
 * ES256 and EdDSA answer at once, on the loop; ES384, RS256 and PS256 answer with a promise from the libuv pool.
 */
export function createLocalSigner(): LocalSigner {
  // By tenant first: a key can only be asked for in the name of the tenant it was loaded for.
  const tenants = new Map<string, Map<string, Loaded>>()

  return {
    load(key, pkcs8) {
      const loaded = { alg: key.alg, ...importPrivateKey(key, pkcs8.reveal()) }
      const keys = tenants.get(key.tenant) ?? new Map<string, Loaded>()
      tenants.set(key.tenant, keys.set(key.kid, loaded))
    },

    unload({ tenant, kid }) {
      tenants.get(tenant)?.delete(kid)
    },

    sign(key, signingInput) {
      const loaded = tenants.get(key.tenant)?.get(key.kid)
      if (loaded?.alg !== key.alg) throw unavailable(`no ${key.alg} key ${key.kid} is loaded`)

      const bytes = Buffer.from(signingInput, 'latin1')
      return loaded.recipe.slow ? signInPool(loaded, bytes) : signNow(loaded, bytes)
    },
  }
}

function importPrivateKey(key: SignerKey, der: Buffer): Pick<Loaded, 'recipe' | 'input'> {
  const recipe = RECIPES[key.alg]
  const imported = readPrivateKey(der)
  if (!recipe.fits(imported)) throw new TypeError(`key ${key.kid} is no ${key.alg} private key`)
  return { recipe, input: recipe.input(imported) }
}

function readPrivateKey(der: Buffer): KeyObject {
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  } catch {
    // Without the cause: OpenSSL's errors have no key bytes today, and nobody promises that they never will.
    throw new TypeError('not a PKCS#8 private key')
  } finally {
    der.fill(0)
  }
}

function signNow({ recipe, input }: Loaded, bytes: Buffer): Buffer {
  try {
    return toJws(recipe, signWith(recipe.digest, bytes, input))
  } catch (error) {
    throw unavailable(error)
  }
}

function signInPool({ recipe, input }: Loaded, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    signWith(recipe.digest, bytes, input, (failure, signature) => {
      try {
        if (failure) throw failure
        resolve(toJws(recipe, signature))
      } catch (error) {
        reject(unavailable(error))
      }
    })
  })
}

function toJws({ coordinateBytes }: Recipe, signature: Buffer): Buffer {
  return coordinateBytes === undefined ? signature : derToRaw(signature, coordinateBytes)
}

function unavailable(cause: unknown): Refusal {
  return new Refusal(
    'signer_unavailable',
    'The token could not be signed. Try again shortly; if it lasts, look at the state of the signing keys.',
    { cause, retryAfterSeconds: 1 },
  )
}
