/** The kill drill of the command line, on three replicas that share a PostgreSQL. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { issueAdminToken } from '../../src/cli/admin.ts'
import { keysCommand } from '../../src/cli/keys.ts'
import type { DrillReport } from '../../src/cli/keys-drill.ts'
import { CommandFailure, type Terminal } from '../../src/cli/terminal.ts'
import { machineFiles } from '../../src/config/files.ts'
import { jwksOf } from '../fakes/jwt.ts'
import { type Postgres, startPostgres } from '../fakes/postgres.ts'
import { API, at, CLIENT, type Sts, startSts } from '../fakes/sts.ts'
import { postgres, suiteNeeding } from '../skip.ts'

/** Replicas of one deployment: the same database, key-encryption key, IdP key and client secret. */
async function startReplicas(database: Postgres, folder: string, count: number): Promise<Sts[]> {
  const [url, kek] = [join(folder, 'url'), join(folder, 'kek')]
  writeFileSync(url, (await database.createDatabase()).reveal())
  writeFileSync(kek, randomBytes(32).toString('base64url'))
  const replicas: Sts[] = []
  for (let index = 0; index < count; index += 1) {
    const [first] = replicas
    const sts = await startSts({
      configure(config) {
        config['store'] = { postgres: `\${file:${url}}` }
        at(config, 'keys.store.sealed')['kek'] = `\${file:${kek}}`
        if (!first) return
        const sha256 = createHash('sha256').update(first.clientSecret).digest('base64url')
        at(config, 'tenants.acme.idps.login')['jwks'] = jwksOf(first.idpKey)
        at(config, `tenants.acme.clients.${CLIENT}.auth`)['clientSecret'] = { sha256: [sha256] }
      },
    })
    replicas.push(sts)
  }
  return replicas
}

suiteNeeding('keys drill', postgres, (installed) => {
  let folder: string
  let database: Postgres
  let replicas: Sts[]
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'rolemint-drill-'))
    database = await startPostgres(installed, { fsync: false })
    replicas = await startReplicas(database, folder, 3)
  })
  after(async () => {
    for (const sts of replicas) await sts.close()
    await database.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Runs `keys …` in this process, as somebody with the role security. */
  async function run(line: readonly string[]) {
    const [first] = replicas
    assert.ok(first)
    const admin = await issueAdminToken(first.deployment.stores.adminTokens, 'security', 'sam')
    writeFileSync(join(folder, 'subject'), first.subjectToken())
    writeFileSync(join(folder, 'secret'), first.clientSecret)
    const said = { out: '', err: '', exit: 0 }
    const terminal: Terminal = {
      stdout: (text) => void (said.out += text),
      stderr: (text) => void (said.err += text),
      env: { ROLEMINT_ADMIN_TOKEN: admin.reveal() },
      files: machineFiles,
      exit: (code) => void (said.exit = code),
      readStdin: () => Promise.resolve(''),
      readFile: (path) => readFileSync(path, 'utf8'),
      fetch,
    }
    const screen = { columns: undefined, ask: undefined }
    const command = keysCommand(terminal, screen).exitOverride()
    for (const below of command.commands) below.exitOverride().configureOutput({ writeErr() {} })
    await command.parseAsync(line, { from: 'user' }).catch((error: unknown) => {
      if (!(error instanceof CommandFailure)) throw error
      said.exit = error.exit
      said.err += error.message
    })
    return said
  }

  const drill = (more: readonly string[]) =>
    run([
      'drill',
      '--tenant',
      'acme',
      '--server',
      replicas[0]?.adminUrl ?? '',
      ...replicas.flatMap(({ url }) => ['--replica', url]),
      '--client',
      CLIENT,
      '--client-secret',
      `@${folder}/secret`,
      '--subject',
      `@${folder}/subject`,
      '--audience',
      API,
      ...more,
    ])

  const activeKid = () =>
    replicas[0]?.deployment.keys.list('acme').find(({ state }) => state === 'active')?.kid

  test('without --yes, or with another tenant confirmed, nothing is killed', async () => {
    const kid = activeKid()
    assert.equal((await drill(['--confirm', 'acme'])).exit, 2)
    assert.equal((await drill(['--confirm', 'acne', '--yes'])).exit, 2)
    assert.equal(activeKid(), kid)
  })

  test('measures at every replica when the killed key is gone and good tokens come', async () => {
    const kid = activeKid()
    const options = ['--confirm', 'acme', '--yes', '--within', '60', '-o', 'json']
    const { exit, out, err } = await drill(options)
    assert.equal(exit, 0, err)
    const report = JSON.parse(out) as DrillReport
    assert.equal(report.killed, kid)
    assert.equal(report.signs_now, activeKid())
    assert.equal(report.complete, true)
    assert.equal(report.replicas.length, 3)
    for (const one of report.replicas) {
      assert.ok(one.answers >= 9, `${one.replica}: ${one.answers} answers`)
      for (const seconds of [one.jwks_clean, one.introspection_denies, one.first_good_token])
        assert.ok(seconds !== null && seconds >= 0, JSON.stringify(one))
    }
    const clean = report.replicas.map((one) => one.jwks_clean ?? 0)
    assert.equal(report.jwks_clean, Math.max(...clean))
    for (const { deployment } of replicas)
      assert.ok(
        deployment.keys.list('acme').some((key) => key.kid === kid && key.state === 'compromised'),
      )
  })

  test('as a table it says the same to a person, and it can be done again', async () => {
    const { exit, out, err } = await drill(['--confirm', 'acme', '--yes', '--within', '60'])
    assert.equal(exit, 0, err)
    assert.match(out, /^SECONDS FROM THE COMMAND +ALL /)
    assert.match(out, /^introspection denies +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d$/m)
    assert.doesNotMatch(`${out}${err}`, /eyJ|rms_|rma_/)
  })
})
