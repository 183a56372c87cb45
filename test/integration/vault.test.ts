/** The Vault adapter on a real OpenBao, with the rights of `deploy/vault/` and no more. */
import { mkdir, mkdtemp, open, rename, rm, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import type { VaultClient } from '../../src/adapters/vault/client.ts'
import { createKeyCache } from '../../src/adapters/vault/key-cache.ts'
import type { PrivateKeyStore } from '../../src/keys/store.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import { privateKeyStoreContract } from '../contracts/private-key-store.ts'
import { type OpenBao, openbao, startOpenBao } from '../fakes/openbao.ts'
import { suiteNeeding } from '../skip.ts'
import { vaultFaults } from './vault-faults.ts'
import { vaultKeys } from './vault-keys.ts'
import { vaultLogins } from './vault-logins.ts'
import { vaultRights } from './vault-rights.ts'
import {
  appRole,
  createFakeWrap,
  empty,
  openClient,
  storeOn,
  type VaultWorld,
} from './vault-world.ts'

suiteNeeding('Vault adapter on OpenBao', openbao, () => {
  let started: OpenBao | undefined
  const world: VaultWorld = {
    get bao() {
      if (!started) throw new Error('OpenBao was not started')
      return started
    },
  }
  before(async () => {
    started = await startOpenBao()
  })
  after(() => started?.close())

  contracts(world)
  vaultRights(world)
  vaultKeys(world)
  vaultLogins(world)
  vaultFaults(world)
})

function contracts(world: VaultWorld): void {
  const fixture = async (dress: (client: VaultClient) => PrivateKeyStore) => {
    const clients: VaultClient[] = []
    const auth = await appRole(world.bao)
    const another = () => {
      const client = openClient(world.bao, auth)
      clients.push(client)
      return dress(client)
    }
    const closeAll = () => Promise.all(clients.splice(0).map((client) => client.close()))
    return {
      keys: another(),
      second: another(),
      async reopen() {
        await closeAll()
        return another()
      },
      async close() {
        await closeAll()
        await empty(world.bao)
      },
    }
  }

  privateKeyStoreContract('KV 2 of OpenBao', () => fixture((client) => storeOn(client)))
  privateKeyStoreContract('KV 2 of OpenBao, wrapped', () => {
    const wrap = createFakeWrap()
    return fixture((client) => storeOn(client, wrap))
  })
  privateKeyStoreContract('KV 2 of OpenBao, with a boot cache', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rolemint-vault-'))
    const random = createSystemRandom()
    const kek = new Secret(random.bytes(32))
    const plain = await fixture((client) =>
      createKeyCache(
        {
          store: storeOn(client),
          files: { open, rename, unlink, mkdir },
          clock: systemClock,
          random,
        },
        { file: join(folder, 'keys.cache'), kek, maxAgeMilliseconds: 3_600_000 },
      ),
    )
    return {
      ...plain,
      async close() {
        await plain.close()
        await rm(folder, { recursive: true, force: true })
      },
    }
  })
}
