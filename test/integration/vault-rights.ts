import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { afterEach, suite, test } from 'node:test'
import { VaultError } from '../../src/adapters/vault/vault-error.ts'
import { asReplica, empty, newSecret, soon, storeOn, type VaultWorld } from './vault-world.ts'

const denied = (work: Promise<unknown>, what: string) =>
  assert.rejects(
    work,
    (error: unknown) => error instanceof VaultError && error.status === 403,
    what,
  )

/** That a token with the policies of `deploy/vault/` does what a replica needs, and nothing else. */
export function vaultRights(world: VaultWorld): void {
  suite('with the policies of deploy/vault', () => {
    afterEach(() => empty(world.bao))

    test('a stolen token of a replica neither lists, overwrites nor undeletes keys, nor leaves their path', async () => {
      await asReplica(world, async (client) => {
        await storeOn(client).put('acme', 'k1', newSecret(), soon())
        const data = { data: { pkcs8: 'AAAA' } }
        await denied(client.write('rolemint/data/keys/acme/k1', data, soon()), 'overwrite')
        await denied(
          client.write('rolemint/undelete/keys/acme/k1', { versions: [1] }, soon()),
          'undelete',
        )
        await denied(
          client.write('rolemint/metadata/keys/acme/k1', { max_versions: 1 }, soon()),
          'metadata',
        )
        await denied(client.remove('rolemint/data/keys/acme/k1', soon()), 'soft delete')
        await denied(client.list('rolemint/metadata/keys', soon()), 'list tenants')
        await denied(client.list('rolemint/metadata/keys/acme', soon()), 'list kids')
        await denied(client.read('rolemint/data/other/acme/k1', soon()), 'another path')
        await denied(client.read('rolemint/data/keys/acme/k1/more', soon()), 'a path below')
        await denied(client.read('rolemint/config', soon()), 'configuration')
        await denied(client.read('sys/mounts', soon()), 'mounts')
        await denied(client.read('sys/policies/acl/rolemint-kv', soon()), 'read policy')
        await denied(client.remove('sys/policies/acl/rolemint-kv', soon()), 'delete policy')
        await denied(client.write('auth/token/create', {}, soon()), 'make tokens')
      })
    })

    test('a stolen token of a replica signs and no more: it exports, rotates and lists no key, and does not touch the KEK', async () => {
      await asReplica(world, async (client) => {
        const key = 'transit/keys/rolemint-t1'
        await client.write(key, { type: 'ecdsa-p256' }, soon())
        const input = createHash('sha256').update('x').digest('base64')
        const options = { input, prehashed: true, marshaling_algorithm: 'jws' }
        const signed = await client.write('transit/sign/rolemint-t1', options, soon())
        assert.match(String(signed['signature']), /^vault:v1:/)
        await denied(client.write(`${key}/rotate`, {}, soon()), 'rotate')
        await denied(client.write(`${key}/trim`, { min_available_version: 1 }, soon()), 'trim')
        await denied(client.write(`${key}/config`, { exportable: true }, soon()), 'make exportable')
        await denied(client.read('transit/export/signing-key/rolemint-t1', soon()), 'export')
        await denied(client.read('transit/backup/rolemint-t1', soon()), 'backup')
        await denied(client.list('transit/keys', soon()), 'list')
        const kek = 'transit/keys/rolemint-kek'
        await denied(client.read(kek, soon()), 'read the KEK')
        await denied(client.remove(kek, soon()), 'delete the KEK')
        await denied(client.write(`${kek}/config`, { deletion_allowed: true }, soon()), 'KEK')
        await client.write(`${key}/config`, { deletion_allowed: true }, soon())
        await client.remove(key, soon())
        assert.equal(await client.read(key, soon()), undefined)
      })
    })

    test('a KEK that the operator has not made is not made by wrapping with it', async () => {
      await asReplica(world, async (client) => {
        const body = { plaintext: newSecret().reveal().toString('base64') }
        await client.write('transit/encrypt/rolemint-kek', body, soon())
        await denied(client.write('transit/encrypt/rolemint-kek2', body, soon()), 'another key')
      })
    })
  })
}
