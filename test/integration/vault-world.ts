/** An OpenBao for all suites about Vault, and what they need to see of it. */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { createVaultClient, type VaultClient } from '../../src/adapters/vault/client.ts'
import type { KeyWrap } from '../../src/adapters/vault/key-wrap.ts'
import type { VaultAuth } from '../../src/adapters/vault/login.ts'
import { createVaultPrivateKeyStore } from '../../src/adapters/vault/private-key-store.ts'
import type { PrivateKeyStore } from '../../src/keys/store.ts'
import { decrypt, encrypt } from '../../src/lib/aead.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import type { OpenBao } from '../fakes/openbao.ts'

/** The server that a test file has started; `bao` is there once its `before` has run. */
export interface VaultWorld {
  readonly bao: OpenBao
}

export const soon = () => AbortSignal.timeout(30_000)

export const newSecret = (text = 'the private half of a key') => new Secret(Buffer.from(text))

/** Calls until `work` gives something other than undefined; for a minute. */
export async function eventually<T>(what: string, work: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const result = await work()
    if (result !== undefined) return result
    assert.ok(Date.now() < deadline, `${what} did not come about within a minute`)
    await setTimeout(100)
  }
}

/** Calls until an answer comes. */
export async function steady<T>(work: () => Promise<T>): Promise<T> {
  const { value } = await eventually('an answer', () =>
    work().then(
      (answer) => ({ value: answer }),
      () => undefined,
    ),
  )
  return value
}

/** The time limit is long: a busy machine is no outage. */
export function openClient(bao: OpenBao, auth: VaultAuth, options: object = {}): VaultClient {
  const place = { addr: bao.addr, auth, timeoutMilliseconds: 20_000, ...options }
  return createVaultClient({ random: createSystemRandom() }, place)
}

/** Runs `body` with a client that is closed afterwards. */
export async function using(
  { bao }: VaultWorld,
  auth: VaultAuth,
  body: (client: VaultClient) => Promise<void>,
  options: object = {},
): Promise<void> {
  const client = openClient(bao, auth, options)
  try {
    await body(client)
  } finally {
    await client.close()
  }
}

/** As {@link using}, with the rights of a replica. */
export async function asReplica(
  world: VaultWorld,
  body: (client: VaultClient) => Promise<void>,
  options: object = {},
): Promise<void> {
  await using(world, await appRole(world.bao), body, options)
}

export async function appRole(bao: OpenBao): Promise<VaultAuth> {
  const secretId = new Secret(await bao.newSecretId())
  return {
    kind: 'appRole',
    mount: 'approle',
    roleId: bao.roleId,
    secretId: () => Promise.resolve(secretId),
  }
}

/** The private key store on the path that the policies name. */
export function storeOn(client: VaultClient, wrap?: KeyWrap): PrivateKeyStore {
  const place = { mount: 'rolemint', path: 'keys' }
  return createVaultPrivateKeyStore({ client, random: createSystemRandom(), wrap }, place)
}

/** What a key is wrapped for, as bytes. */
const aad = (context: object) => Buffer.from(JSON.stringify(context))

/** A keeper of a key, in memory. */
export function createFakeWrap(): KeyWrap {
  const random = createSystemRandom()
  const kek = random.bytes(32)
  return {
    wrap: (context, plaintext) => Promise.resolve(encrypt(kek, plaintext, aad(context), random)),
    unwrap: async (context, wrapped) => decrypt(kek, wrapped, aad(context)),
  }
}

/** Destroys what a test has left. */
export async function empty(bao: OpenBao): Promise<void> {
  for (const tenant of ['acme', 'other']) {
    const listed = await bao
      .admin('LIST', `rolemint/metadata/keys/${tenant}`)
      .catch(() => undefined)
    const kids = (listed as { data: { keys: string[] } } | undefined)?.data.keys ?? []
    for (const kid of kids) await bao.admin('DELETE', `rolemint/metadata/keys/${tenant}/${kid}`)
  }
}

async function accessors(bao: OpenBao): Promise<ReadonlySet<string>> {
  const listed = (await bao.admin('LIST', 'auth/token/accessors')) as { data: { keys: string[] } }
  return new Set(listed.data.keys)
}

interface TokenFacts {
  readonly accessor: string
  readonly last_renewal_time?: number
}

/** What OpenBao knows of a token; undefined when it is gone. */
export async function tokenFacts(bao: OpenBao, accessor: string): Promise<TokenFacts | undefined> {
  const asked = await bao
    .admin('POST', 'auth/token/lookup-accessor', { accessor })
    .catch(() => undefined)
  return (asked as { data: TokenFacts } | undefined)?.data
}

/** The accessors of the tokens that came to be during `work`. */
export async function newTokens(
  bao: OpenBao,
  work: () => Promise<unknown>,
): Promise<readonly string[]> {
  const known = await accessors(bao)
  await work()
  return [...(await accessors(bao))].filter((accessor) => !known.has(accessor))
}

export async function newToken(bao: OpenBao, work: () => Promise<unknown>): Promise<string> {
  const made = await newTokens(bao, work)
  assert.equal(made.length, 1)
  return made[0] ?? ''
}
