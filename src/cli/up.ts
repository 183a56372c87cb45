import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Command } from 'commander'
import { newClientSecret } from '../client/new-secret.ts'
import { createSystemRandom } from '../lib/id.ts'
import { issueAdminToken } from './admin.ts'
import { banner } from './banner.ts'
import { DEV_FOLDER, type DevState, devPaths } from './dev-state.ts'
import { EXIT } from './exit-codes.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { refuseRisks, secureProcess, thisMachine } from './process-safety.ts'
import { openPorts, start, stopped } from './serve.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

const CLIENT = 'orders-web'
const AUDIENCE = 'https://api.demo.example'
/** Demo tokens and the admin token live an hour; the files are written anew well before. */
const REFRESH_MILLISECONDS = 20 * 60 * 1000

interface UpOptions {
  readonly public: string
  readonly admin: string
  readonly folder: string
}

type Paths = ReturnType<typeof devPaths>

/**
 * `rolemint up`: a whole deployment on this machine: a real IdP, an entitlement API, an SQLite store, three users. The
 * demo parts are loaded here and nowhere else; they are development dependencies, so `up` works from a clone.
 */
export function upCommand(terminal: Terminal): Command {
  return new Command('up')
    .description(
      'Try it: a deployment with a demo identity provider on this machine. Not for production.',
    )
    .option('--public <address>', 'where clients connect', '127.0.0.1:8080')
    .option('--admin <address>', 'where operators connect', '127.0.0.1:9090')
    .option('--folder <path>', 'where it keeps its files', DEV_FOLDER)
    .action(async (options: UpOptions) => {
      const began = performance.now()
      const machine = thisMachine()
      refuseRisks(secureProcess(machine), 'dev', { machine, terminal })
      const paths = devPaths(options.folder)
      mkdirSync(options.folder, { recursive: true, mode: 0o700 })
      const { idp, entitlements, users, configText } = await startDemo(paths, options)
      writePrivately(paths.config, configText)
      const deployment = await start(loadOrExplain(terminal, paths.config))
      const addresses = await openPorts(deployment)
      const state: DevState = {
        server: `http://${options.public}`,
        admin: addresses.admin,
        tenant: 'demo',
        client: CLIENT,
        audience: AUDIENCE,
        users: [...users],
      }
      const refresh = async () => {
        for (const user of users) writePrivately(paths.token(user), await idp.tokenFor(user))
        writePrivately(
          paths.adminToken,
          (await issueAdminToken(deployment.stores.adminTokens, 'admin', 'rolemint up')).reveal(),
        )
      }
      await refresh()
      writePrivately(paths.state, JSON.stringify(state, null, 2))
      const timer = setInterval(() => void refresh().catch(() => undefined), REFRESH_MILLISECONDS)
      terminal.stderr(
        banner({ state, folder: options.folder, readyMilliseconds: performance.now() - began }),
      )
      await stopped(deployment, async () => {
        clearInterval(timer)
        await Promise.all([idp.close(), entitlements.close()])
      })
    })
}

/** What of `demo/` is used here. Those files are no part of the build, so they are described rather than imported. */
interface DemoParts {
  readonly idp: {
    readonly startDemoIdp: () => Promise<{
      readonly issuer: string
      tokenFor(user: string): Promise<string>
      close(): Promise<void>
    }>
  }
  readonly entitlements: {
    readonly startDemoEntitlements: (options: {
      readonly bearer: string
    }) => Promise<{ readonly url: string; close(): Promise<void> }>
  }
  readonly config: {
    readonly demoConfig: (places: Readonly<Record<string, string>>) => string
  }
}

interface Demo {
  readonly idp: Awaited<ReturnType<DemoParts['idp']['startDemoIdp']>>
  readonly entitlements: Awaited<ReturnType<DemoParts['entitlements']['startDemoEntitlements']>>
  readonly users: readonly string[]
  readonly configText: string
}

async function loadDemo<K extends keyof DemoParts>(part: K): Promise<DemoParts[K]> {
  try {
    return await import(new URL(`../../demo/${part}.ts`, import.meta.url).href)
  } catch (error) {
    if (!isMissingModule(error)) throw error
    throw new CommandFailure(
      EXIT.usage,
      '`up` needs the demo, which comes with a clone: run it there',
    )
  }
}

function isMissingModule(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND'
}

async function startDemo(paths: Paths, options: UpOptions): Promise<Demo> {
  const [{ startDemoIdp }, { startDemoEntitlements }, { demoConfig }] = await Promise.all([
    loadDemo('idp'),
    loadDemo('entitlements'),
    loadDemo('config'),
  ])
  kept(paths.kek, () => randomBytes(32).toString('base64url'))
  const bearer = kept(paths.entitlementsToken, () => randomBytes(32).toString('base64url'))
  const secret = kept(paths.clientSecret, () =>
    newClientSecret(createSystemRandom()).secret.reveal(),
  )
  const [idp, entitlements] = await Promise.all([startDemoIdp(), startDemoEntitlements({ bearer })])
  const configText = demoConfig({
    publicAddress: options.public,
    adminAddress: options.admin,
    idpIssuer: idp.issuer,
    entitlementsUrl: entitlements.url,
    clientSecretSha256: createHash('sha256').update(secret).digest('base64url'),
  })
  return { idp, entitlements, users: ['alice', 'bob', 'carol'], configText }
}

/** The content of a file that is made once and then kept, so that a restart of `up` keeps keys and secrets. */
function kept(path: string, make: () => string): string {
  if (!existsSync(path)) writePrivately(path, make())
  return readFileSync(path, 'utf8').trim()
}

/** Replaces a file in one step, readable by its owner only: a reader never sees half of it. */
function writePrivately(path: string, content: string): void {
  const fresh = `${path}.new`
  // No newline at the end: curl would send it as a part of the token.
  writeFileSync(fresh, content.trimEnd(), { mode: 0o600 })
  chmodSync(fresh, 0o600)
  renameSync(fresh, path)
}
