import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { Secret } from '../../src/lib/secret.ts'

/** A real PostgreSQL 18 on a free port of 127.0.0.1, with an empty cluster of its own. */
export interface Postgres {
  /** A new, empty database. */
  createDatabase(): Promise<Secret>
  /** Runs SQL in the maintenance database. */
  execute(text: string): Promise<void>
  /** Ends it at once, as a crash would: connections break, nothing is flushed. */
  crash(): Promise<void>
  /** Starts it again on the same data and port. */
  start(): Promise<void>
  /** Ends it and removes its data. */
  stop(): Promise<void>
  readonly port: number
}

/** nobody: PostgreSQL refuses to run as root. */
const UNPRIVILEGED = 65_534

const asRoot = process.getuid?.() === 0
const identity = asRoot ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {}

/** True when `nobody` may walk down to the folder; under a home of mode 0700 it may not. */
function reachable(folder: string): boolean {
  if (!asRoot) return true
  for (let at = folder; at !== dirname(at); at = dirname(at)) {
    if ((statSync(at).mode & 0o001) === 0) return false
  }
  return true
}

/**
 * The binaries with the symbolic links of the shared libraries, which the package makes in an install script that may not have
 * run. They are made in a copy: node_modules may be read-only, and other test processes use it at the same time.
 */
function prepareBinaries(native: string, home: string): string {
  const links = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  const linked = links.every(({ target }) => existsSync(join(native, '..', target)))
  if (linked && reachable(native)) return native
  const copy = join(home, 'native')
  // As they are: made absolute, links would lead back to where the server may not go.
  cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
  for (const { source, target } of links) {
    const path = join(home, target)
    if (!existsSync(path)) symlinkSync(basename(source), path)
  }
  return copy
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('No port was free.')
  return address.port
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { ...identity, stdio: ['ignore', 'ignore', 'pipe'], env: {} })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${basename(command)} failed: ${said}`)
}

async function untilReady(url: string, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt += 1) {
    if (server.exitCode !== null) throw new Error('PostgreSQL did not start.')
    const client = new pg.Client({ connectionString: url })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return
    } catch {
      await setTimeout(50)
    }
  }
  throw new Error('PostgreSQL was not ready within 30 seconds.')
}

/**
 * Starts the PostgreSQL found at `installed` (the part `postgres` of test/skip.ts); the caller stops it in `after`. `fsync: false` is several times faster and right where no test pulls the
 * plug on the machine: a crash of the server alone loses nothing either way.
 */
export async function startPostgres(installed: string, { fsync = true } = {}): Promise<Postgres> {
  const home = mkdtempSync(join(tmpdir(), 'rolemint-postgres-'))
  if (asRoot) chownSync(home, UNPRIVILEGED, UNPRIVILEGED)
  const data = join(home, 'data')
  const native = prepareBinaries(installed, home)
  const port = await freePort()
  const url = (database: string) => `postgres://sts@127.0.0.1:${port}/${database}`
  let server: ChildProcess | undefined
  let databases = 0

  async function end(how: 'SIGINT' | 'SIGQUIT'): Promise<void> {
    const running = server
    server = undefined
    if (running === undefined || running.exitCode !== null) return
    const exited = once(running, 'exit')
    running.kill(how)
    await exited
  }

  const postgres: Postgres = {
    port,
    async execute(text) {
      const client = new pg.Client({ connectionString: url('postgres') })
      await client.connect()
      try {
        await client.query(text)
      } finally {
        await client.end()
      }
    },
    async createDatabase() {
      databases += 1
      const name = `t${databases}`
      await postgres.execute(`create database ${name}`)
      return new Secret(url(name))
    },
    crash: () => end('SIGQUIT'),
    async start() {
      const settings = [
        `port=${port}`,
        'listen_addresses=127.0.0.1',
        `unix_socket_directories=${home}`,
        `fsync=${fsync ? 'on' : 'off'}`,
        'shared_buffers=16MB',
      ]
      const args = ['-D', data, ...settings.flatMap((setting) => ['-c', setting])]
      server = spawn(join(native, 'bin', 'postgres'), args, {
        ...identity,
        stdio: 'ignore',
        env: {},
      })
      const running = server
      // A test process that ends without `after` (a crash, an interrupt) must not leave a server behind.
      process.once('exit', () => running.kill('SIGQUIT'))
      await untilReady(url('postgres'), server)
    },
    async stop() {
      await end('SIGINT')
      rmSync(home, { recursive: true, force: true })
    },
  }

  try {
    const options = ['-U', 'sts', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C']
    await run(join(native, 'bin', 'initdb'), ['-D', data, ...options])
    await postgres.start()
    return postgres
  } catch (error) {
    await postgres.stop()
    throw error
  }
}
