import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { stringify } from 'yaml'
import { type DemoEntitlements, startDemoEntitlements } from '../../demo/entitlements.ts'
import { adminApi, type Ran, ranCommand } from '../../test/fakes/terminal.ts'
import { createEgress } from '../adapters/http/egress.ts'
import { createHttpEntitlementSource } from '../adapters/http/entitlement-source.ts'
import { systemClock } from '../lib/clock.ts'
import { type OpenSource, sourceCommand } from './source.ts'
import { CommandFailure } from './terminal.ts'

const open: OpenSource = (reach, observed) =>
  createHttpEntitlementSource({ egress: createEgress(reach), clock: systemClock, observed })

/** Runs `rolemint source ARGS`. */
async function run(
  args: readonly string[],
  {
    files = {},
    sources = [],
  }: { files?: Record<string, string>; sources?: readonly object[] } = {},
): Promise<Ran> {
  const { asked, fetch } = adminApi({ sources })
  const ran = await ranCommand((terminal) => sourceCommand(terminal, open), args, {
    fetch,
    readStdin: () => Promise.resolve(files['-'] ?? ''),
    readFile(path) {
      const text = files[path]
      if (text === undefined) throw new CommandFailure(2, `cannot read ${path}`)
      return text
    },
  })
  for (const [, path] of asked) assert.match(path, /^\/admin\/v1\/sources(\?tenant=acme)?$/)
  return ran
}

async function withDemo(use: (demo: DemoEntitlements) => Promise<void>): Promise<void> {
  const demo = await startDemoEntitlements()
  try {
    await use(demo)
  } finally {
    await demo.close()
  }
}

const USER = ['--user', 'alice@demo.example']

const asTyped = ({ url }: DemoEntitlements): readonly string[] => [
  'test',
  ...USER,
  '--url',
  `${url}/users/{user}/roles`,
  '--next',
  'next',
  '--echo',
  'user',
  '--snapshot',
  'version',
]

