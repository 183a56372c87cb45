import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Child, freePort, GENERATOR_CORE, SERVER_CORE, startChild } from './child.ts'
import { type Generator, startGenerator } from './generator.ts'
import { prepareRolemint, type RolemintSetup, startRolemint } from './rolemint.ts'
import type { Target } from './scenario.ts'
import { residentMegabytes } from './server-cpu.ts'
import { createIdpKey } from './subject-tokens.ts'

/** Everything that runs while the bench measures. */
export interface Servers {
  readonly generator: Generator
  readonly trivial: Target
  readonly peer: Target
  /** Undefined when it did not start. */
  readonly rolemint: (Target & { readonly adminPort: number }) | undefined
  /** rolemint without a durable ledger; undefined when it cannot be had. */
  readonly memory: Target | undefined
  /** What could not be started, and why. */
  readonly missing: ReadonlyMap<'rolemint' | 'memory', string>
  /** Memory of each before the first request, MB. */
  readonly idleMegabytes: { readonly rolemint: number | undefined; readonly peer: number }
  readonly clientSecret: string
  readonly idp: ReturnType<typeof createIdpKey>
  readonly entitlementsPort: number
  /** The crypto bound's process. */
  readonly bound: Child
  stop(): Promise<void>
}

/** How long a server has to settle before its memory is read: no request but `/readyz` came so far. */
const QUIET_MILLISECONDS = 3000

/** Starts all servers on one core, the generator on the other. @throws {Error} when anything but rolemint fails to start. */
export async function startServers(options: {
  readonly folder: string
  readonly users: number
  readonly pinned: boolean
}): Promise<Servers> {
  const { folder, users, pinned } = options
  const clientSecret = randomBytes(32).toString('base64url')
  const idp = createIdpKey()
  const serverCore = pinned ? SERVER_CORE : undefined
  const generatorCore = pinned ? GENERATOR_CORE : undefined
  const children: { stop(): Promise<void> }[] = []
  const start = (file: string, core: number | undefined, more: readonly string[], env = {}) => {
    const args = [join(import.meta.dirname, `${file}.ts`), ...more]
    const child = startChild({
      name: file,
      folder,
      args,
      env,
      ...(core === undefined ? {} : { core }),
    })
    children.push(child)
    return child
  }
  const stop = async () => {
    await Promise.all(children.map((child) => child.stop()))
  }
  try {
    const generator = startGenerator({
      folder,
      core: generatorCore,
      users,
      privateJwk: idp.privateJwk,
    })
    children.push(generator)
    const entitlementsPort = await freePort()
    await start('entitlements', generatorCore, [`${entitlementsPort}`]).heard()
    const trivialPort = await freePort()
    const trivial = start('trivial', serverCore, [`${trivialPort}`])
    await trivial.heard()
    const peerPort = await freePort()
    const settings = { port: peerPort, users, clientSecret, idpPublicJwk: idp.publicJwk }
    const peer = start('peer-oidc-provider', serverCore, [], {
      BENCH_PEER: JSON.stringify(settings),
    })
    await peer.heard()
    const bound = start('crypto-bound', serverCore, [])

    const missing = new Map<'rolemint' | 'memory', string>()
    const rolemintOf = async (name: 'rolemint' | 'memory', store: RolemintSetup['store']) => {
      try {
        const started = await startOne({
          folder: join(folder, store),
          clientSecret,
          idpPublicJwk: idp.publicJwk,
          entitlementsPort,
          core: serverCore,
          store,
        })
        children.push(started)
        return started.target
      } catch (error) {
        missing.set(name, error instanceof Error ? error.message : String(error))
        return undefined
      }
    }
    const rolemint = await rolemintOf('rolemint', 'sqlite')
    await sleep(QUIET_MILLISECONDS)
    const idleMegabytes = {
      rolemint: rolemint && residentMegabytes(rolemint.pid),
      peer: residentMegabytes(peer.pid),
    }
    const memory = rolemint && (await rolemintOf('memory', 'memory'))
    if (!rolemint) missing.set('memory', 'there is no rolemint')
    return {
      generator,
      trivial: { pid: trivial.pid, port: trivialPort, core: serverCore },
      peer: { pid: peer.pid, port: peerPort, core: serverCore },
      rolemint,
      memory,
      missing,
      idleMegabytes,
      clientSecret,
      idp,
      entitlementsPort,
      bound,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startOne(setup: RolemintSetup) {
  const { child, port, adminPort } = await startRolemint(await prepareRolemint(setup))
  return { target: { pid: child.pid, port, adminPort, core: setup.core }, stop: () => child.stop() }
}
