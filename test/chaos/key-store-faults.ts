/**
 * A server that signs with keys from a real OpenBao, under load, while OpenBao fails in every way it can: not one exchange may fail, the
 * alarm metric must tell of it, and afterwards all must be well again without a restart.
 */
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type FaultProxy, startFaultProxy } from '../fakes/fault-proxy.ts'
import { type OpenBao, startOpenBao } from '../fakes/openbao.ts'
import { at, type ConfigTree } from '../fakes/sts.ts'
import { type OnDisk, writeDeployment } from './deployment.ts'
import { createCaller } from './load.ts'
import { type Served, startServing } from './processes.ts'

/** What one fault came to. */
export interface FaultRun {
  readonly fault: string
  readonly issued: number
  readonly failed: readonly string[]
  /** Seconds until `rolemint_key_store_up` was 0, and until it was 1 again after the fault had ended. */
  readonly alarmSeconds: number
  readonly recoverySeconds: number
}

interface Bench {
  readonly bao: OpenBao
  readonly proxy: FaultProxy
  readonly disk: OnDisk
  readonly server: Served
}

interface FaultKind {
  readonly name: string
  begin(bench: Bench): Promise<unknown> | void
  end(bench: Bench): Promise<unknown> | void
}

const byProxy = (fault: Parameters<FaultProxy['set']>[0]): FaultKind => ({
  name: `answers ${fault}`,
  begin: ({ proxy }) => proxy.set(fault),
  end: ({ proxy }) => proxy.set('none'),
})

const FAULTS: readonly FaultKind[] = [
  { name: 'SIGKILL', begin: ({ bao }) => bao.kill(), end: ({ bao }) => bao.restart() },
  { name: 'SIGSTOP', begin: ({ bao }) => bao.stop(), end: ({ bao }) => bao.cont() },
  { name: 'sealed', begin: ({ bao }) => bao.seal(), end: ({ bao }) => bao.unseal() },
  byProxy('hang'),
  byProxy('garbage'),
  byProxy(403),
  byProxy(429),
  byProxy(500),
]

const ALARM_MILLISECONDS = 30_000
const RECOVERY_MILLISECONDS = 60_000

/** The `keys.store` of a configuration that logs in to this OpenBao through `addr`. */
export async function vaultStore(bao: OpenBao, addr: string): Promise<ConfigTree> {
  const secretId = await bao.newSecretId()
  const appRole = { roleId: bao.roleId, secretId: `\${env:SECRET_ID}` }
  return {
    config: { vault: { addr, auth: { appRole }, mount: 'rolemint', path: 'keys' } },
    secretId,
  }
}

/** Runs all faults one after the other, each for at least `seconds` under load. */
export async function runKeyStoreFaults(options: {
  readonly seconds: number
  readonly log?: (line: string) => void
}): Promise<readonly FaultRun[]> {
  const bao = await startOpenBao()
  const proxy = await startFaultProxy(bao.addr)
  const { config, secretId } = await vaultStore(bao, proxy.url)
  const disk = await writeDeployment((tree) => {
    at(tree, 'keys')['store'] = config
  })
  let server: Served | undefined
  try {
    const env = { PATH: process.env['PATH'], SECRET_ID: String(secretId) }
    server = await startServing(join(disk.folder, 'rolemint.yaml'), { env })
    const runs: FaultRun[] = []
    for (const fault of FAULTS) {
      const run = await runFault({ bao, proxy, disk, server }, fault, options.seconds)
      options.log?.(`${run.fault}: ${run.issued} issued, ${run.failed.length} failed`)
      runs.push(run)
    }
    return runs
  } finally {
    server?.kill('SIGKILL')
    await server?.ended
    await disk.close()
    await proxy.close()
    await bao.close()
  }
}

async function runFault(bench: Bench, fault: FaultKind, seconds: number): Promise<FaultRun> {
  const { server } = bench
  await isUp(server, '1', RECOVERY_MILLISECONDS)
  const load = startLoad(bench)
  const begun = Date.now()
  await fault.begin(bench)
  try {
    await isUp(server, '0', ALARM_MILLISECONDS)
  } finally {
    const alarmed = (Date.now() - begun) / 1000
    await setTimeout(Math.max(0, seconds * 1000 - (Date.now() - begun)))
    await fault.end(bench)
    load.alarmSeconds = alarmed
  }
  const ended = Date.now()
  await isUp(server, '1', RECOVERY_MILLISECONDS)
  const recoverySeconds = (Date.now() - ended) / 1000
  const { issued, failed } = await load.stop()
  return { fault: fault.name, issued, failed, alarmSeconds: load.alarmSeconds, recoverySeconds }
}

/** Exchanges without a pause on four connections. */
function startLoad({ server, disk }: Bench) {
  const caller = createCaller(server.url, disk, { connections: 4 })
  const load = { over: false }
  let issued = 0
  const failed: string[] = []
  const lanes = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (!load.over) {
        const form = disk.exchangeForm()
        const reply = await caller.exchange({ once: 'subject', assertion: undefined, form })
        if (reply.kind === 'token') issued += 1
        else failed.push(JSON.stringify(reply))
        await setTimeout(20)
      }
    }),
  )
  return {
    alarmSeconds: Number.NaN,
    async stop() {
      load.over = true
      await lanes
      await caller.close()
      return { issued, failed }
    },
  }
}

/** Waits for the gauge. @throws when it does not get there in time. */
async function isUp({ adminUrl }: Served, value: '0' | '1', milliseconds: number): Promise<void> {
  const deadline = Date.now() + milliseconds
  for (;;) {
    const metrics = await (await fetch(`${adminUrl}/metrics`)).text()
    if (metrics.includes(`rolemint_key_store_up ${value}\n`)) return
    if (Date.now() > deadline)
      throw new Error(`rolemint_key_store_up was not ${value} within ${milliseconds} ms`)
    await setTimeout(250)
  }
}
