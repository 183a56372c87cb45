/** A whole deployment for the fault matrix: rolemint with everything it depends on, each as a real process behind a proxy of its own. */
import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { issueAdminToken } from '../../../src/cli/admin.ts'
import { openStores } from '../../../src/compose-stores.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { jwksOf, newTestKey, type TestKey } from '../../fakes/jwt.ts'
import { at, type ConfigTree } from '../../fakes/sts.ts'
import { bareEnvironment, type Served, startServing } from '../processes.ts'
import { startTcpProxy, type TcpProxy } from '../tcp-proxy.ts'
import type { Dependency } from './faults.ts'
import {
  launchOpenBao,
  launchPostgres,
  launchUpstream,
  launchValkey,
  type RealServer,
} from './servers.ts'

/** How the processes of the world differ. */
export type Variant =
  /** The one that serves all the time; it keeps a boot cache of its keys. */
  | 'main'
  /** Knows no boot cache. */
  | 'uncached'
  /** Has a copy of the boot cache. */
  | 'cached'

export interface World {
  readonly proxies: Readonly<Record<Dependency, TcpProxy>>
  readonly main: Served
  readonly basic: string
  readonly adminToken: string
  readonly idpKey: TestKey
  /** `iss` of an issuer of the IdP. */
  issuer(name: string): string
  configFile(variant: Variant): string
  readonly env: NodeJS.ProcessEnv
  close(): Promise<void>
}

export const MATRIX_CLIENT = 'matrix'
export const KNOWN_USER = 'ada@matrix.example'
export const MATRIX_API = 'https://api.matrix.example'
/** The tenant with many issuers, each for one cell: `i0` to `i31`. */
export const ISSUERS_TENANT = 'issuers'
export const ISSUERS = 32
/** The tenant with a limit: so many exchanges a minute for a user. */
export const RATED_TENANT = 'rated'
export const RATE = 5
export const FRESH_MILLISECONDS = 1000
export const LIMITED_TTL_SECONDS = 120
/** What the source says, and what that is for us. */
export const SOURCE_ROLES = { known: ['R_READ', 'R_WRITE', 'R_ADMIN'], new: ['R_READ', 'R_WRITE'] }
export const ROLES = {
  known: ['orders.admin', 'orders.read', 'orders.write'],
  new: ['orders.read', 'orders.write'],
  limited: ['orders.read'],
}

