import {
  createPrivateKey,
  type KeyObject,
  type SignKeyObjectInput,
  sign as signWith,
} from 'node:crypto'
import type { LocalSigner, SignerKey } from '../../keys/signer.ts'
import { Refusal } from '../../lib/refusal.ts'
import { RECIPES, type Recipe } from './algorithms.ts'

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

// ECDSA signatures come out of OpenSSL as DER (`SEQUENCE { INTEGER r, INTEGER s }`); JWS wants the two numbers side by side at
// fixed length (RFC 7518 §3.4). Node can convert (`dsaEncoding: 'ieee-p1363'`), but on Node 24 that doubles the cost of an ES256
// signature, so it is done here.

const SEQUENCE = 0x30
const INTEGER = 0x02

/**
 * `R‖S` of a DER signature, each number `size` bytes, left-padded with zeros.
 *
 * Strict: minimal positive integers, nothing before, between or after. Lengths are one byte, which is enough for a `size`
 * up to 61 (P-384 has 48).
 * A signature that is not exactly so is a bug below us and must not leave the house.
 *
 * @throws {TypeError} when `der` is anything else.
 */
export function derToRaw(der: Uint8Array, size: number): Buffer {
  const raw = Buffer.alloc(2 * size)
  if (der[0] !== SEQUENCE || der[1] !== der.length - 2) throw malformedDer()
  const afterR = copyInteger(der, 2, raw, 0, size)
  const afterS = copyInteger(der, afterR, raw, size, size)
  if (afterS !== der.length) throw malformedDer()
  return raw
}

/** Copies the INTEGER that starts at `from` into its field of `raw`; gives the position after it. */
function copyInteger(
  der: Uint8Array,
  from: number,
  raw: Buffer,
  field: number,
  size: number,
): number {
  const length = der[from + 1] ?? 0
  const end = from + 2 + length
  // A length that reaches past the end shows at the caller: nothing is left for s, or the end is not where it must be.
  if (der[from] !== INTEGER || length === 0) throw malformedDer()

  let start = from + 2
  const first = der[start] ?? 0
  if (first > 0x7f) throw malformedDer() // negative
  if (first === 0) {
    // A leading zero is there to keep a high bit from meaning "negative", or the number is 0, which no signature has.
    if (length === 1 || (der[start + 1] ?? 0) <= 0x7f) throw malformedDer()
    start += 1
  }
  if (end - start > size) throw malformedDer()
  raw.set(der.subarray(start, end), field + size - (end - start))
  return end
}

function malformedDer(): TypeError {
  return new TypeError('malformed DER signature')
}
