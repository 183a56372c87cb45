/** The part of the composition root that opens what is durable: the database, and where private halves are kept. */
import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Ledger } from './audit/ledger.ts'
import type { Config } from './config/config.ts'
import type { CutoffStore } from './cutoff/store.ts'
import type { AdminTokenStore } from './http/admin-tokens.ts'
import type { KeyOptions, VaultOptions } from './keys/options.ts'
import type { RemoteSigner } from './keys/signer.ts'
import type { ConsumerStore, PrivateKeyStore, RingStore, UsageStore } from './keys/store.ts'
import { type Clock, systemClock } from './lib/clock.ts'
import { createSystemRandom, type Random } from './lib/id.ts'
import { Secret } from './lib/secret.ts'
import type { Log } from './observe/log.ts'
import type { Upstreams } from './resilience/upstream.ts'

/** All durable state, opened. */
export interface Stores {
  readonly ledger: Ledger
  readonly rings: RingStore
  readonly cutoffs: CutoffStore
  readonly usage: UsageStore
  readonly consumers: ConsumerStore
  readonly adminTokens: AdminTokenStore
  /** Undefined when a remote signer keeps the keys. */
  readonly privateKeys: PrivateKeyStore | undefined
  readonly remoteSigner?: RemoteSigner | undefined
  /** What time it is at the database server, where there is one. */
  readonly time?: (signal: AbortSignal) => Promise<number>
  close(): Promise<void>
}

interface StoreDeps {
  readonly clock: Clock
  readonly random: Random
  readonly log?: Log
  readonly upstreams?: Upstreams
}

/** Opens the stores that the configuration names and brings their schema up to date. Rejects when one cannot be opened. */
export async function openStores(config: Config, parts: Partial<StoreDeps> = {}): Promise<Stores> {
  const deps = { clock: systemClock, random: createSystemRandom(), ...parts }
  const database = await openDatabase(config, deps)
  try {
    const sealed = (kek: Secret<Buffer>) => database.privateKeys(kek)
    const { privateKeys, remoteSigner, ...keys } = await openKeyStore(config.keys, sealed, deps)
    return {
      ...database,
      privateKeys,
      remoteSigner,
      async close() {
        await keys.close()
        await database.close()
      },
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

async function openDatabase({ store }: Config, deps: StoreDeps) {
  if (store.kind === 'postgres') {
    const { createPostgresStore } = await import('./adapters/sql/postgres-store.ts')
    return createPostgresStore(deps, { url: store.url })
  }
  const { createSqliteStore } = await import('./adapters/sql/sqlite-store.ts')
  await mkdir(dirname(store.path), { recursive: true, mode: 0o700 })
  return createSqliteStore(deps, { path: store.path })
}

async function openKeyStore(
  { store, signer, cache }: KeyOptions,
  sealed: (kek: Secret<Buffer>) => PrivateKeyStore,
  deps: StoreDeps,
) {
  if (signer.kind === 'vault-transit') {
    const { createTransitSigner } = await import('./adapters/vault/transit-signer.ts')
    const client = await openVault(signer.vault, deps)
    const { mount, prefix, timeoutMilliseconds } = signer
    const options = { mount, prefix, timeoutMilliseconds }
    const { createTransitBreaker } = await import('./adapters/vault/transit-upstream.ts')
    const breaker = deps.upstreams && createTransitBreaker(deps.upstreams, options)
    const parts = { client, ...deps, ...(breaker && { breaker }) }
    const remoteSigner = createTransitSigner(parts, options)
    return { privateKeys: undefined, remoteSigner, close: () => client.close() }
  }
  if (!store) throw new Error('keys.store is missing')
  const { parseKek } = await import('./adapters/sql/seal.ts')
  if (store.kind === 'sealed')
    return { privateKeys: sealed(parseKek(store.kek)), close: () => Promise.resolve() }

  const client = await openVault(store.vault, deps)
  const { createVaultPrivateKeyStore } = await import('./adapters/vault/private-key-store.ts')
  const { wrapWith, mount, path } = store
  const wrap = wrapWith && (await openKeyWrap(client, wrapWith))
  const vault = createVaultPrivateKeyStore({ client, wrap, random: deps.random }, { mount, path })
  return {
    privateKeys: cache ? await openKeyCache(vault, cache, parseKek(cache.kek), deps) : vault,
    close: () => client.close(),
  }
}

type VaultClient = Awaited<ReturnType<typeof openVault>>

async function openKeyWrap(client: VaultClient, options: { mount: string; key: string }) {
  const { createTransitKeyWrap } = await import('./adapters/vault/key-wrap-transit.ts')
  return createTransitKeyWrap({ client }, options)
}

async function openKeyCache(
  store: PrivateKeyStore,
  { file, maxAgeMilliseconds }: { readonly file: string; readonly maxAgeMilliseconds: number },
  kek: Secret<Buffer>,
  deps: StoreDeps,
) {
  const { createKeyCache } = await import('./adapters/vault/key-cache.ts')
  const files = { open, rename, unlink, mkdir }
  return createKeyCache({ store, files, ...deps }, { file, kek, maxAgeMilliseconds })
}

async function openVault({ addr, namespace, caFile, auth }: VaultOptions, deps: StoreDeps) {
  const { createVaultClient } = await import('./adapters/vault/client.ts')
  const ca = caFile === undefined ? undefined : await readFile(caFile, 'utf8')
  return createVaultClient(deps, { addr, namespace, ca, auth: loginOf(auth) })
}

/** Files are read at every login: that is how a secret-id or a service account's token is replaced without a restart. */
function loginOf(auth: VaultOptions['auth']) {
  if (auth.kind === 'token') return { kind: auth.kind, token: secretOf(auth.token, auth.tokenFile) }
  if (auth.kind === 'appRole') {
    const { kind, mount, roleId, secretId, secretIdFile } = auth
    return { kind, mount, roleId, secretId: secretOf(secretId, secretIdFile) }
  }
  const { kind, mount, role, tokenFile } = auth
  return { kind, mount, role, jwt: secretOf(undefined, tokenFile) }
}

function secretOf(value: Secret | undefined, file: string | undefined): () => Promise<Secret> {
  return async () => value ?? new Secret((await readFile(file ?? '', 'utf8')).trim())
}