/** Starts everything. Takes some ten seconds. */
export async function startWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-matrix-'))
  const running: { close(): Promise<unknown> }[] = []
  const close = async () => {
    for (const each of running.toReversed()) await each.close()
    rmSync(folder, { recursive: true, force: true })
  }
  const keep = <T extends { close(): Promise<unknown> }>(part: T): T => {
    running.push(part)
    return part
  }
  try {
    const idpKey = newTestKey('ES256', 'idp-1')
    writeFileSync(join(folder, 'idp.json'), JSON.stringify(jwksOf(idpKey)))
    writeFileSync(
      join(folder, 'roles.json'),
      JSON.stringify({ [KNOWN_USER]: SOURCE_ROLES.known, new: SOURCE_ROLES.new }),
    )
    const [idp, entitlement, vault, valkey, store] = await Promise.all([
      launchUpstream('idp', join(folder, 'idp.json')),
      launchUpstream('entitlement', join(folder, 'roles.json')),
      launchOpenBao(),
      launchValkey(),
      launchPostgres(),
    ])
    const before = async (server: RealServer) => keep(await startTcpProxy(keep(server).port))
    const proxies = {
      idp: await before(idp),
      entitlement: await before(entitlement),
      vault: await before(vault.server),
      valkey: await before(valkey.server),
      store: await before(store.server),
    }
    const address = (dependency: Dependency) => `127.0.0.1:${proxies[dependency].port}`
    const database = new URL((await store.itself.createDatabase()).reveal())
    database.host = address('store')
    const env = bareEnvironment({
      DATABASE_URL: database.href,
      VALKEY_URL: `redis://${address('valkey')}`,
      SECRET_ID: await vault.itself.newSecretId(),
    })
    const secret = `rms_${randomBytes(32).toString('base64url')}`
    const tree = matrixConfig({ address, roleId: vault.itself.roleId, secret })
    const configFile = writeVariants(folder, tree)
    const main = await startServing(configFile('main'), { env })
    keep({
      async close() {
        main.kill('SIGKILL')
        await main.ended
      },
    })
    return {
      proxies,
      main,
      basic: `Basic ${Buffer.from(`${MATRIX_CLIENT}:${secret}`).toString('base64')}`,
      adminToken: await newAdminToken(configFile('main'), env),
      idpKey,
      issuer: (name) => `http://${address('idp')}/${name}`,
      configFile,
      env,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

interface Facts {
  readonly address: (dependency: Dependency) => string
  readonly roleId: string
  readonly secret: string
}

function matrixConfig({ address, roleId, secret }: Facts): ConfigTree {
  const vault = {
    addr: `http://${address('vault')}`,
    auth: { appRole: { roleId, secretId: `\${env:SECRET_ID}` } },
    mount: 'rolemint',
    path: 'keys',
  }
  const client = {
    auth: { clientSecret: { sha256: [createHash('sha256').update(secret).digest('base64url')] } },
    grants: ['exchange', 'introspect'],
    audiences: [MATRIX_API],
    resourceFor: [MATRIX_API],
    roles: ROLES.known,
  }
  const idp = (name: string) => ({
    issuer: `http://${address('idp')}/${name}`,
    audience: 'rolemint',
    algorithms: ['ES256'],
    user: 'upn',
    presenters: [MATRIX_CLIENT],
  })
  const tenant = (name: string, idps: ConfigTree, source: ConfigTree): ConfigTree => ({
    issuer: `https://${name}.matrix.example`,
    idps,
    sources: {
      hr: {
        url: `http://${address('entitlement')}/users/{user}/roles`,
        roles: 'items[*].role',
        nextPage: 'next',
        echo: 'user',
        timeout: { connect: '300ms', read: '500ms', total: '1s' },
        ...source,
      },
    },
    roles: {
      map: [
        { from: 'R_READ', to: 'orders.read' },
        { from: 'R_WRITE', to: 'orders.write' },
        { from: 'R_ADMIN', to: 'orders.admin' },
      ],
    },
    clients: { [MATRIX_CLIENT]: { ...client, idps: Object.keys(idps) } },
  })
  const brief = { fresh: `${FRESH_MILLISECONDS}ms`, unknownUser: '1s' }
  const issuers = Array.from({ length: ISSUERS }, (_, index) => `i${index}`)
  return {
    version: 1,
    profile: 'dev',
    listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0' },
    store: { postgres: `\${env:DATABASE_URL}` },
    cache: { valkey: `\${env:VALKEY_URL}`, seal: '${file:./seal}' },
    idpKeys: { snapshots: './snapshots' },
    keys: {
      store: { vault },
      cache: { file: './keys.cache', kek: '${file:./kek}', maxAge: '72h' },
    },
    tenants: {
      within: tenant('within', { login: idp('within') }, { cache: { fresh: '10m' } }),
      deny: tenant('deny', { login: idp('deny') }, { cache: brief, onFailure: 'deny' }),
      stale: tenant(
        'stale',
        { login: idp('stale') },
        { cache: { ...brief, staleIfError: '10m' }, onFailure: 'stale' },
      ),
      limited: tenant(
        'limited',
        { login: idp('limited') },
        {
          cache: brief,
          onFailure: 'limited',
          limited: { roles: ['R_READ'], ttl: `${LIMITED_TTL_SECONDS}s` },
        },
      ),
      [RATED_TENANT]: {
        ...tenant(RATED_TENANT, { login: idp(RATED_TENANT) }, { cache: { fresh: '10m' } }),
        limits: { perSubject: `${RATE}/m` },
      },
      [ISSUERS_TENANT]: tenant(
        ISSUERS_TENANT,
        Object.fromEntries(
          issuers.map((name) => [
            name,
            { ...idp(name), subjectPrefix: `${name}:`, upnDomains: [`${name}.matrix.example`] },
          ]),
        ),
        { cache: { fresh: '10m' } },
      ),
    },
  }
}

/** The configuration of every variant, with the secrets beside it. */
function writeVariants(folder: string, tree: ConfigTree): (variant: Variant) => string {
  for (const secret of ['kek', 'seal'])
    writeFileSync(join(folder, secret), randomBytes(32).toString('base64url'), { mode: 0o600 })
  const place = (variant: Variant) => join(folder, `${variant}.yaml`)
  const write = (variant: Variant) =>
    writeFileSync(place(variant), stringify(tree, { aliasDuplicateObjects: false }))
  write('main')
  at(tree, 'keys.cache')['file'] = './copy.cache'
  write('cached')
  delete at(tree, 'keys')['cache']
  write('uncached')
  return (variant) => {
    // As it is now: the main process writes it anew when its keys change.
    if (variant === 'cached') copyFileSync(join(folder, 'keys.cache'), join(folder, 'copy.cache'))
    return place(variant)
  }
}

async function newAdminToken(path: string, env: NodeJS.ProcessEnv): Promise<string> {
  const stores = await openStores(loadConfig({ path, env }).config)
  const token = await issueAdminToken(stores.adminTokens, 'admin', 'fault-matrix')
  await stores.close()
  return token.reveal()
}
