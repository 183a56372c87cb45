/** Every command of the command line, as processes beside a running `rolemint up`. */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { parse } from 'yaml'
import { writeDeployment } from '../chaos/deployment.ts'
import { bareEnvironment, type Started, startRolemint, startServing } from '../chaos/processes.ts'
import { freePort } from '../fakes/free-port.ts'
import { ask, at, CLIENT, encode } from '../fakes/sts.ts'

interface World {
  /** Where `up` runs, and the commands beside it. */
  readonly folder: string
  /** Where nothing runs. */
  readonly elsewhere: string
  readonly up: Started
}

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function openWorld(): Promise<World> {
  const [folder, elsewhere] = ['up', 'else'].map((name) =>
    mkdtempSync(join(tmpdir(), `rolemint-cli-${name}-`)),
  ) as [string, string]
  const [open, admin] = [await freePort(), await freePort()]
  const ports = ['--public', `127.0.0.1:${open}`, '--admin', `127.0.0.1:${admin}`]
  const up = startRolemint(['up', ...ports], { cwd: folder })
  await up.says(/Ctrl-C stops everything/)
  return { folder, elsewhere, up }
}

describe('the command line beside up', () => {
  let world: World
  before(async () => {
    world = await openWorld()
  })
  after(async () => {
    world.up.kill('SIGTERM')
    assert.equal((await world.up.ended).code, 0)
    for (const folder of [world.folder, world.elsewhere])
      rmSync(folder, { recursive: true, force: true })
  })

  async function run(
    line: string | readonly string[],
    how: { input?: string; cwd?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Ran> {
    const args = typeof line === 'string' ? line.split(' ') : line
    const { input, cwd = world.folder, env = {} } = how
    const started = startRolemint(args, {
      cwd,
      // Half of a command's time would go into compiling the same files again.
      env: bareEnvironment({ NODE_COMPILE_CACHE: join(world.elsewhere, 'compiled'), ...env }),
      ...(input === undefined ? {} : { input }),
    })
    const { code } = await started.ended
    return { code, stdout: started.stdout(), stderr: started.stderr() }
  }

  /** Runs what must succeed; its data. */
  async function good(line: string | readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await run(line, input === undefined ? {} : { input })
    assert.equal(code, 0, stderr)
    return stdout
  }

  const preview = (user: string, more: readonly string[] = []) =>
    run(['access', 'preview', '--user', user, '--client', 'orders-web', ...more])

  const tokenOf = (user: string) => good(`token exchange --as ${user}`)

  describe('token exchange', () => {
    test('--as brings a demo token: the token alone is on stdout, the talk on stderr', async () => {
      const { code, stdout, stderr } = await run('token exchange --as alice')
      assert.equal(code, 0)
      assert.match(stdout, /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\n$/)
      assert.match(stderr, /token inspect/)
      assert.doesNotMatch(stderr, /eyJ/)
    })

    test('the subject token comes on stdin or from a file', async () => {
      const subject = readFileSync(join(world.folder, '.rolemint/bob.jwt'), 'utf8')
      assert.match(await good('token exchange', subject), /^eyJ/)
      assert.match(await good('token exchange @.rolemint/bob.jwt'), /^eyJ/)
    })

    test('with everything named it needs no files of up', async () => {
      const dev = JSON.parse(readFileSync(join(world.folder, '.rolemint/dev.json'), 'utf8')) as {
        server: string
      }
      const { code, stderr } = await run(
        [
          'token',
          'exchange',
          `@${world.folder}/.rolemint/alice.jwt`,
          '--server',
          dev.server,
          '--client',
          'orders-web',
          '--client-secret',
          `@${world.folder}/.rolemint/client-secret`,
        ],
        { cwd: world.elsewhere },
      )
      assert.equal(code, 0, stderr)
    })

    test('a refusal exits 5 with its code, and prints no data', async () => {
      const { code, stdout, stderr } = await run('token exchange --as carol')
      assert.deepEqual([code, stdout], [5, ''])
      assert.match(stderr, /^refused: unknown_user: /)
    })

    test('a token in the arguments is refused with exit 2, and is not repeated', async () => {
      const subject = readFileSync(join(world.folder, '.rolemint/alice.jwt'), 'utf8')
      for (const verb of ['exchange', 'inspect', 'verify --audience a', 'why', 'introspect']) {
        const { code, stdout, stderr } = await run([...`token ${verb}`.split(' '), subject])
        assert.deepEqual([code, stdout], [2, ''], verb)
        assert.match(stderr, /standard input or as @file/)
        assert.ok(!stderr.includes(subject))
      }
    })

    test('a client secret in the arguments is refused with exit 2, and is not repeated', async () => {
      const secret = readFileSync(join(world.folder, '.rolemint/client-secret'), 'utf8')
      const args = ['token', 'exchange', '--as', 'alice', '--client-secret', secret]
      const { code, stderr } = await run(args)
      assert.equal(code, 2)
      assert.ok(!stderr.includes(secret))
    })

    test('a user that up does not have exits 2 and names those it has', async () => {
      const { code, stderr } = await run('token exchange --as dave')
      assert.equal(code, 2)
      assert.match(stderr, /alice, bob, carol/)
    })

    test('without a running up it says what to name; with a server that is not there it exits 6', async () => {
      const nothing = await run('token exchange', { cwd: world.elsewhere, input: 'x.y.z' })
      assert.equal(nothing.code, 2)
      assert.match(nothing.stderr, /--server and --client/)

      const gone = `http://127.0.0.1:${await freePort()}`
      const { code, stderr } = await run(`token exchange --as alice --server ${gone}`)
      assert.equal(code, 6)
      assert.ok(stderr.includes(gone))
    })
  })

  describe('tokens in hand', () => {
    test('inspect shows the claims as JSON and says on stderr that the signature is good', async () => {
      const { code, stdout, stderr } = await run('token inspect', { input: await tokenOf('alice') })
      assert.equal(code, 0)
      assert.match(stderr, /^VERIFIED: /)
      const facts = JSON.parse(stdout)
      assert.equal(facts.verified, true)
      assert.equal(facts.header.typ, 'at+jwt')
      assert.deepEqual(facts.payload.roles, ['orders.admin'])
    })

    test('inspect and verify find a token that was changed', async () => {
      const [header, payload = '', signature] = (await tokenOf('bob')).trim().split('.')
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
      claims.roles = ['orders.admin']
      const changed = Buffer.from(JSON.stringify(claims)).toString('base64url')
      const input = `${header}.${changed}.${signature}`

      const inspected = await run('token inspect', { input })
      assert.match(inspected.stderr, /^NOT VERIFIED/)
      assert.equal(JSON.parse(inspected.stdout).verified, false)
      const verified = await run('token verify --audience https://api.demo.example', { input })
      assert.equal(verified.code, 5)
    })

    test('inspect trusts no issuer that nobody named', async () => {
      const { stderr, stdout } = await run('token inspect', {
        input: await tokenOf('alice'),
        cwd: world.elsewhere,
      })
      assert.match(stderr, /^NOT VERIFIED: no issuer/)
      assert.equal(JSON.parse(stdout).verified, false)
    })

    test('verify exits 0 for the audience of the token and 5 for another', async () => {
      const input = await tokenOf('alice')
      const right = await run('token verify --audience https://api.demo.example', { input })
      assert.deepEqual([right.code, right.stdout], [0, ''])
      const wrong = await run('token verify --audience https://other.example', { input })
      assert.deepEqual([wrong.code, wrong.stdout], [5, ''])
    })

    test('introspect exits 0 for an active token and 5 for any other', async () => {
      const active = await run('token introspect', { input: await tokenOf('alice') })
      assert.equal(active.code, 0, active.stderr)
      assert.equal(JSON.parse(active.stdout).active, true)

      const subject = readFileSync(join(world.folder, '.rolemint/alice.jwt'), 'utf8')
      const foreign = await run('token introspect', { input: subject })
      assert.equal(foreign.code, 5)
      assert.deepEqual(JSON.parse(foreign.stdout), { active: false })
    })

    test('why shows the rules behind a token, and exits 5 for a role that was not granted', async () => {
      const input = await tokenOf('bob')
      const all = await run('token why', { input })
      assert.equal(all.code, 0, all.stderr)
      assert.match(all.stdout, /RULE +WHAT +WHERE/)
      assert.match(all.stdout, /rolemint\.dev\.yaml:\d+/)

      const granted = await run('token why --role orders.read', { input })
      assert.equal(granted.code, 0)
      assert.match(granted.stderr, /orders\.read: granted/)
      const not = await run('token why --role orders.admin', { input })
      assert.equal(not.code, 5)
      assert.match(not.stderr, /orders\.admin: not granted/)

      const steps = JSON.parse((await run('token why -o json', { input })).stdout)
      assert.ok(Array.isArray(steps) && steps.length > 3)
    })

    test('what is no token of ours exits 5', async () => {
      for (const input of ['nonsense', `${Buffer.from('{}').toString('base64url')}.e30.x`])
        assert.equal((await run('token why', { input })).code, 5)
      assert.equal((await run('token inspect', { input: 'nonsense' })).code, 5)
    })

    test('an empty standard input exits 2', async () => {
      assert.equal((await run('token inspect', { input: '' })).code, 2)
    })
  })

  describe('access preview', () => {
    test('exits 0 and names the roles of a user who would get a token', async () => {
      const { code, stdout, stderr } = await preview('alice@demo.example')
      assert.equal(code, 0, stderr)
      assert.match(stdout, /RULE +EFFECT +WHAT +WHERE/)
      assert.match(stderr, /would be granted: orders\.admin/)
    })

    test('exits 5 and names the code for a user who would be refused', async () => {
      const { code, stderr } = await preview('carol@demo.example')
      assert.equal(code, 5)
      assert.match(stderr, /would be refused: unknown_user/)
    })

    test('exits 5 for an audience that the client may not ask for', async () => {
      const { code, stderr } = await preview('alice@demo.example', [
        '--audience',
        'https://other.example',
      ])
      assert.equal(code, 5)
      assert.match(stderr, /would be refused: target_not_allowed/)
    })

    test('-o json gives the decision for machines', async () => {
      const { stdout } = await preview('alice@demo.example', ['-o', 'json'])
      assert.equal(JSON.parse(stdout).outcome, 'grant')
    })
  })

  describe('keys and status', () => {
    test('rotate makes the successor sign, twice in a row, and tokens from before stay good', async () => {
      const earlier = await tokenOf('alice')
      const kids: string[] = [kidOf(earlier)]
      for (const reason of ['first', 'second']) {
        const rotated = await run(['keys', 'rotate', '--reason', reason, '-o', 'json'])
        assert.equal(rotated.code, 0, rotated.stderr)
        const { keys } = JSON.parse(rotated.stdout) as { keys: { kid: string; state: string }[] }
        const active = keys.filter(({ state }) => state === 'active')
        assert.equal(active.length, 1)
        kids.push(active[0]?.kid ?? '')
        assert.equal(kidOf(await tokenOf('alice')), active[0]?.kid)
      }
      assert.equal(new Set(kids).size, 3)
      assert.equal((await run('token introspect', { input: earlier })).code, 0)
    })

    test('rotate needs a reason', async () => {
      assert.equal((await run('keys rotate')).code, 2)
    })

    test('list shows every key with its state, as a table, JSON and YAML', async () => {
      assert.match(await good('keys list'), /^KID +ALG +STATE/)
      const { keys } = JSON.parse(await good('keys list -o json'))
      assert.ok(keys.some(({ state }: { state: string }) => state === 'published'))
      assert.deepEqual(parse(await good('keys list -o yaml')).keys, keys)
    })

    test('list of an unknown tenant exits 5', async () => {
      const { code, stdout } = await run('keys list --tenant nobody')
      assert.deepEqual([code, stdout], [5, ''])
    })

    test('status says which server it is, as a table and as JSON', async () => {
      assert.match(await good('status'), /^version +\d/m)
      const facts = JSON.parse(await good('status -o json'))
      assert.deepEqual([facts.ready, facts.profile, facts.tenants.length], [true, 'dev', 1])
    })

    test('a wrong credential exits 4, none at all too, and a server that is not there 6', async () => {
      const wrong = await run('status', { env: { ROLEMINT_ADMIN_TOKEN: 'rma_wrong' } })
      assert.deepEqual([wrong.code, wrong.stdout], [4, ''])
      assert.equal((await run('status', { cwd: world.elsewhere })).code, 4)
      const gone = `http://127.0.0.1:${await freePort()}`
      assert.equal((await run(`status --server ${gone}`)).code, 6)
    })
  })

  describe('config', () => {
    const file = '.rolemint/rolemint.dev.yaml'

    test('check and show accept what up wrote', async () => {
      assert.equal((await run(`config check -c ${file}`)).code, 0)
      const shown = JSON.parse(await good(`config show -c ${file} -o json`))
      assert.equal(shown.profile, 'dev')
      assert.equal(shown.keys.store.sealed.kek, '[redacted]')
    })

    test('explain tells what a key means; an unknown one exits 2 with the nearest', async () => {
      assert.match(await good('config explain limits.skew'), /^limits\.skew\n/)
      const { code, stderr } = await run('config explain limits.skw')
      assert.equal(code, 2)
      assert.match(stderr, /limits\.skew/)
    })

    test('schema prints the schema that lies in the repository', async () => {
      const kept = new URL('../../rolemint.schema.json', import.meta.url)
      assert.equal(await good('config schema'), readFileSync(kept, 'utf8'))
    })

    test('check of a broken file exits 3', async () => {
      const broken = join(world.elsewhere, 'broken.yaml')
      writeFileSync(broken, 'version: 2\n')
      assert.equal((await run(`config check -c ${broken}`)).code, 3)
    })
  })

  describe('mistakes', () => {
    test('an unknown command exits 2 and names the nearest', async () => {
      for (const [line, nearest] of [
        ['serv', 'serve'],
        ['token inspekt', 'inspect'],
        ['keys rotat', 'rotate'],
      ] as const) {
        const { code, stdout, stderr } = await run(line)
        assert.deepEqual([code, stdout], [2, ''], line)
        assert.match(stderr, new RegExp(`Did you mean ${nearest}\\?`))
      }
    })

    test('an unknown option, and an output format that there is not, exit 2', async () => {
      assert.equal((await run('status --sever x')).code, 2)
      assert.equal((await run('status -o xml')).code, 2)
    })

    test('no command at all shows the help, and --help and --version exit 0', async () => {
      const help = await run('--help')
      assert.equal(help.code, 0)
      for (const verb of ['up', 'serve', 'token', 'access', 'keys', 'config', 'admin'])
        assert.match(help.stdout, new RegExp(`^ +${verb} `, 'm'))
      assert.match((await run('--version')).stdout, /^\d+\.\d+\.\d+\n$/)
      assert.equal((await run([])).code, 2)
    })
  })
})

describe('credentials made on the command line', () => {
  test('client secret new: the digest works in a configuration, the secret at the endpoint', async () => {
    const made = startRolemint(['client', 'secret', 'new', '-o', 'json'])
    assert.equal((await made.ended).code, 0)
    const { secret, sha256 } = JSON.parse(made.stdout()) as { secret: string; sha256: string }
    assert.match(secret, /^rms_[A-Za-z0-9_-]{43}$/)
    const disk = await writeDeployment((tree) => {
      at(tree, `tenants.acme.clients.${CLIENT}`)['auth'] = { clientSecret: { sha256: [sha256] } }
    })
    try {
      const server = await startServing(disk.configFile)
      try {
        const exchange = (password: string) =>
          ask(`${server.url}/token`, {
            method: 'POST',
            body: encode(disk.exchangeForm()),
            headers: {
              authorization: `Basic ${Buffer.from(`${CLIENT}:${password}`).toString('base64')}`,
            },
          })
        assert.equal((await exchange(secret)).status, 200)
        assert.equal((await exchange(`${secret}x`)).status, 401)
      } finally {
        server.kill('SIGKILL')
        await server.ended
      }
    } finally {
      await disk.close()
    }
  })
})

function kidOf(token: string): string {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid
}
