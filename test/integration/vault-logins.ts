import assert from 'node:assert/strict'
import { sign } from 'node:crypto'
import { suite, test } from 'node:test'
import type { VaultClient } from '../../src/adapters/vault/client.ts'
import type { VaultAuth } from '../../src/adapters/vault/login.ts'
import { VaultError } from '../../src/adapters/vault/vault-error.ts'
import { Secret } from '../../src/lib/secret.ts'
import type { OpenBao } from '../fakes/openbao.ts'
import {
  asReplica,
  eventually,
  newToken,
  newTokens,
  soon,
  steady,
  storeOn,
  tokenFacts,
  using,
  type VaultWorld,
} from './vault-world.ts'

const look = (client: VaultClient) => storeOn(client).check(soon())

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

function newJwt(bao: OpenBao, audience: string): Secret {
  const now = Math.floor(Date.now() / 1000)
  const claims = { sub: 'replica', aud: audience, iat: now, exp: now + 300 }
  const input = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`
  const key = { key: bao.jwtKey, dsaEncoding: 'ieee-p1363' } as const
  return new Secret(`${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`)
}

/** An AppRole whose tokens live so long. */
async function roleWith(bao: OpenBao, name: string, settings: object): Promise<VaultAuth> {
  await bao.admin('POST', `auth/approle/role/${name}`, {
    token_policies: ['rolemint-kv'],
    token_no_default_policy: true,
    ...settings,
  })
  const asked = await bao.admin('GET', `auth/approle/role/${name}/role-id`)
  const roleId = (asked as { data: { role_id: string } }).data.role_id
  const made = await bao.admin('POST', `auth/approle/role/${name}/secret-id`, {})
  const secretId = new Secret((made as { data: { secret_id: string } }).data.secret_id)
  return {
    kind: 'appRole',
    mount: 'approle',
    roleId,
    secretId: () => Promise.resolve(secretId),
  }
}

/** How a client keeps itself logged in. */
export function vaultLogins(world: VaultWorld): void {
  suite('a login', () => {
    test('calls go on after the token has lived its longest', async () => {
      await using(
        world,
        await roleWith(world.bao, 'short', { token_ttl: '4s', token_max_ttl: '8s' }),
        async (client) => {
          const first = await newToken(world.bao, () => look(client))
          await eventually('the end of the token', async () =>
            (await tokenFacts(world.bao, first)) ? undefined : true,
          )
          await look(client)
        },
      )
    })

    test('a token is prolonged before it ends, and given back in the end', async () => {
      let token = ''
      await using(
        world,
        await roleWith(world.bao, 'renewed', { token_ttl: '10s', token_max_ttl: '1h' }),
        async (client) => {
          token = await newToken(world.bao, () => look(client))
          await eventually(
            'a renewal',
            async () => (await tokenFacts(world.bao, token))?.last_renewal_time,
          )
        },
      )
      assert.equal(await tokenFacts(world.bao, token), undefined)
    })

    test('a revoked token is replaced by one login, however many calls are under way', async () => {
      await asReplica(world, async (client) => {
        const token = await newToken(world.bao, () => look(client))
        await world.bao.admin('POST', 'auth/token/revoke-accessor', { accessor: token })
        await newToken(world.bao, () => Promise.all(Array.from({ length: 10 }, () => look(client))))
      })
    })

    test('a secret-id is replaced while we run: the old one destroyed, its token revoked', async () => {
      let secretId = await world.bao.newSecretId()
      const auth: VaultAuth = {
        kind: 'appRole',
        mount: 'approle',
        roleId: world.bao.roleId,
        secretId: () => Promise.resolve(new Secret(secretId)),
      }
      await using(world, auth, async (client) => {
        const token = await newToken(world.bao, () => look(client))
        const destroy = { secret_id: secretId }
        await world.bao.admin('POST', 'auth/approle/role/rolemint/secret-id/destroy', destroy)
        await world.bao.admin('POST', 'auth/token/revoke-accessor', { accessor: token })
        await assert.rejects(look(client), (error: unknown) => {
          assert.ok(error instanceof VaultError)
          assert.ok(!error.message.includes(secretId))
          return true
        })
        secretId = await world.bao.newSecretId()
        await steady(() => look(client))
      })
    })

    test('a JWT of a workload is read anew at each login; one for another audience is refused', async () => {
      let audience = 'rolemint'
      const auth: VaultAuth = {
        kind: 'jwt',
        mount: 'jwt',
        role: 'rolemint',
        jwt: () => Promise.resolve(newJwt(world.bao, audience)),
      }
      await using(world, auth, async (client) => {
        const token = await newToken(world.bao, () => look(client))
        audience = 'another'
        await world.bao.admin('POST', 'auth/token/revoke-accessor', { accessor: token })
        await assert.rejects(look(client), (error: unknown) => {
          assert.ok(error instanceof VaultError)
          assert.doesNotMatch(error.message, /eyJ|another/)
          return true
        })
      })
    })

    test('a token that an agent replaces is picked up, and is not given back: it is not ours', async () => {
      const make = async () => {
        const settings = { policies: ['rolemint-kv'], no_default_policy: true, ttl: '1h' }
        const made = await world.bao.admin('POST', 'auth/token/create', settings)
        return (made as { auth: { client_token: string; accessor: string } }).auth
      }
      let current = await make()
      const auth: VaultAuth = {
        kind: 'token',
        token: () => Promise.resolve(new Secret(current.client_token)),
      }
      await using(world, auth, async (client) => {
        await look(client)
        await world.bao.admin('POST', 'auth/token/revoke-accessor', { accessor: current.accessor })
        await assert.rejects(look(client), VaultError)
        current = await make()
        await steady(() => look(client))
      })
      assert.ok(await tokenFacts(world.bao, current.accessor))
    })

    test('calls that may not be made do not cost a login each', async () => {
      await asReplica(world, async (client) => {
        const made = await newTokens(world.bao, async () => {
          for (let call = 0; call < 20; call += 1)
            await assert.rejects(client.read('rolemint/config', soon()), VaultError)
        })
        assert.ok(made.length <= 4, `${made.length} logins`) // two, and two more for each 10 s that it took
      })
    })

    test('a namespace has its own mounts, and its name goes with every call', async () => {
      await world.bao.admin('POST', 'sys/namespaces/team', {})
      await world.bao.admin('POST', 'team/sys/mounts/kv', { type: 'kv' })
      await world.bao.admin('POST', 'team/kv/a', { value: 'of the team' })
      const root: VaultAuth = {
        kind: 'token',
        token: () => Promise.resolve(new Secret(world.bao.rootToken)),
      }
      await using(
        world,
        root,
        async (client) => {
          assert.equal((await client.read('kv/a', soon()))?.['value'], 'of the team')
          assert.equal(await client.health(soon()), 'ok')
        },
        { namespace: 'team' },
      )
    })
  })
}