/** Two tenants with a source of the same name. */
async function withConfig(
  demo: DemoEntitlements,
  use: (file: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-source-'))
  const file = join(folder, 'rolemint.yaml')
  writeFileSync(join(folder, 'token'), demo.bearer, { mode: 0o600 })
  writeFileSync(join(folder, 'kek'), 'k'.repeat(43), { mode: 0o600 })
  const config = {
    version: 1,
    profile: 'dev',
    listen: { public: '127.0.0.1:0', admin: '127.0.0.1:0' },
    keys: { store: { sealed: { kek: '${file:./kek}' } } },
    tenants: { acme: tenantOf('acme', demo), other: tenantOf('other', demo) },
  }
  writeFileSync(file, stringify(config))
  try {
    await use(file)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const tenantOf = (name: string, { url }: DemoEntitlements) => ({
  issuer: `http://127.0.0.1:8080/${name}`,
  idps: {
    login: {
      issuer: 'https://login.example.test',
      audience: `rolemint-${name}`,
      algorithms: ['ES256'],
    },
  },
  sources: {
    hr: {
      url: `${url}/users/{user}/roles`,
      auth: { bearer: '${file:./token}' },
      roles: 'items[*].role',
      nextPage: 'next',
      echo: 'user',
      consistency: { snapshot: 'version' },
      timeout: { connect: '5s', read: '5s', total: '20s' },
    },
  },
  roles: { unmapped: 'keep' },
  clients: {
    web: {
      auth: { clientSecret: { sha256: ['A'.repeat(43)] } },
      idps: ['login'],
      grants: ['exchange'],
      audiences: ['https://api.example.test'],
      roles: ['r'],
    },
  },
})

suite('rolemint source test --url', () => {
  test('a source that keeps the contract: exit 0, the roles, a table with a line a clause', () =>
    withDemo(async (demo) => {
      const files = { token: `${demo.bearer}\n` }
      const { exit, stdout, stderr } = await run([...asTyped(demo), '--bearer', '@token'], {
        files,
      })
      assert.equal(exit, 0, stdout + stderr)
      assert.match(stdout, /^known-user +ok +5 roles$/m)
      assert.match(stdout, /^unknown-user +ok +said as 404$/m)
      assert.match(stderr, /keeps the contract; alice@demo\.example has SAP_ORD_ADM, SAP_FI/)
      assert.ok(!(stdout + stderr).includes(demo.bearer))
    }))

  test('for machines there are the roles and every finding', () =>
    withDemo(async (demo) => {
      const files = { '-': demo.bearer }
      const { stdout } = await run([...asTyped(demo), '--bearer', '-', '-o', 'json'], { files })
      const report = JSON.parse(stdout) as { outcome: string; roles: string[]; findings: object[] }
      assert.equal(report.outcome, 'kept')
      assert.equal(report.roles.length, 5)
      assert.ok(report.findings.length > 10)
    }))

  test('a source that breaks it: exit 5, and what to mend', () =>
    withDemo(async (demo) => {
      const { exit, stdout, stderr } = await run(asTyped(demo))
      assert.equal(exit, 5)
      assert.match(stdout, /^known-user +FAIL +page 1: status 401: the source wants a credential/m)
      assert.match(stderr, /does not keep the contract/)
    }))

  test('nobody there: exit 6', async () => {
    const demo = await startDemoEntitlements()
    await demo.close()
    const { exit, stdout } = await run(asTyped(demo))
    assert.equal(exit, 6, stdout)
    assert.match(stdout, /no usable connection \(ECONNREFUSED\)/)
  })

  test('what makes no sense is a matter of usage: exit 2', async () => {
    for (const wrong of [
      ['test', ...USER],
      ['test', '--url', 'http://127.0.0.1/{user}'],
      ['test', ...USER, '--url', 'ftp://127.0.0.1/{user}'],
      ['test', ...USER, '--url', 'http://127.0.0.1/{user}', '--roles', 'a..b'],
      ['test', 'hr', ...USER, '--url', 'http://127.0.0.1/{user}'],
      ['test', ...USER, '--url', 'http://127.0.0.1/{user}', '--bearer', 's3cret'],
      ['test', 'hr', ...USER, '-c', '/nowhere/rolemint.yaml', '-o', 'xml'],
    ]) {
      const { exit, stdout } = await run(wrong)
      assert.equal(exit, 2, wrong.join(' '))
      assert.equal(stdout, '')
    }
  })
})

suite('rolemint source test NAME', () => {
  test('asks the source as a server with that file would', () =>
    withDemo((demo) =>
      withConfig(demo, async (file) => {
        const { exit, stdout, stderr } = await run([
          'test',
          'hr',
          ...USER,
          '-c',
          file,
          '--tenant',
          'acme',
        ])
        assert.equal(exit, 0, stdout + stderr)
        assert.match(stderr, /hr keeps the contract/)
      }),
    ))

  test('a name that none or several tenants have is a matter of usage', () =>
    withDemo((demo) =>
      withConfig(demo, async (file) => {
        const several = await run(['test', 'hr', ...USER, '-c', file])
        assert.deepEqual([several.exit, /--tenant/.test(several.stderr)], [2, true], several.stderr)
        assert.equal((await run(['test', 'sap', ...USER, '-c', file])).exit, 2)
        assert.equal(demo.requests(), 0)
      }),
    ))
})

suite('rolemint source list and show', () => {
  const sources = [
    { tenant: 'acme', name: 'hr', url: 'https://hr/{user}', roles: '[*]', at: 'a.yaml:3' },
    { tenant: 'acme', name: 'sap', url: 'https://sap/{user}', roles: '[*]', at: 'a.yaml:9' },
  ]

  test('list what the server knows', async () => {
    const { exit, stdout } = await run(['list', '--tenant', 'acme'], { sources })
    assert.equal(exit, 0)
    assert.match(stdout, /^acme +sap +https:\/\/sap\/\{user\} +\[\*\] +a\.yaml:9$/m)
    assert.equal(stdout.trim().split('\n').length, 3)
  })

  test('show one, or say that there is none', async () => {
    const { stdout } = await run(['show', 'hr', '-o', 'json'], { sources })
    assert.deepEqual(JSON.parse(stdout), { sources: [sources[0]] })
    assert.equal((await run(['show', 'crm'], { sources })).exit, 5)
  })
})
