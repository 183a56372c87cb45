import { createPrivateKey, createPublicKey } from 'node:crypto'
import type { Clock } from '../lib/clock.ts'
import type { Secret } from '../lib/secret.ts'
import type { Log } from '../observe/log.ts'
import { exportPublicJwk, importPublicJwk, thumbprint } from './jwk.ts'
import type { SigningAlgorithm } from './options.ts'
import type { NewKey, Ring, RingKey } from './ring.ts'
import type { GenerateKeyPair, LocalSigner } from './signer.ts'
import type { PrivateKeyStore } from './store.ts'

/**
 * The private half of a key that signs or will sign could not be used. Never answered by a new key: the public half of
 * the lost one is what verifiers have.
 */
export class PrivateHalfError extends Error {
  override readonly name = 'PrivateHalfError'
  readonly kid: string

  constructor(tenant: string, key: Pick<RingKey, 'kid' | 'alg' | 'state'>, cause: unknown) {
    const why = cause instanceof Error ? cause.message.replace(/\.$/, '') : 'unknown reason'
    super(
      `The private half of the ${key.state} ${key.alg} key ${key.kid} of tenant ${tenant} could not be loaded: ${why}. ` +
        'Give the key-encryption key that sealed it, or restore the store that holds it.',
      { cause },
    )
    this.kid = key.kid
  }
}

/** Makes private halves, keeps signer and store in step with the ring, and destroys what may no longer sign. */
export interface PrivateHalves {
  /** New keys, one for each entry of `algorithms`; their private halves are durable. All of them or none. */
  make(
    tenant: string,
    algorithms: readonly SigningAlgorithm[],
    signal: AbortSignal,
  ): Promise<readonly NewKey[]>
  /** Destroys private halves that no ring will ever name. A failure is logged: an orphan is sealed, and signs nothing. */
  discard(tenant: string, kids: readonly string[], signal: AbortSignal): Promise<void>
  /** Gives the signer every key of the ring that signs or will sign and is not loaded yet; returns those that failed. */
  load(tenant: string, ring: Ring, signal: AbortSignal): Promise<readonly PrivateHalfError[]>
  /** Destroys the private half of every key of the ring that may no longer sign. What failed is tried again at the next call. */
  destroySpent(tenant: string, ring: Ring, signal: AbortSignal): Promise<void>
  /** True when the signer holds the key. */
  isLoaded(tenant: string, kid: string): boolean
}

/** What {@link createPrivateHalves} needs. */
export interface PrivateHalvesDeps {
  readonly privateKeys: PrivateKeyStore
  readonly signer: LocalSigner
  readonly generateKeyPair: GenerateKeyPair
  readonly clock: Clock
  readonly log?: Log | undefined
}

/**
 * How long the signer's memory outlives the stored private half. A request that was recorded under the old key when
 * the rotation came still has to be signed with it; without this every rotation would fail the exchanges under way.
 */
const UNDER_WAY_MILLISECONDS = 10_000

/** What this process has done for one tenant, by kid. */
interface Held {
  readonly loaded: Set<string>
  /** When to take a key out of the signer (milliseconds since the epoch). */
  readonly leaving: Map<string, number>
  readonly destroyed: Set<string>
  /** Failures that were logged, so that a store that stays down is not a line a second. */
  readonly reported: Set<string>
}

