/** Transit of a real OpenBao as signer and as KEK, with the rights of `deploy/vault/` and no more. */
import assert from 'node:assert/strict'
import { type KeyObject, verify } from 'node:crypto'
import { after, before, suite, test } from 'node:test'
import type { VaultClient } from '../../src/adapters/vault/client.ts'
import { createTransitKeyWrap } from '../../src/adapters/vault/key-wrap-transit.ts'
import { createTransitSigner } from '../../src/adapters/vault/transit-signer.ts'
import { VaultError } from '../../src/adapters/vault/vault-error.ts'
import { exportPublicJwk, thumbprint } from '../../src/keys/jwk.ts'
import type { RemoteSigner } from '../../src/keys/signer.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Refusal } from '../../src/lib/refusal.ts'
import { DependencyUnavailable } from '../../src/lib/unavailable.ts'
import { BreakerOpen } from '../../src/resilience/breaker.ts'
import { remoteSignerContract } from '../contracts/remote-signer.ts'
import { type OpenBao, openbao, startOpenBao } from '../fakes/openbao.ts'
import { suiteNeeding } from '../skip.ts'
import {
  appRole,
  asReplica,
  eventually,
  openClient,
  soon,
  steady,
  type VaultWorld,
} from './vault-world.ts'

/** What is `write`n, so that a test can count requests. */
type Calls = Pick<VaultClient, 'read' | 'write' | 'remove'>

suiteNeeding('Transit of OpenBao', openbao, () => {
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

  remoteSignerContract('Transit of OpenBao', async () => {
    const auth = await appRole(world.bao)
    const clients = [openClient(world.bao, auth), openClient(world.bao, auth)] as const
    return {
      signer: signerOn(clients[0]),
      second: signerOn(clients[1]),
      async close() {
        for (const client of clients) await client.close()
      },
    }
  })
  keysOfTransit(world)
  batches(world)
  keyWrap(world)
  faults(world)
})

/** The limit is long: a busy machine is no outage. */
function signerOn(client: Calls, timeoutMilliseconds = 20_000): RemoteSigner {
  const options = { mount: 'transit', prefix: 'rolemint', timeoutMilliseconds }
  return createTransitSigner({ client, random: createSystemRandom() }, options)
}

async function makeKey(signer: RemoteSigner) {
  const { publicKey, handle } = await signer.create('acme', 'ES256', soon())
  const kid = thumbprint(exportPublicJwk(publicKey))
  const key = { tenant: 'acme', kid, alg: 'ES256', publicKey, handle } as const
  signer.bind(key, handle)
  return key
}

function verifies(publicKey: KeyObject, input: string, signature: Buffer): boolean {
  const key = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
  return verify('sha256', Buffer.from(input), key, signature)
}

/** Even for the root token: the settings of the key itself stand in the way. */
function isForbiddenByTheKey(bao: OpenBao, method: string, path: string, handle: string) {
  return assert.rejects(
    bao.admin(method, `${path}/${handle}`),
    /not exportable|is disallowed|is not allowed/,
  )
}

function keysOfTransit(world: VaultWorld): void {
  suite('keys', () => {
    test('an administrator of Vault cannot export, back up or delete a key in use', async () => {
      await asReplica(world, async (client) => {
        const { handle } = await makeKey(signerOn(client))
        const refused = (method: string, path: string) =>
          isForbiddenByTheKey(world.bao, method, path, handle)
        await refused('GET', 'transit/export/signing-key')
        await refused('GET', 'transit/backup')
        await refused('DELETE', 'transit/keys')
      })
    })

    test('a key that somebody rotates in Vault goes on signing with the half that is published', async () => {
      await asReplica(world, async (client) => {
        const signer = signerOn(client)
        const { handle, publicKey, ...key } = await makeKey(signer)
        await world.bao.admin('POST', `transit/keys/${handle}/rotate`, {})
        assert.ok(verifies(publicKey, 'a.b', await signer.sign(key, 'a.b')))
        assert.equal(await signer.holds(handle, publicKey, soon()), true)
      })
    })

    test('a ring in the database that was changed to name the KEK or a foreign key neither deletes nor signs with it', async () => {
      await world.bao.admin('POST', 'transit/keys/foreign', { type: 'ecdsa-p256' })
      const recorded: string[] = []
      await asReplica(world, async (client) => {
        const spied = spy(client, recorded)
        const signer = signerOn(spied)
        const { publicKey, ...key } = await makeKey(signer)
        recorded.length = 0
        for (const handle of [
          'foreign',
          'rolemint-kek',
          `${key.handle}/../foreign`,
          '',
          'rolemint-',
        ]) {
          await assert.rejects(signer.destroy(handle, soon()), /no name of a key of ours/)
          await assert.rejects(signer.holds(handle, publicKey, soon()), /no name of a key of ours/)
          assert.throws(() => signer.bind(key, handle), /no name of a key of ours/)
        }
        assert.deepEqual(recorded, [])
      })
    })
  })
}

/** The client, with the paths of its calls in `seen`. */
function spy(client: VaultClient, seen: string[]): Calls {
  return {
    read(path, signal) {
      seen.push(path)
      return client.read(path, signal)
    },
    write(path, body, signal) {
      seen.push(path)
      return client.write(path, body, signal)
    },
    remove(path, signal) {
      seen.push(path)
      return client.remove(path, signal)
    },
  }
}

