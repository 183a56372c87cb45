/**
 * `node test/chaos/kill-drill.ts`: three replicas on a real PostgreSQL and a real OpenBao, and `rolemint keys drill` against them. Prints the
 * drill's report as JSON; ends with 1 when something took longer than 5 s.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { issueAdminToken } from '../../src/cli/admin.ts'
import { openStores } from '../../src/compose-stores.ts'
import { loadConfig } from '../../src/config/load.ts'
import { startOpenBao } from '../fakes/openbao.ts'
import { startPostgres } from '../fakes/postgres.ts'
import { at, CLIENT } from '../fakes/sts.ts'
import { postgres as postgresPart } from '../skip.ts'
import { type OnDisk, writeDeployment } from './deployment.ts'
import { vaultStore } from './key-store-faults.ts'
import { bareEnvironment, type Served, startRolemint, startServing } from './processes.ts'

const REPLICAS = 3

/** Runs the command on servers that are up; its standard output, and how it ended. */
async function drill(disk: OnDisk, replicas: readonly Served[], env: NodeJS.ProcessEnv) {
  const [, secret = ''] = Buffer.from(disk.basic.replace('Basic ', ''), 'base64')
    .toString()
    .split(':')
  const subject = join(disk.folder, 'subject-token')
  writeFileSync(subject, disk.subjectToken(), { mode: 0o600 })
  const { config } = loadConfig({ path: disk.configFile, env })
  const stores = await openStores(config)
  const token = await issueAdminToken(stores.adminTokens, 'admin', 'kill-drill')
  await stores.close()
  const started = startRolemint(
    [
      ...'keys drill --tenant acme --confirm acme --yes -o json'.split(' '),
      '--client',
      CLIENT,
      '--subject',
      `@${subject}`,
      '--server',
      replicas[0]?.adminUrl ?? '',
      ...replicas.flatMap(({ url }) => ['--replica', url]),
    ],
    {
      env: bareEnvironment({
        ROLEMINT_ADMIN_TOKEN: token.reveal(),
        ROLEMINT_CLIENT_SECRET: secret,
      }),
    },
  )
  const { code } = await started.ended
  return { code, stdout: started.stdout(), stderr: started.stderr() }
}

async function main(): Promise<number> {
  const found = postgresPart.find()
  if ('missing' in found) throw new Error(found.missing)
  const postgres = await startPostgres(found.found)
  const bao = await startOpenBao()
  const { config, secretId } = await vaultStore(bao, bao.addr)
  const disk = await writeDeployment((tree) => {
    tree['store'] = { postgres: `\${env:DATABASE_URL}` }
    at(tree, 'keys')['store'] = config
  })
  const servers: Served[] = []
  try {
    const url = await postgres.createDatabase()
    const env = bareEnvironment({ DATABASE_URL: url.reveal(), SECRET_ID: String(secretId) })
    // All at once: the first key of the ring is a race too.
    const starting = Array.from({ length: REPLICAS }, () => startServing(disk.configFile, { env }))
    servers.push(...(await Promise.all(starting)))
    const { code, stdout, stderr } = await drill(disk, servers, env)
    console.error(stderr)
    if (stdout === '') return 1
    const report = JSON.parse(stdout) as { replicas: readonly unknown[] }
    console.log(JSON.stringify({ ...report, each: report.replicas, replicas: servers.length }))
    return code ?? 1
  } finally {
    for (const server of servers) server.kill('SIGKILL')
    await Promise.all(servers.map(({ ended }) => ended))
    await disk.close()
    await bao.close()
    await postgres.stop()
  }
}

process.exitCode = await main()
