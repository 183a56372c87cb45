import type { PrivateKeyStore } from '../../keys/store.ts'
import { decrypt, encrypt } from '../../lib/aead.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Random } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { Log } from '../../observe/log.ts'
import { withDeadline } from '../../resilience/deadline.ts'
import { type CachedKey, createKeyCacheFile, type KeyCacheFiles } from './key-cache-file.ts'

interface KeyCacheDeps {
  /** Where the keys are; the cache only steps in while it gives no answer. */
  readonly store: PrivateKeyStore
  readonly files: KeyCacheFiles
  readonly clock: Clock
  readonly random: Random
  readonly log?: Log | undefined
}

interface KeyCacheOptions {
  readonly file: string
  /** 32 bytes, delivered otherwise than the file: who has both has the keys. */
  readonly kek: Secret<Buffer>
  /** How long after the store last confirmed a key its copy is good. */
  readonly maxAgeMilliseconds: number
}

/** Of a local disk that hangs, callers wait no longer than that. */
const DISK_MILLISECONDS = 5000
/** An entry from further ahead than that was written before the clock was set back, so nobody knows how old it is. */
const SKEW_MILLISECONDS = 60_000
/** A copy is confirmed anew when it has used up this part of its life. */
const CONFIRM_AFTER = 0.1

/**
 * A sealed copy of the private halves on disk, so that a server can start while their store is down.
 *
 * It answers only where the store gives no answer. "There is no such key" removes the copy, and "you may not" stays what it is:
 * a right that was withdrawn must not be got round by a copy. A copy that was changed, belongs to another key or is too old is
 * as good as none; the store's own error is then what the caller gets.
 */
export function createKeyCache(
  { store, files, clock, random, log }: KeyCacheDeps,
  { file, kek, maxAgeMilliseconds }: KeyCacheOptions,
): PrivateKeyStore {
  const cacheFile = createKeyCacheFile({ files, random }, file)
  const said = new Set<string>()
  /** When each copy was last confirmed; undefined until the file was read. */
  let confirmed: Map<string, CachedName> | undefined

  function warnOnce(message: string, fields: Readonly<Record<string, unknown>>): void {
    if (said.has(message)) return
    said.add(message)
    log?.warn(fields, message)
  }

  function ageProblem({ confirmedAt }: CachedName): string | undefined {
    const age = clock.now() - confirmedAt
    if (age > maxAgeMilliseconds) return 'key cache: the copy is too old'
    if (age < -SKEW_MILLISECONDS) return 'key cache: the copy is from the future'
    return undefined
  }

  async function keep(tenant: string, kid: string, pkcs8: Buffer): Promise<void> {
    const name = { tenant, kid, confirmedAt: clock.now() }
    const entry = { ...name, sealed: encrypt(kek.reveal(), pkcs8, boundTo(name), random) }
    await onDisk(() =>
      cacheFile.change((entries) => [
        ...entries.filter((other) => !isSame(other, entry) && !ageProblem(other)),
        entry,
      ]),
    )
    confirmed?.set(keyOf(name), name)
  }

  /** A server that cannot keep a copy has its key all the same. */
  async function tryKeep(tenant: string, kid: string, pkcs8: Buffer): Promise<void> {
    await keep(tenant, kid, pkcs8).catch((error: unknown) =>
      warnOnce('key cache: a copy could not be kept', { tenant, kid, err: error }),
    )
  }

  async function forget(tenant: string, kid: string): Promise<void> {
    await onDisk(() =>
      cacheFile.change((entries) => {
        const others = entries.filter((other) => !isSame(other, { tenant, kid }))
        return others.length === entries.length ? entries : others
      }),
    )
    confirmed?.delete(keyOf({ tenant, kid }))
  }

  /** The copy, if it is good. */
  async function recall(tenant: string, kid: string): Promise<Secret<Buffer> | undefined> {
    try {
      const entries = await onDisk(() => cacheFile.read())
      const entry = entries.find((other) => isSame(other, { tenant, kid }))
      if (!entry) return undefined
      const problem = ageProblem(entry)
      if (problem === undefined) return new Secret(openEntry(entry))
      warnOnce(problem, { tenant, kid })
    } catch (error) {
      warnOnce('key cache: the copy could not be read', { tenant, kid, err: error })
    }
    return undefined
  }

  function openEntry(entry: CachedKey): Buffer {
    try {
      return decrypt(kek.reveal(), entry.sealed, boundTo(entry))
    } catch (error) {
      throw new Error('It was changed, or sealed under another KEK.', { cause: error })
    }
  }

  /** Asks the store for one key whose copy has grown old: a server that runs for months must still be able to start again. */
  async function confirmOldest(signal: AbortSignal): Promise<void> {
    confirmed ??= new Map(
      (await onDisk(() => cacheFile.read())).map((entry) => [keyOf(entry), entry]),
    )
    const due = clock.now() - maxAgeMilliseconds * CONFIRM_AFTER
    const old = [...confirmed.values()].find(({ confirmedAt }) => confirmedAt <= due)
    if (!old) return
    try {
      const key = await get(old.tenant, old.kid, signal)
      key?.reveal().fill(0)
    } catch (error) {
      // One that is refused must not keep the others from their turn.
      if (!(error instanceof DependencyUnavailable))
        confirmed.set(keyOf(old), { ...old, confirmedAt: clock.now() })
      throw error
    }
  }

  async function get(tenant: string, kid: string, signal: AbortSignal) {
    const key = await store.get(tenant, kid, signal)
    if (key) await tryKeep(tenant, kid, key.reveal())
    else
      await forget(tenant, kid).catch((error: unknown) =>
        warnOnce('key cache: a copy could not be removed', { tenant, kid, err: error }),
      )
    return key
  }

  return {
    async put(tenant, kid, pkcs8, signal) {
      await store.put(tenant, kid, pkcs8, signal)
      await tryKeep(tenant, kid, pkcs8.reveal())
    },

    async get(tenant, kid, signal) {
      const givenUpBefore = signal.aborted
      try {
        return await get(tenant, kid, signal)
      } catch (error) {
        if (!(error instanceof DependencyUnavailable) || givenUpBefore) throw error
        const copy = await recall(tenant, kid)
        if (!copy) throw error
        log?.warn({ tenant, kid, err: error }, 'key cache: private key taken from the copy on disk')
        return copy
      }
    },

    async destroy(tenant, kid, signal) {
      // First, and whatever the store says: a copy that outlives its key would be the one place to steal it from.
      const [copy] = await Promise.allSettled([forget(tenant, kid)])
      await store.destroy(tenant, kid, signal)
      if (copy.status === 'rejected') throw copy.reason
    },

    async check(signal) {
      await store.check(signal)
      await confirmOldest(signal).catch((error: unknown) =>
        warnOnce('key cache: copies could not be confirmed', { err: error }),
      )
    },
  }
}

const onDisk = <T>(work: () => Promise<T>) => withDeadline(DISK_MILLISECONDS, work)

type CachedName = Omit<CachedKey, 'sealed'>

const keyOf = ({ tenant, kid }: { readonly tenant: string; readonly kid: string }) =>
  JSON.stringify([tenant, kid])

function isSame(
  one: { readonly tenant: string; readonly kid: string },
  other: { readonly tenant: string; readonly kid: string },
): boolean {
  return one.tenant === other.tenant && one.kid === other.kid
}

/** Bound into the ciphertext: a copy that is moved to another key, or made younger, does not open. */
function boundTo({ tenant, kid, confirmedAt }: CachedName): Buffer {
  return Buffer.from(JSON.stringify(['rolemint', 1, 'key cache', tenant, kid, confirmedAt]))
}
