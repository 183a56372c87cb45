import type { VaultClient } from './client.ts'
import type { KeyName, KeyWrap } from './key-wrap.ts'

/**
 * Wraps by a key of Vault's Transit engine (type `aes256-gcm96`) that the operator has made. Tenant and kid are bound in as associated data,
 * so that what was wrapped for one key does not open for another.
 */
export function createTransitKeyWrap(
  { client }: { readonly client: Pick<VaultClient, 'write'> },
  { mount, key }: { readonly mount: string; readonly key: string },
): KeyWrap {
  return {
    async wrap(name, plaintext, signal) {
      const body = { plaintext: plaintext.toString('base64'), associated_data: contextOf(name) }
      const { ciphertext } = await client.write(`${mount}/encrypt/${key}`, body, signal)
      if (typeof ciphertext !== 'string') throw new Error('Transit answered without a ciphertext.')
      return Buffer.from(ciphertext, 'latin1')
    },

    async unwrap(name, wrapped, signal) {
      const body = { ciphertext: wrapped.toString('latin1'), associated_data: contextOf(name) }
      const { plaintext } = await client.write(`${mount}/decrypt/${key}`, body, signal)
      if (typeof plaintext !== 'string') throw new Error('Transit answered without a plaintext.')
      return Buffer.from(plaintext, 'base64')
    },
  }
}

function contextOf({ tenant, kid }: KeyName): string {
  return Buffer.from(JSON.stringify(['rolemint', 1, 'data key', tenant, kid])).toString('base64')
}