/** Private halves of all tenants of this process. */
export function createPrivateHalves(deps: PrivateHalvesDeps): PrivateHalves {
  const { privateKeys, signer, clock, log } = deps
  const tenants = new Map<string, Held>()
  const heldBy = (tenant: string): Held => {
    const held = tenants.get(tenant) ?? newHeld()
    tenants.set(tenant, held)
    return held
  }

  async function discard(tenant: string, kids: readonly string[], signal: AbortSignal) {
    for (const kid of kids) {
      await privateKeys.destroy(tenant, kid, signal).catch((err: unknown) => {
        log?.warn({ tenant, kid, err }, 'orphan private half left in the store')
      })
    }
  }

  async function makeOne(
    tenant: string,
    alg: SigningAlgorithm,
    signal: AbortSignal,
  ): Promise<NewKey> {
    const { publicKey, pkcs8 } = await deps.generateKeyPair(alg)
    const publicJwk = exportPublicJwk(publicKey)
    const kid = thumbprint(publicJwk)
    try {
      await privateKeys.put(tenant, kid, pkcs8, signal)
      return { kid, alg, publicJwk }
    } catch (error) {
      // It may have been kept all the same, and no ring names it yet.
      await discard(tenant, [kid], signal)
      throw error
    } finally {
      pkcs8.reveal().fill(0)
    }
  }

  async function destroy(tenant: string, kid: string, held: Held, signal: AbortSignal) {
    try {
      await privateKeys.destroy(tenant, kid, signal)
      held.destroyed.add(kid)
    } catch (err) {
      reportOnce(held, kid, () =>
        log?.error({ tenant, kid, err }, 'private half not destroyed yet; it will be tried again'),
      )
    }
  }

  function letGo(tenant: string, kid: string, held: Held): void {
    if (!held.loaded.has(kid)) return
    const at = held.leaving.get(kid) ?? clock.now() + UNDER_WAY_MILLISECONDS
    held.leaving.set(kid, at)
    if (clock.now() < at) return
    signer.unload({ tenant, kid })
    held.loaded.delete(kid)
    held.leaving.delete(kid)
  }

  return {
    async make(tenant, algorithms, signal) {
      const made = await Promise.allSettled(algorithms.map((alg) => makeOne(tenant, alg, signal)))
      const keys = made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      const failed = made.find((one) => one.status === 'rejected')
      if (!failed) return keys
      const orphans = keys.map(({ kid }) => kid)
      await discard(tenant, orphans, signal)
      throw failed.reason
    },

    discard,

    async load(tenant, ring, signal) {
      const held = heldBy(tenant)
      const failures: PrivateHalfError[] = []
      for (const key of ring.keys) {
        if ((key.state !== 'active' && key.state !== 'published') || held.loaded.has(key.kid))
          continue
        try {
          await loadOne(deps, tenant, key, signal)
          held.loaded.add(key.kid)
          held.reported.delete(key.kid)
        } catch (cause) {
          const err = new PrivateHalfError(tenant, key, cause)
          failures.push(err)
          reportOnce(held, key.kid, () =>
            log?.error({ tenant, kid: key.kid, err }, 'signing key not loaded'),
          )
        }
      }
      return failures
    },

    async destroySpent(tenant, ring, signal) {
      const held = heldBy(tenant)
      for (const { kid, state } of ring.keys) {
        if (state === 'staged' || state === 'published' || state === 'active') continue
        letGo(tenant, kid, held)
        if (!held.destroyed.has(kid)) await destroy(tenant, kid, held, signal)
      }
    },

    isLoaded: (tenant, kid) => tenants.get(tenant)?.loaded.has(kid) ?? false,
  }
}

async function loadOne(
  { privateKeys, signer }: PrivateHalvesDeps,
  tenant: string,
  key: RingKey,
  signal: AbortSignal,
): Promise<void> {
  const pkcs8 = await privateKeys.get(tenant, key.kid, signal)
  if (!pkcs8) throw new Error('it is not in the store')
  try {
    // A wrong private half would make tokens that every verifier refuses, and the first to notice would be users.
    if (!isPrivateHalfOf(key, pkcs8)) throw new Error('it does not belong to the public half')
    signer.load({ tenant, kid: key.kid, alg: key.alg }, pkcs8)
  } finally {
    pkcs8.reveal().fill(0)
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

function newHeld(): Held {
  return { loaded: new Set(), leaving: new Map(), destroyed: new Set(), reported: new Set() }
}

function reportOnce(held: Held, kid: string, report: () => void): void {
  if (held.reported.has(kid)) return
  held.reported.add(kid)
  report()
}