function batches(world: VaultWorld): void {
  test('150 signatures asked for at once by two keys go out in three requests, and each one is the right one', async () => {
    await asReplica(world, async (client) => {
      const seen: string[] = []
      const signer = signerOn(spy(client, seen))
      const keys = [await makeKey(signer), await makeKey(signer)] as const
      seen.length = 0
      const asked = Array.from({ length: 150 }, (_, index) => {
        const key = keys[index % 3 === 0 ? 1 : 0]
        const input = `header.payload-${index}`
        return { key, input, signature: signer.sign(key, input) }
      })
      for (const { key, input, signature } of asked)
        assert.ok(verifies(key.publicKey, input, await signature))
      // 100 by the first key: 64 and 36; 50 by the second.
      assert.equal(seen.length, 3)
    })
  })
}

function keyWrap(world: VaultWorld): void {
  const name = { tenant: 'acme', kid: 'k1' }
  const options = { mount: 'transit', key: 'rolemint-kek' }

  suite('wrapping data keys', () => {
    test('what was wrapped unwraps, each time into a buffer of its own', async () => {
      await asReplica(world, async (client) => {
        const wrap = createTransitKeyWrap({ client }, options)
        const dataKey = createSystemRandom().bytes(32)
        const wrapped = await wrap.wrap(name, dataKey, soon())
        assert.ok(!wrapped.includes(dataKey))
        const first = await wrap.unwrap(name, wrapped, soon())
        assert.deepEqual(first, dataKey)
        first.fill(0)
        assert.deepEqual(await wrap.unwrap(name, wrapped, soon()), dataKey)
      })
    })

    test('a wrapped key that is copied to another kid or tenant, or changed, does not open', async () => {
      await asReplica(world, async (client) => {
        const wrap = createTransitKeyWrap({ client }, options)
        const wrapped = await wrap.wrap(name, Buffer.alloc(32, 7), soon())
        const others = [
          { ...name, kid: 'k2' },
          { ...name, tenant: 'globex' },
          { tenant: 'acme","k1', kid: '' },
        ]
        for (const other of others) await assert.rejects(wrap.unwrap(other, wrapped, soon()))
        const changed = Buffer.from(wrapped)
        const last = changed.length - 6
        changed[last] = changed[last] === 0x41 ? 0x42 : 0x41
        await assert.rejects(wrap.unwrap(name, changed, soon()), VaultError)
        await assert.rejects(wrap.unwrap(name, wrapped, AbortSignal.abort()), DependencyUnavailable)
      })
    })

    test('a KEK that is not there is not made by wrapping with it', async () => {
      await asReplica(world, async (client) => {
        const wrap = createTransitKeyWrap({ client }, { ...options, key: 'rolemint-kek2' })
        await assert.rejects(wrap.wrap(name, Buffer.alloc(32), soon()), VaultError)
        await assert.rejects(world.bao.admin('GET', 'transit/keys/rolemint-kek2'), / 404 /)
      })
    })
  })
}

interface Fault {
  readonly name: string
  begin(bao: OpenBao): Promise<void> | void
  end(bao: OpenBao): Promise<void> | void
}

function allFaults(): readonly Fault[] {
  return [
    { name: 'killed', begin: (bao) => bao.kill(), end: (bao) => bao.restart() },
    { name: 'sealed', begin: (bao) => bao.seal(), end: (bao) => bao.unseal() },
    { name: 'stopped', begin: (bao) => bao.stop(), end: (bao) => bao.cont() },
  ]
}

function faults(world: VaultWorld): void {
  for (const fault of allFaults())
    test(`while OpenBao is ${fault.name}, signing is refused with Retry-After and soon without asking; afterwards it goes on by itself`, async () => {
      await asReplica(world, async (client) => {
        const seen: string[] = []
        const signer = signerOn(spy(client, seen), 1000)
        const { publicKey, handle, ...key } = await makeKey(signerOn(client))
        signer.bind(key, handle)
        await steady(async () => signer.sign(key, 'a.b'))
        await fault.begin(world.bao)
        try {
          await eventually('an open breaker', () => refusedByBreaker(signer, key, seen))
          await assert.rejects(
            signer.holds(handle, publicKey, AbortSignal.timeout(1000)),
            DependencyUnavailable,
          )
          await assert.rejects(signer.check(AbortSignal.timeout(1000)), DependencyUnavailable)
        } finally {
          await fault.end(world.bao)
        }
        const signature = await steady(async () => signer.sign(key, 'c.d'))
        assert.ok(verifies(publicKey, 'c.d', signature))
        await steady(() => signer.destroy(handle, soon()))
      })
    })
}

/** Asks for a signature, which must be refused; true when Vault was not asked for it. */
async function refusedByBreaker(
  signer: RemoteSigner,
  key: Parameters<RemoteSigner['sign']>[0],
  seen: readonly string[],
): Promise<true | undefined> {
  const asked = seen.length
  const refusal = await Promise.resolve(signer.sign(key, 'a.b')).then(
    () => assert.fail('it signed'),
    (error: unknown) => error,
  )
  assert.ok(refusal instanceof Refusal)
  assert.equal(refusal.code, 'signer_unavailable')
  assert.ok((refusal.retryAfterSeconds ?? 0) >= 1 && (refusal.retryAfterSeconds ?? 0) <= 5)
  if (!(refusal.cause instanceof BreakerOpen)) return undefined
  assert.equal(seen.length, asked)
  return true
}
