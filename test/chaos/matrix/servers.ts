/** Everything rolemint depends on, as real processes that can be killed, stopped, continued and started again on the same port. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { openbao, startOpenBao } from '../../fakes/openbao.ts'
import { startPostgres } from '../../fakes/postgres.ts'
import { startValkey, valkeyServer } from '../../fakes/valkey.ts'

import { postgres } from '../../skip.ts'
import { bareEnvironment, ROOT, startProgram } from '../processes.ts'

/** A dependency that runs. */
export interface RealServer {
  readonly name: string
  readonly port: number
  /** SIGKILL, or what is a crash to it. Resolves when it is gone. */
  kill(): Promise<void>
  /** SIGSTOP: the kernel takes connections and nothing answers. Resolves when every thread of every process has stopped. */
  stop(): Promise<void>
  cont(): void
  /** Starts it again after {@link kill}, on the same port and, where it keeps any, the same data. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** A {@link RealServer}, and what only this one can do. */
export interface Launched<T> {
  readonly server: RealServer
  readonly itself: T
}

/** An IdP or an entitlement API of our own, which reads what it says from a JSON file. */
export async function launchUpstream(
  name: 'idp' | 'entitlement',
  stateFile: string,
): Promise<RealServer> {
  const launch = async (port: number) => {
    const args = [`${ROOT}test/chaos/matrix/upstream.ts`, name, String(port), stateFile]
    const started = startProgram(process.execPath, args, { env: bareEnvironment() })
    const [, listening = ''] = await started.says(/listens on (\d+)\n/)
    return { started, port: Number(listening) }
  }
  let running = await launch(0)
  const { port } = running
  const kill = async () => {
    running.started.kill('SIGKILL')
    await running.started.ended
  }
  return {
    name,
    port,
    kill,
    stop: () => stopAll([running.started.pid]),
    cont: () => running.started.kill('SIGCONT'),
    async restart() {
      await kill()
      running = await launch(port)
    },
    close: kill,
  }
}

/** A PostgreSQL. `fsync: false`: what is broken here is the way to it, not its disk. */
export async function launchPostgres(): Promise<
  Launched<Awaited<ReturnType<typeof startPostgres>>>
> {
  const itself = await startPostgres(found(postgres), { fsync: false })
  const { port } = itself
  /** The server forks one process for each connection; a stopped parent alone would go on answering those. */
  const family = () => {
    const parent = processes().find(({ command }) => command.includes(`port=${port}`))?.pid
    const children = processes().filter((each) => each.parent === parent)
    return parent === undefined ? [] : [parent, ...children.map(({ pid }) => pid)]
  }
  const server: RealServer = {
    name: 'store',
    port,
    kill: () => itself.crash(),
    stop: () => stopAll(family()),
    cont: () => {
      for (const pid of family()) process.kill(pid, 'SIGCONT')
    },
    restart: () => itself.start(),
    close: () => itself.stop(),
  }
  return { server, itself }
}

/** An OpenBao as `deploy/vault/` describes it. */
export async function launchOpenBao(): Promise<Launched<Awaited<ReturnType<typeof startOpenBao>>>> {
  found(openbao)
  const itself = await startOpenBao()
  return { server: named('vault', Number(new URL(itself.addr).port), itself), itself }
}

/** A Valkey, or a Redis where there is none. */
export async function launchValkey(): Promise<Launched<Awaited<ReturnType<typeof startValkey>>>> {
  const itself = await startValkey(found(valkeyServer))
  return { server: named('valkey', itself.port, itself), itself }
}

function named(name: string, port: number, fake: Omit<RealServer, 'name' | 'port'>): RealServer {
  return {
    name,
    port,
    kill: () => fake.kill(),
    stop: () => fake.stop(),
    cont: () => fake.cont(),
    restart: () => fake.restart(),
    close: () => fake.close(),
  }
}

function found(part: {
  find(): { readonly found: string } | { readonly missing: string }
}): string {
  const look = part.find()
  if ('missing' in look) throw new Error(look.missing)
  return look.found
}

/** Stops processes and waits until no thread of theirs runs any more. */
async function stopAll(pids: readonly number[]): Promise<void> {
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  while (!pids.every(isStopped)) await sleep(5)
}

function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`
  return readdirSync(tasks).every((task) =>
    / T /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8')),
  )
}

/** What runs on this machine; a process that ends while it is looked at is left out. */
function processes(): {
  readonly pid: number
  readonly parent: number
  readonly command: string
}[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const status = readFileSync(`/proc/${name}/status`, 'utf8')
        const parent = Number(/^PPid:\s*(\d+)$/m.exec(status)?.[1])
        return [{ pid: Number(name), parent, command }]
      } catch {
        return []
      }
    })
}
