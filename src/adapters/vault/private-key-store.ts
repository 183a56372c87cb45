import type { PrivateKeyStore } from '../../keys/store.ts'
import { decrypt, encrypt } from '../../lib/aead.ts'
import type { Random } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { isJsonObject } from '../../lib/strict-json.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { VaultClient } from './client.ts'
import type { KeyName, KeyWrap } from './key-wrap.ts'
import { VaultError } from './vault-error.ts'

interface VaultPrivateKeyStoreDeps {
  readonly client: VaultClient
  readonly random: Random
  /** Encrypts the data key of each private half; left out: Vault's own barrier is the only one. */
  readonly wrap?: KeyWrap | undefined
}

/** Where private halves are kept. */
interface VaultPrivateKeyStoreOptions {
  /** Mount of a KV engine of version 2. */
  readonly mount: string
  /** Path below it, with no slash at either end. */
  readonly path: string
}

/** What is at the path of a key. All bytes are base64. */
type KeptKey = Readonly<Record<string, unknown>>

const DATA_KEY_BYTES = 32
const PUT_ID_BYTES = 16
/** What a tenant or a kid may look like where it becomes a step of a path: nothing that a server or a proxy folds or decodes. */
const STEP = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * Private halves in KV version 2, one path per kid: `{mount}/data/{path}/{tenant}/{kid}`. Destroying deletes the metadata, and with
 * it every version; backups of Vault follow their own retention.
 *
 * Without `wrap`, whoever may read the path has the key. With it, two rights must leak: to read the path, and to unwrap.
 * JSON carries keys as base64, and strings cannot be overwritten: one stays in the heap until the collector reuses its place.
 */
export function createVaultPrivateKeyStore(
  { client, random, wrap }: VaultPrivateKeyStoreDeps,
  { mount, path }: VaultPrivateKeyStoreOptions,
): PrivateKeyStore {
  function at(kind: 'data' | 'metadata', { tenant, kid }: KeyName): string {
    if (!STEP.test(tenant) || !STEP.test(kid))
      throw new Error('A tenant or a kid has characters that a path of Vault must not have.')
    return `${mount}/${kind}/${path}/${tenant}/${kid}`
  }

  async function close(name: KeyName, pkcs8: Buffer, signal: AbortSignal): Promise<KeptKey> {
    if (!wrap) return { ...name, pkcs8: pkcs8.toString('base64') }
    const dataKey = random.bytes(DATA_KEY_BYTES)
    try {
      const sealed = encrypt(dataKey, pkcs8, boundTo(name), random)
      const wrapped = await wrap.wrap(name, dataKey, signal)
      return { ...name, sealed: sealed.toString('base64'), wrappedKey: wrapped.toString('base64') }
    } finally {
      dataKey.fill(0)
    }
  }

  async function open(name: KeyName, kept: KeptKey, signal: AbortSignal): Promise<Buffer> {
    // Copied here from another path by somebody who may write to Vault, a key must not pass for this one.
    if (kept['tenant'] !== name.tenant || kept['kid'] !== name.kid)
      throw unreadable(name, 'it was kept for another tenant or kid')
    // A store that is told to wrap does not take a bare key either: that would be a way round the second right.
    if (!wrap) return bytesOf(name, kept, 'pkcs8')
    const sealed = bytesOf(name, kept, 'sealed')
    const wrapped = bytesOf(name, kept, 'wrappedKey')
    const dataKey = await wrap.unwrap(name, wrapped, signal).catch((error: unknown) => {
      if (error instanceof DependencyUnavailable) throw error
      throw unreadable(name, 'its data key was not unwrapped', error)
    })
    try {
      return decrypt(dataKey, sealed, boundTo(name))
    } catch (error) {
      throw unreadable(name, 'what is kept was changed', error)
    } finally {
      dataKey.fill(0)
    }
  }

  async function read(name: KeyName, signal: AbortSignal): Promise<KeptKey | undefined> {
    const answer = await client.read(at('data', name), signal)
    // A version that was deleted or destroyed is null.
    return isJsonObject(answer?.['data']) ? answer['data'] : undefined
  }

  return {
    async put(tenant, kid, pkcs8, signal) {
      const name = { tenant, kid }
      const address = at('data', name)
      // Makes this put different from any other, also of the same key: so that a retry after an answer that was lost on its
      // way can tell what it finds from a key that was there before.
      const putId = random.bytes(PUT_ID_BYTES).toString('base64url')
      const data = { ...(await close(name, pkcs8.reveal(), signal)), putId }
      try {
        // Check-and-set on 0: written only where there never was a version, a soft-deleted one included.
        await client.write(address, { options: { cas: 0 }, data }, signal)
      } catch (error) {
        if (!mayBeKept(error)) throw error
        const kept = await client.read(address, signal)
        if (kept === undefined) throw error
        const found = isJsonObject(kept['data']) ? kept['data']['putId'] : undefined
        if (found !== putId)
          throw new Error(
            `A private key with kid ${kid} is kept already; a kid is never overwritten.`,
            { cause: error },
          )
      }
    },

    async get(tenant, kid, signal) {
      const name = { tenant, kid }
      const kept = await read(name, signal)
      return kept && new Secret(await open(name, kept, signal))
    },

    async destroy(tenant, kid, signal) {
      // Not the data path: that only marks the newest version, and anybody with the right to undelete brings it back.
      await client.remove(at('metadata', { tenant, kid }), signal)
    },

    async check(signal) {
      // Asks for a key that is never there, with the very right that reading a real one takes.
      await read({ tenant: 'check', kid: 'check' }, signal)
    },
  }
}

/** Whether a refused write may be one that met a version: the check-and-set failed, or the policy allows to create and not to update. */
function mayBeKept(error: unknown): boolean {
  if (!(error instanceof VaultError)) return false
  return error.said('check-and-set parameter did not match') || error.status === 403
}

function bytesOf(name: KeyName, kept: KeptKey, member: string): Buffer {
  const text = kept[member]
  if (typeof text !== 'string' || text === '' || !BASE64.test(text))
    throw unreadable(name, `it has no ${member}`)
  return Buffer.from(text, 'base64')
}

function unreadable({ kid }: KeyName, why: string, cause?: unknown): Error {
  return new Error(`The private key ${kid} could not be opened: ${why}.`, { cause })
}

/** Bound into the ciphertext; JSON keeps the parts apart. */
function boundTo({ tenant, kid }: KeyName): Buffer {
  return Buffer.from(JSON.stringify(['rolemint', 1, 'private key', tenant, kid]))
}
