import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, freePort, GENERATOR_CORE, SERVER_CORE, startChild } from '../../bench/child.ts'
import { formRequest } from '../../bench/connection.ts'
import { prepareRolemint, startRolemint } from '../../bench/rolemint.ts'
import { exchangeForm } from '../../bench/scenario.ts'
import {
  BENCH_AUDIENCE,
  BENCH_CLIENT,
  createIdpKey,
  createMinter,
} from '../../bench/subject-tokens.ts'
import { jsonObject, textIn } from '../../demo/json.ts'
import type { Job, Peak, PeakJob, PhaseResult, Probe, Reply, RunJob, Server } from './jobs.ts'

const BENCH = join(import.meta.dirname, '../../bench')

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** More than the verified-token cache remembers of tokens seen once, so that every exchange is cold. */
const TOKENS = 50_000
/** All fit the entitlement cache. */
const USERS = 1000

/** The generator as the programs use it. */
export interface Generator {
  peak(job: Omit<PeakJob, 'op' | 'server'>): Promise<Peak>
  run(job: Omit<RunJob, 'op' | 'server'>): Promise<readonly PhaseResult[]>
}

/** A server under test with everything it needs, and the generator beside it. */
export interface Deployment {
  readonly generator: Generator
  readonly server: Server
  readonly port: number
  readonly adminPort: number | undefined
  /** The form of an exchange without the token. */
  readonly form: string
  /** The form of an introspection of a token that was just issued. */
  introspectForm(): Promise<string>
  stop(): Promise<void>
}

/** How to start one. */
export interface DeploymentOptions {
  readonly folder: string
  readonly pinned: boolean
  /** The `aud` of the subject tokens; the bench's when left out. */
  readonly audience?: readonly string[]
  /** Changes the bench's configuration before rolemint reads it. */
  readonly configure?: (config: BenchDocument) => unknown
}

/** The bench's configuration as far as it is changed here. */
export interface BenchDocument {
  readonly listen: { readonly public: string }
  readonly tenants: {
    readonly bench: { readonly idps: { readonly bench: Readonly<Record<string, unknown>> } }
  }
}

/** Starts rolemint as it is deployed: the built `serve`, with a durable ledger and a client secret. */
export function deployRolemint(options: DeploymentOptions): Promise<Deployment> {
  return deploy(options, async ({ clientSecret, idpPublicJwk, entitlementsPort, core }) => {
    const folder = mkdtempSync(join(options.folder, 'rolemint-'))
    const setup = {
      folder,
      clientSecret,
      idpPublicJwk,
      entitlementsPort,
      core,
      store: 'sqlite' as const,
    }
    const prepared = await prepareRolemint(setup)
    if (options.configure) {
      const document = JSON.parse(readFileSync(prepared.configFile, 'utf8')) as BenchDocument
      writeFileSync(prepared.configFile, JSON.stringify(options.configure(document)))
    }
    const { child, port, adminPort } = await startRolemint(prepared)
    return { child, port, adminPort, form: exchangeForm(clientSecret, 'audience') }
  })
}

/** Starts the bench's peer, oidc-provider, in the same place. */
export function deployPeer(options: DeploymentOptions): Promise<Deployment> {
  return deploy(options, async ({ clientSecret, idpPublicJwk, core }) => {
    const port = await freePort()
    const child = startChild({
      name: 'peer',
      folder: options.folder,
      args: [join(BENCH, 'peer-oidc-provider.ts')],
      env: { BENCH_PEER: JSON.stringify({ port, users: USERS, clientSecret, idpPublicJwk }) },
      ...(core === undefined ? {} : { core }),
    })
    await child.heard()
    return { child, port, adminPort: undefined, form: exchangeForm(clientSecret, 'resource') }
  })
}

interface Setting {
  readonly clientSecret: string
  readonly idpPublicJwk: Readonly<Record<string, unknown>>
  readonly entitlementsPort: number
  readonly core: number | undefined
}

