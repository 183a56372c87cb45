import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { GENERATOR_CORE } from '../../bench/child.ts'

/** How slow clients are slow. */
export type SlowMode = 'headers' | 'body' | 'read'

export const SLOW_MODES: readonly SlowMode[] = ['headers', 'body', 'read']

/** Connections a second while they are opened. */
const CONNECTIONS_PER_SECOND = 500
/** Of a slow body; it never gets that far. */
const BODY_BYTES = 8192

/** An attack that is on. */
export interface Attack {
  /** Ends it, and gives the most slow connections that were held at once. */
  stop(): Promise<number>
}

/** Whether slowhttptest is installed. */
export function hasSlowhttptest(): boolean {
  return spawnSync('slowhttptest', ['-h']).error === undefined
}

/** Opens slow connections to a port and holds them for `seconds`, or until it is stopped. */
export function startAttack(options: {
  readonly mode: SlowMode
  readonly port: number
  readonly connections: number
  readonly seconds: number
  readonly folder: string
  readonly pinned: boolean
}): Attack {
  const { mode, port, connections, seconds, folder, pinned } = options
  const statistics = join(folder, `slow-${mode}-${port}`)
  const base = `http://127.0.0.1:${port}`
  const byMode = {
    headers: ['-H', '-u', `${base}/jwks`, '-i', '5', '-x', '24'],
    body: ['-B', '-u', `${base}/token`, '-i', '5', '-x', '16', '-s', `${BODY_BYTES}`],
    // The longest answer there is, read through a window of a few bytes.
    read: [
      '-X',
      '-u',
      `${base}/openapi.json`,
      '-w',
      '256',
      '-y',
      '512',
      '-n',
      '5',
      '-z',
      '16',
      '-k',
      '3',
    ],
  } as const
  const args = [
    '-c',
    `${connections}`,
    '-r',
    `${CONNECTIONS_PER_SECOND}`,
    '-l',
    `${Math.ceil(seconds)}`,
    '-g',
    '-o',
    statistics,
    '-v',
    '0',
    ...byMode[mode],
  ]
  const pin = pinned ? ['taskset', '-c', `${GENERATOR_CORE}`] : []
  // Behind the generator, whose calls would be late for every slice of the core that the attack takes.
  const [file = '', ...rest] = [...pin, 'nice', '-n', '19', 'slowhttptest', ...args]
  const child = spawn(file, rest, { stdio: 'ignore' })
  return {
    async stop() {
      await ended(child)
      return mostConnected(`${statistics}.csv`)
    },
  }
}

/** slowhttptest writes its statistics when it is interrupted as well as when its time is over. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGINT')
  const killer = setTimeout(() => child.kill('SIGKILL'), 5000)
  await exit
  clearTimeout(killer)
}

/** Lines are: seconds, closed, pending, connected, whether its own probe was answered. */
function mostConnected(file: string): number {
  if (!existsSync(file)) return 0
  const rows = readFileSync(file, 'utf8').trim().split('\n').slice(1)
  return Math.max(0, ...rows.map((row) => Number(row.split(',')[3])))
}

/** As many as rolemint takes of one address; `listen.public.limits.connectionsPerAddress` by default. */
const MOST_HELD = 512

/**
 * A server that takes whatever comes and never answers: what the attack itself costs the machine shows there. It closes what
 * is too many as rolemint does, since slowhttptest then takes all the time of a core that it can get.
 */
export async function openNowhere(): Promise<{ readonly port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    const [oldest] = sockets
    if (sockets.size > MOST_HELD) oldest?.destroy()
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
    socket.resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no TCP address')
  return {
    port: address.port,
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
