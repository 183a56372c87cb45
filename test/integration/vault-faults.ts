import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { VaultClient } from '../../src/adapters/vault/client.ts'
import type { PrivateKeyStore } from '../../src/keys/store.ts'
import { Secret } from '../../src/lib/secret.ts'
import { DependencyUnavailable } from '../../src/lib/unavailable.ts'
import type { OpenBao } from '../fakes/openbao.ts'
import {
  asReplica,
  newSecret,
  soon,
  steady,
  storeOn,
  using,
  type VaultWorld,
} from './vault-world.ts'

/** OpenBao in trouble, and well again. */
export function vaultFaults(world: VaultWorld): void {
  suite('a fault', () => {
    for (const fault of faults()) {
      const { name } = fault
      test(`while OpenBao is ${name}, calls are unavailable; the same client goes on afterwards and every key is there`, async () => {
        // Some of these calls run into the limit: it is short, and calls that must succeed are repeated.
        const limit = { timeoutMilliseconds: 1500 }
        const go = async (client: VaultClient) => {
          const store = storeOn(client)
          await steady(() => store.check(soon()))
          await steady(() => store.put('acme', name, newSecret(), soon()))
          await fault.begin(world.bao)
          try {
            await isUnavailable(store)
            assert.equal(await client.health(soon()), name === 'sealed' ? 'sealed' : 'down')
            await asStillborn(world, isUnavailable)
          } finally {
            await fault.end(world.bao)
          }
          const key = await steady(() => store.get('acme', name, soon()))
          assert.deepEqual(key?.reveal(), newSecret().reveal())
          await steady(() => store.destroy('acme', name, soon()))
          // A put that got no answer may have been done all the same.
          await steady(() => store.destroy('acme', 'never', soon()))
        }
        await asReplica(world, go, limit)
      })
    }
  })
}

interface Fault {
  readonly name: string
  begin(bao: OpenBao): Promise<unknown> | void
  end(bao: OpenBao): Promise<unknown> | void
}

function faults(): readonly Fault[] {
  return [
    { name: 'killed', begin: (bao) => bao.kill(), end: (bao) => bao.restart() },
    { name: 'sealed', begin: (bao) => bao.seal(), end: (bao) => bao.unseal() },
    { name: 'stopped', begin: (bao) => bao.stop(), end: (bao) => bao.cont() },
  ]
}

async function isUnavailable(store: PrivateKeyStore): Promise<void> {
  await assert.rejects(store.get('acme', 'never', soon()), DependencyUnavailable)
  await assert.rejects(store.put('acme', 'never', newSecret(), soon()), DependencyUnavailable)
  await assert.rejects(store.destroy('acme', 'never', soon()), DependencyUnavailable)
  await assert.rejects(store.check(soon()), DependencyUnavailable)
}

const secretId = () => Promise.resolve(new Secret('no matter'))

/** With a client that starts during the fault and has never logged in. */
function asStillborn(
  world: VaultWorld,
  body: (store: PrivateKeyStore) => Promise<void>,
): Promise<void> {
  const auth = { kind: 'appRole', mount: 'approle', roleId: world.bao.roleId, secretId } as const
  return using(world, auth, (client) => body(storeOn(client)), { timeoutMilliseconds: 1500 })
}