type Started = Pick<Deployment, 'port' | 'adminPort' | 'form'> & { readonly child: Child }

async function deploy(
  { folder, pinned, audience = [BENCH_AUDIENCE] }: DeploymentOptions,
  startServer: (setting: Setting) => Promise<Started>,
): Promise<Deployment> {
  const children: Child[] = []
  const stop = async () => {
    for (const signal of SIGNALS) process.off(signal, giveUp)
    await Promise.all(children.map((child) => child.stop()))
  }
  // A server does not know that it is measured, and would outlive a program that is killed.
  const giveUp = () => void stop().finally(() => process.exit(1))
  for (const signal of SIGNALS) process.once(signal, giveUp)
  const beside = (file: string, args: readonly string[]) => {
    const child = startChild({
      name: file.replaceAll(/\W/g, '-'),
      folder,
      args: [file, ...args],
      ...(pinned ? { core: GENERATOR_CORE } : {}),
    })
    children.push(child)
    return child
  }
  try {
    const idp = createIdpKey()
    const clientSecret = randomBytes(32).toString('base64url')
    const entitlementsPort = await freePort()
    await beside(join(BENCH, 'entitlements.ts'), [`${entitlementsPort}`]).heard()
    const generator = beside(join(import.meta.dirname, 'generator.ts'), [])
    const core = pinned ? SERVER_CORE : undefined
    const { child, ...server } = await startServer({
      clientSecret,
      idpPublicJwk: idp.publicJwk,
      entitlementsPort,
      core,
    })
    children.push(child)
    const ask = async <T>(job: Job): Promise<T> => {
      const reply = (await Promise.race([generator.ask(job), child.died])) as Reply
      if ('error' in reply) throw new Error(reply.error)
      return reply.result as T
    }
    await ask({ op: 'mint', count: TOKENS, users: USERS, audience, privateJwk: idp.privateJwk })
    const measured = { pid: child.pid, core }
    return {
      ...server,
      server: measured,
      async introspectForm() {
        const mint = createMinter(idp.privateJwk, Date.now)
        const answer = await fetch(`http://127.0.0.1:${server.port}/token`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
          body: server.form + mint(0),
        })
        if (!answer.ok) throw new Error(`no token to introspect: ${await answer.text()}`)
        const token = textIn(jsonObject(await answer.json()), 'access_token')
        return new URLSearchParams({
          client_id: BENCH_CLIENT,
          client_secret: clientSecret,
          token,
        }).toString()
      },
      generator: {
        peak: (job) => ask<Peak>({ op: 'peak', server: measured, ...job }),
        run: (job) => ask<readonly PhaseResult[]>({ op: 'run', server: measured, ...job }),
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/**
 * What has to be answered during any storm: health, and on the public port what verifiers need. `jwks-new` comes on a new
 * connection each time, the others on the public port on kept ones. Revocation comes with a later order; JWKS and
 * introspection have its priority and stand in for it.
 *
 * @throws {Error} when no token can be had to introspect.
 */
export async function vitalProbes(
  deployment: Deployment,
  everyMilliseconds: number,
): Promise<Probe[]> {
  const { port, adminPort } = deployment
  const probe = (name: string, at: number, request: string): Probe => ({
    name,
    port: at,
    request,
    everyMilliseconds,
  })
  const get = (name: string, at: number, path: string, kind: 'kept' | 'new') =>
    probe(
      name,
      at,
      `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1:${at}\r\n${kind === 'new' ? 'connection: close\r\n' : ''}\r\n`,
    )
  const jwks = [get('jwks', port, '/jwks', 'kept'), get('jwks-new', port, '/jwks', 'new')]
  if (adminPort === undefined) return jwks
  const introspection = formRequest(
    port,
    '/introspect',
    await deployment.introspectForm(),
  ).toString('latin1')
  return [
    get('livez', adminPort, '/livez', 'new'),
    get('readyz', adminPort, '/readyz', 'new'),
    ...jwks,
    probe('introspect', port, introspection),
  ]
}
