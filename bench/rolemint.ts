import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BUILT_MAIN } from './built.ts'
import { type Child, freePort, startChild } from './child.ts'
import { benchConfig } from './rolemint-config.ts'

const SERVE_MEMORY = join(import.meta.dirname, 'serve-memory.ts')
const READY_WITHIN_MILLISECONDS = 20_000

/** What rolemint is measured with. */
export interface RolemintSetup {
  /** Folder of its own; made if need be. */
  readonly folder: string
  readonly clientSecret: string
  readonly idpPublicJwk: Readonly<Record<string, unknown>>
  readonly entitlementsPort: number
  readonly core: number | undefined
  /** `memory`: the same server without a durable ledger, to know what that costs. */
  readonly store: 'sqlite' | 'memory'
}

/** A rolemint that answers. */
export interface Rolemint {
  readonly child: Child
  readonly port: number
  readonly adminPort: number
}

/** Writes the configuration and gives what `startRolemint` needs to run it, as often as wanted. */
export async function prepareRolemint(setup: RolemintSetup): Promise<PreparedRolemint> {
  mkdirSync(setup.folder, { recursive: true })
  const [port, adminPort] = await Promise.all([freePort(), freePort()])
  const configFile = join(setup.folder, 'bench.yaml')
  const kekFile = join(setup.folder, 'kek')
  writeFileSync(kekFile, randomBytes(32).toString('base64url'), { mode: 0o600 })
  const databaseFile = databaseOf(setup.folder)
  writeFileSync(configFile, benchConfig({ ...setup, port, adminPort, databaseFile, kekFile }))
  return { setup, port, adminPort, configFile }
}

/** A configuration on disk and the ports in it. */
export interface PreparedRolemint {
  readonly setup: RolemintSetup
  readonly port: number
  readonly adminPort: number
  readonly configFile: string
}

/** Runs `serve`. Does not wait until it answers. */
export function spawnRolemint({ setup, configFile }: PreparedRolemint): Child {
  return startChild({
    name: `rolemint-${setup.store}`,
    folder: setup.folder,
    args:
      setup.store === 'memory'
        ? [SERVE_MEMORY, configFile]
        : [BUILT_MAIN, 'serve', '-c', configFile],
    ipc: false,
    ...(setup.core === undefined ? {} : { core: setup.core }),
  })
}

/** Runs `serve` and waits for `/readyz`. @throws {Error} when it ends, is not ready after 20 s, or has another store than asked for. */
export async function startRolemint(prepared: PreparedRolemint): Promise<Rolemint> {
  const child = spawnRolemint(prepared)
  const ready = `http://127.0.0.1:${prepared.adminPort}/readyz`
  try {
    await Promise.race([until200(() => fetch(ready)), child.died])
    const isDurable = existsSync(databaseOf(prepared.setup.folder))
    if (isDurable !== (prepared.setup.store === 'sqlite'))
      throw new Error(
        `rolemint has ${isDurable ? 'a' : 'no'} database, asked for ${prepared.setup.store}`,
      )
  } catch (error) {
    await child.stop()
    throw error
  }
  return { child, port: prepared.port, adminPort: prepared.adminPort }
}

/** Milliseconds from the start of the process to the first token. @throws {Error} when none comes within 20 s. */
export async function measureStart(prepared: PreparedRolemint, form: string): Promise<number> {
  const start = performance.now()
  const child = spawnRolemint(prepared)
  const exchange = () =>
    fetch(`http://127.0.0.1:${prepared.port}/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form,
    })
  try {
    await Promise.race([until200(exchange), child.died])
    return performance.now() - start
  } finally {
    await child.stop()
  }
}

async function until200(request: () => Promise<Response>): Promise<void> {
  const deadline = performance.now() + READY_WITHIN_MILLISECONDS
  let last = 'no connection'
  while (performance.now() < deadline) {
    const answer = await request().catch(() => undefined)
    if (answer?.status === 200) return
    if (answer) last = `${answer.status} ${await answer.text()}`
    await sleep(3)
  }
  throw new Error(`rolemint did not answer 200: ${last}`)
}

function databaseOf(folder: string): string {
  return join(folder, 'rolemint.db')
}
