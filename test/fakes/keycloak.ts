/** A real Keycloak in a folder of its own: one realm, one client, one user, everything in memory. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Part } from '../skip.ts'
import { freePort } from './free-port.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The folder of a Keycloak distribution; `ROLEMINT_TEST_KEYCLOAK` names another than `.cache/tools/keycloak`. */
export const keycloak: Part<string> = {
  name: 'Keycloak',
  mend: 'Unpack keycloak-quarkus-dist from Maven Central, have a Java 17 or newer on the path, and name the folder in ROLEMINT_TEST_KEYCLOAK.',
  find() {
    const folder = process.env['ROLEMINT_TEST_KEYCLOAK'] ?? join(ROOT, '.cache/tools/keycloak')
    if (!existsSync(join(folder, LAUNCHER)))
      return { missing: `there is no ${LAUNCHER} in ${folder}` }
    const java = spawnSync('java', ['-version'], { timeout: 20_000 })
    return java.status === 0 ? { found: folder } : { missing: 'java does not start' }
  },
}

/** A running Keycloak. */
export interface Keycloak {
  /** Issuer of the realm. */
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** An access token of the user, for the audience `rolemint`. */
  token(): Promise<string>
  /** Makes a new key, which signs from now on, and takes the former one out of the set unless it is to be kept. */
  rotate(how?: { readonly keepFormer?: boolean }): Promise<void>
  /** Ends it and removes its folder. */
  close(): Promise<void>
}

const LAUNCHER = 'lib/quarkus-run.jar'
const START_MILLISECONDS = 300_000
const REALM = 'acme'
const USER = { name: 'ada', password: 'ada-of-a-test' }
const ADMIN = { name: 'admin', password: 'admin-of-a-test' }
const CLIENT = { id: 'orders-web', secret: 'secret-of-a-test' }
/** Enough for one realm; the heap that it takes by itself is as large as the machine allows. */
const JAVA = [
  '-Xms64m',
  '-Xmx320m',
  '-XX:MaxMetaspaceSize=256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
]

/** Starts a Keycloak on a free port. Needs the distribution, built as `.ci/run` does it: see {@link keycloak}. */
export async function startKeycloak(): Promise<Keycloak> {
  const look = keycloak.find()
  if ('missing' in look) throw new Error(look.missing)
  const home = furnishHome(look.found)
  try {
    const port = await freePort()
    const base = `http://127.0.0.1:${port}`
    const child = await launch(look.found, home, port, `${base}/realms/${REALM}`)
    return talkTo(base, async () => {
      await ended(child)
      rmSync(home, { recursive: true, force: true })
    })
  } catch (error) {
    rmSync(home, { recursive: true, force: true })
    throw error
  }
}

/** A home that leads to the distribution, with a realm to import; whatever the server writes stays in it. */
function furnishHome(distribution: string): string {
  const home = mkdtempSync(join(tmpdir(), 'rolemint-keycloak-'))
  for (const part of ['lib', 'conf', 'providers', 'themes'])
    symlinkSync(join(distribution, part), join(home, part))
  mkdirSync(join(home, 'data/import'), { recursive: true })
  writeFileSync(join(home, 'data/import/realm.json'), JSON.stringify(realm()))
  return home
}

function realm() {
  return {
    realm: REALM,
    enabled: true,
    sslRequired: 'none',
    clients: [
      {
        clientId: CLIENT.id,
        secret: CLIENT.secret,
        enabled: true,
        publicClient: false,
        standardFlowEnabled: false,
        directAccessGrantsEnabled: true,
        protocolMappers: [
          {
            name: 'our audience',
            protocol: 'openid-connect',
            protocolMapper: 'oidc-audience-mapper',
            config: { 'included.custom.audience': 'rolemint', 'access.token.claim': 'true' },
          },
        ],
      },
    ],
    users: [
      {
        username: USER.name,
        enabled: true,
        email: 'ada@acme.example',
        emailVerified: true,
        firstName: 'Ada',
        lastName: 'Lovelace',
        credentials: [{ type: 'password', value: USER.password, temporary: false }],
      },
    ],
  }
}

/** Java itself rather than the script before it: a process of which we know the id, and that dies when it is killed. */
async function launch(
  distribution: string,
  home: string,
  port: number,
  issuer: string,
): Promise<ChildProcess> {
  const opened = ['util', 'util.concurrent', 'security', 'lang']
  const child = spawn(
    'java',
    [
      ...JAVA,
      ...opened.map((name) => `--add-opens=java.base/java.${name}=ALL-UNNAMED`),
      `-Dkc.home.dir=${home}`,
      `-Djboss.server.config.dir=${join(home, 'conf')}`,
      '-Djava.util.logging.manager=org.jboss.logmanager.LogManager',
      '-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory',
      '-Dpicocli.disable.closures=true',
      '-cp',
      join(distribution, LAUNCHER),
      'io.quarkus.bootstrap.runner.QuarkusEntryPoint',
      'start',
      '--optimized',
      '--import-realm',
      '--http-enabled=true',
      '--http-host=127.0.0.1',
      `--http-port=${port}`,
      '--hostname-strict=false',
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN.name,
        KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN.password,
      },
    },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-20_000)
    })
  const killOnExit = () => void child.kill('SIGKILL')
  process.once('exit', killOnExit)
  child.once('exit', () => process.removeListener('exit', killOnExit))
  const deadline = Date.now() + START_MILLISECONDS
  for (;;) {
    const answer = await fetch(`${issuer}/.well-known/openid-configuration`, {
      signal: AbortSignal.timeout(5000),
    }).catch(() => undefined)
    if (answer?.ok) return child
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`Keycloak did not start: ${said}`)
    }
    await setTimeout(200)
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

function talkTo(base: string, close: () => Promise<void>): Keycloak {
  const issuer = `${base}/realms/${REALM}`
  async function admin(method: string, path: string, body?: object): Promise<unknown> {
    const token = await passwordToken(`${base}/realms/master`, {
      client_id: 'admin-cli',
      username: ADMIN.name,
      password: ADMIN.password,
    })
    return call(`${base}/admin/realms/${REALM}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  }
  let rotations = 0
  return {
    issuer,
    clientId: CLIENT.id,
    clientSecret: CLIENT.secret,
    token: () =>
      passwordToken(issuer, {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        username: USER.name,
        password: USER.password,
      }),
    async rotate({ keepFormer = false } = {}) {
      rotations += 1
      const type = 'org.keycloak.keys.KeyProvider'
      const providers = await admin('GET', `/components?type=${type}`)
      const signing = (providers as readonly { id: string; providerId: string }[]).filter(
        ({ providerId }) => providerId === 'rsa-generated',
      )
      await admin('POST', '/components', {
        name: `rotation ${rotations}`,
        providerId: 'rsa-generated',
        providerType: type,
        config: { priority: [String(1000 + rotations)], algorithm: ['RS256'], keySize: ['2048'] },
      })
      if (keepFormer) return
      for (const { id } of signing) await admin('DELETE', `/components/${id}`)
    },
    close,
  }
}

/** A token for a user's password, at the realm of this address. */
async function passwordToken(realmUrl: string, form: Readonly<Record<string, string>>) {
  const answer = await call(`${realmUrl}/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'password', ...form }),
  })
  return (answer as { readonly access_token: string }).access_token
}

async function call(url: string, init: RequestInit): Promise<unknown> {
  const answer = await fetch(url, { ...init, signal: AbortSignal.timeout(60_000) })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`Keycloak refused ${init.method}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}
