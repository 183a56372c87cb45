/** A real Valkey or Redis on a free port of 127.0.0.1, with nothing kept on disk. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Valkey } from '../../src/adapters/valkey/connection.ts'
import { Secret } from '../../src/lib/secret.ts'
import type { Upstream } from '../../src/resilience/upstream.ts'
import type { Part } from '../skip.ts'
import { freePort } from './free-port.ts'

/** The server; `ROLEMINT_TEST_VALKEY` names another than the valkey-server or redis-server on the path. */
export const valkeyServer: Part<string> = {
  name: 'Valkey or Redis',
  mend: 'apt-get install redis-server (or valkey-server) brings it; name the binary in ROLEMINT_TEST_VALKEY.',
  find() {
    const named = process.env['ROLEMINT_TEST_VALKEY']
    const folders = (process.env['PATH'] ?? '').split(delimiter)
    const onPath = ['valkey-server', 'redis-server'].flatMap((name) =>
      folders.map((folder) => join(folder, name)),
    )
    const found = (named ? [named] : onPath).find((place) => existsSync(place))
    return found
      ? { found }
      : { missing: `there is no ${named ?? 'valkey-server and no redis-server'}` }
  },
}

/** A running server. */
export interface ValkeyServer {
  readonly port: number
  readonly url: Secret
  /** Sends one command on a connection of its own and gives what came back, as the server wrote it. */
  command(...words: string[]): Promise<string>
  /** Ends it as a crash would; everything it held is gone. */
  kill(): Promise<void>
  /** SIGSTOP: connections are taken and nothing answers. Resolves when every thread has stopped. */
  stop(): Promise<void>
  cont(): void
  /** Starts it again on the same port, empty. */
  restart(): Promise<void>
  flush(): Promise<void>
  /** Ends it and removes its folder. */
  close(): Promise<void>
}

const START_MILLISECONDS = 60_000

/** Starts the server found as {@link valkeyServer}. */
export async function startValkey(
  binary: string,
  { password }: { readonly password?: string } = {},
): Promise<ValkeyServer> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-valkey-'))
  const port = await freePort()
  const login = password === undefined ? [] : ['AUTH', password]
  const command = (...words: string[]): Promise<string> => ask(port, login, words)
  const launch = (): Promise<ChildProcess> => launchServer(binary, folder, port, password, command)
  let child: ChildProcess
  try {
    child = await launch()
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
  return {
    port,
    url: new Secret(
      `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}`,
    ),
    command,
    kill,
    stop: () => stopped(child),
    cont: () => void child.kill('SIGCONT'),
    async restart() {
      await kill()
      child = await launch()
    },
    flush: async () => void (await command('FLUSHALL')),
    async close() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** An upstream that lets everything through. */
export const unguarded: Pick<Upstream, 'call'> = {
  call: (work) => work(new AbortController().signal, 1),
}

/** Waits until commands are answered. */
export async function untilUp(valkey: Pick<Valkey, 'run'>): Promise<void> {
  const deadline = Date.now() + START_MILLISECONDS
  const script = { text: "return 'up'", sha1: 'f'.repeat(40) }
  for (;;) {
    const asked = valkey.run(script, [], [], AbortSignal.timeout(START_MILLISECONDS))
    const answer = await asked.catch((error: unknown) => error)
    if (Buffer.isBuffer(answer)) return
    if (Date.now() > deadline) throw new Error('the connection did not come up', { cause: answer })
    await setTimeout(10)
  }
}

async function launchServer(
  binary: string,
  folder: string,
  port: number,
  password: string | undefined,
  command: ValkeyServer['command'],
): Promise<ChildProcess> {
  const settings = ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder]
  const nothingKept = ['--save', '', '--appendonly', 'no', '--enable-debug-command', 'yes']
  const secret = password === undefined ? [] : ['--requirepass', password]
  const child = spawn(binary, [...settings, ...nothingKept, ...secret], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {},
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-20_000)
    })
  const killOnExit = (): void => void child.kill('SIGKILL')
  process.once('exit', killOnExit)
  child.once('exit', () => process.removeListener('exit', killOnExit))
  const deadline = Date.now() + START_MILLISECONDS
  for (;;) {
    const pong = await command('PING').catch(() => '')
    if (pong.startsWith('+PONG')) return child
    if (child.exitCode !== null || Date.now() > deadline) {
      child.kill('SIGKILL')
      throw new Error(`the server did not start: ${said}`)
    }
    await setTimeout(20)
  }
}

/** Speaks to it without the client under test. */
async function ask(port: number, login: string[], words: string[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  try {
    const commands = login.length > 0 ? [login, words] : [words]
    socket.write(commands.map(encode).join(''))
    socket.setTimeout(5000, () => socket.destroy(new Error('no answer')))
    let text = ''
    for await (const chunk of socket) {
      text += (chunk as Buffer).toString('latin1')
      const rest = login.length > 0 ? text.slice(text.indexOf('\r\n') + 2) : text
      if (isWhole(rest)) return rest
    }
    throw new Error('the connection was closed')
  } finally {
    socket.destroy()
  }
}

function encode(words: string[]): string {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  return `*${words.length}\r\n${parts.join('')}`
}

/** True when a reply of RESP2 has come to its end. */
function isWhole(text: string): boolean {
  let at = 0
  let wanted = 1
  while (wanted > 0) {
    const end = text.indexOf('\r\n', at)
    if (end === -1) return false
    const length = Number(text.slice(at + 1, end))
    wanted -= 1
    if (text[at] === '*') wanted += Math.max(0, length)
    at = end + 2 + (text[at] === '$' && length >= 0 ? length + 2 : 0)
    if (at > text.length) return false
  }
  return true
}

async function stopped(child: ChildProcess): Promise<void> {
  child.kill('SIGSTOP')
  const tasks = `/proc/${child.pid}/task`
  const isStopped = (task: string) => / T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'))
  while (!readdirSync(tasks).every(isStopped)) await setTimeout(5)
}
