import type { VaultClient } from './client.ts'
import type { KeyName, KeyWrap } from './key-wrap.ts'

/** The version that it was encrypted by, which the operator may rotate, and base64. */
const CIPHERTEXT = /^vault:v[1-9][0-9]*:[A-Za-z0-9+/]+={0,2}$/
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/**
 * Wraps by a key of Vault's Transit engine (type `aes256-gcm96`) that the operator has made. Tenant and kid are bound in as associated data,
 * so that what was wrapped for one key does not open for another. OpenBao refuses associated data with a type that cannot bind it, as RSA.
 *
 * The right is to encrypt and decrypt with that one key (`deploy/vault/rolemint-kek.hcl`). JSON carries the data key as base64, and strings cannot
 * be overwritten: one stays in the heap until the collector reuses its place.
 */
export function createTransitKeyWrap(
  { client }: { readonly client: Pick<VaultClient, 'write'> },
  { mount, key }: { readonly mount: string; readonly key: string },
): KeyWrap {
  return {
    async wrap(name, plaintext, signal) {
      const body = { plaintext: plaintext.toString('base64'), associated_data: contextOf(name) }
      const { ciphertext } = await client.write(`${mount}/encrypt/${key}`, body, signal)
      // Looked at now: what does not unwrap later is a key that is lost.
      if (typeof ciphertext !== 'string' || !CIPHERTEXT.test(ciphertext))
        throw new Error('Transit answered without a ciphertext.')
      return Buffer.from(ciphertext, 'latin1')
    },

    async unwrap(name, wrapped, signal) {
      const body = { ciphertext: wrapped.toString('latin1'), associated_data: contextOf(name) }
      const { plaintext } = await client.write(`${mount}/decrypt/${key}`, body, signal)
      if (typeof plaintext !== 'string' || !BASE64.test(plaintext))
        throw new Error('Transit answered without a plaintext.')
      return Buffer.from(plaintext, 'base64')
    },
  }
}

function contextOf({ tenant, kid }: KeyName): string {
  return Buffer.from(JSON.stringify(['rolemint', 1, 'data key', tenant, kid])).toString('base64')
}
