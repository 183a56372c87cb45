/** `rolemint serve` as a process: what it says, how it stops, and what keeps it from starting. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type OnDisk, writeDeployment } from '../chaos/deployment.ts'
import {
  bareEnvironment,
  type Served,
  type Started,
  startRolemint,
  startServing,
} from '../chaos/processes.ts'
import { ask, at, type ConfigTree, encode } from '../fakes/sts.ts'

/** Runs a command to its end. */
async function run(args: readonly string[], options: Parameters<typeof startRolemint>[1] = {}) {
  const started = startRolemint(args, options)
  const ended = await started.ended
  return { ...ended, stdout: started.stdout(), stderr: started.stderr() }
}

async function withDeployment(
  use: (disk: OnDisk) => Promise<void>,
  configure?: (tree: ConfigTree) => void,
): Promise<void> {
  const disk = await writeDeployment(configure)
  try {
    await use(disk)
  } finally {
    await disk.close()
  }
}

async function stop(server: Started): Promise<void> {
  server.kill('SIGKILL')
  await server.ended
}

const post = (server: Served, disk: OnDisk) =>
  ask(`${server.url}/token`, {
    method: 'POST',
    body: encode(disk.exchangeForm()),
    headers: { authorization: disk.basic },
  })

describe('a served deployment', () => {
  let disk: OnDisk
  let server: Served
  before(async () => {
    disk = await writeDeployment()
    server = await startServing(disk.configFile)
  })
  after(async () => {
    await stop(server)
    await disk.close()
  })

  test('it exchanges once it says that it serves, and is ready', async () => {
    const ready = await ask(`${server.adminUrl}/readyz`)
    assert.deepEqual([ready.status, ready.body], [200, { ready: true }])
    assert.equal((await ask(`${server.adminUrl}/livez`)).status, 200)
    const { status, text } = await post(server, disk)
    assert.equal(status, 200, text)
  })

  test('its admin listener is never anonymous, and its public one has no admin paths', async () => {
    for (const path of ['/admin/v1/status', '/admin/v1/keys?tenant=acme', '/healthz', '/'])
      assert.equal((await ask(`${server.adminUrl}${path}`)).status, 401, path)
    for (const path of ['/admin/v1/status', '/metrics', '/readyz', '/livez'])
      assert.equal((await ask(`${server.url}${path}`)).status, 404, path)
  })

  test('an admin token made beside the running server is accepted by it, and says who asked', async () => {
    const made = await run(['admin', 'token', '-c', disk.configFile, '--by', 'me'])
    assert.equal(made.code, 0, made.stderr)
    assert.match(made.stdout, /^rma_[A-Za-z0-9_-]{43}\n$/)

    const authorization = `Bearer ${made.stdout.trim()}`
    const status = await ask(`${server.adminUrl}/admin/v1/status`, { headers: { authorization } })
    assert.equal(status.status, 200)
    assert.deepEqual(status.body['operator'], { by: 'me', role: 'admin' })

    const cli = await run(['status', '--server', server.adminUrl, '-o', 'json'], {
      env: bareEnvironment({ ROLEMINT_ADMIN_TOKEN: made.stdout.trim() }),
    })
    assert.equal(cli.code, 0, cli.stderr)
    assert.equal(JSON.parse(cli.stdout).ready, true)
  })

  test('an admin token of a lower role may not rotate keys', async () => {
    const made = await run([
      'admin',
      'token',
      '-c',
      disk.configFile,
      '--by',
      'me',
      '--role',
      'viewer',
    ])
    const rotate = ['keys', 'rotate', '--tenant', 'acme', '--reason', 'test']
    const cli = await run([...rotate, '--server', server.adminUrl], {
      env: bareEnvironment({ ROLEMINT_ADMIN_TOKEN: made.stdout.trim() }),
    })
    assert.equal(cli.code, 4)
    assert.equal(cli.stdout, '')
    assert.match(cli.stderr, /needs the role operator/)
  })

  test('neither its log nor its answers hold a token', () => {
    assert.doesNotMatch(server.stderr(), /eyJ[A-Za-z0-9_-]{8,}\./)
    assert.equal(server.stdout(), '')
  })
})

describe('serve stops when it is told to', () => {
  test('SIGTERM under load: every request on its way is answered, new connections are refused, exit 0', async () => {
    await withDeployment(async (disk) => {
      const server = await startServing(disk.configFile)
      try {
        await post(server, disk)
        const load = startLoad(server, disk)
        await load.answered(50)
        const told = performance.now()
        server.kill('SIGTERM')
        const { code, signal } = await server.ended
        const seconds = (performance.now() - told) / 1000
        const { cut, statuses } = await load.end()
        assert.deepEqual([code, signal], [0, null], server.stderr().slice(-2000))
        assert.ok(seconds <= 10, `it took ${seconds} s`)
        assert.deepEqual([...statuses.keys()], [200])
        assert.equal(cut, 0, 'requests were accepted and not answered')
      } finally {
        await stop(server)
      }
    })
  })

  test('SIGTERM while a request waits for a slow source: it is answered before the process ends', async () => {
    await withDeployment(async (disk) => {
      const server = await startServing(disk.configFile)
      try {
        disk.api.behave({ delayMilliseconds: 1000 })
        const slow = post(server, disk)
        while (disk.api.requests.length === 0) await sleep(10)
        server.kill('SIGTERM')
        assert.equal((await slow).status, 200)
        assert.equal((await server.ended).code, 0)
      } finally {
        await stop(server)
      }
    })
  })

  test('SIGINT without any request ends it with 0, and it starts again on what it left', async () => {
    await withDeployment(async (disk) => {
      const first = await startServing(disk.configFile)
      const keys = await ask(`${first.url}/jwks`)
      first.kill('SIGINT')
      assert.equal((await first.ended).code, 0)

      const second = await startServing(disk.configFile)
      try {
        assert.deepEqual((await ask(`${second.url}/jwks`)).body, keys.body)
      } finally {
        await stop(second)
      }
    })
  })
})

describe('serve does not start', () => {
  test('with another key-encryption key than the one that sealed its keys: it names the key, and makes none in its place', async () => {
    await withDeployment(async (disk) => {
      const kekFile = join(disk.folder, 'kek')
      const kek = readFileSync(kekFile, 'utf8')
      const first = await startServing(disk.configFile)
      const jwks = await ask(`${first.url}/jwks`)
      const { keys } = JSON.parse(jwks.text) as { keys: { kid: string }[] }
      await stop(first)

      writeFileSync(kekFile, randomBytes(32).toString('base64url'), { mode: 0o600 })
      const refused = await run(['serve', '-c', disk.configFile])
      assert.equal(refused.code, 3)
      assert.ok(
        keys.some(({ kid }) => refused.stderr.includes(kid)),
        refused.stderr,
      )
      assert.match(refused.stderr, /key-encryption key/)
      assertNoStack(refused.stderr)

      writeFileSync(kekFile, kek, { mode: 0o600 })
      const again = await startServing(disk.configFile)
      try {
        assert.deepEqual((await ask(`${again.url}/jwks`)).body, jwks.body)
      } finally {
        await stop(again)
      }
    })
  })

  test('with a broken configuration: exit 3 and the place', async () => {
    await withDeployment(
      async (disk) => {
        const refused = await run(['serve', '-c', disk.configFile])
        assert.equal(refused.code, 3)
        assert.equal(refused.stdout, '')
        assert.match(refused.stderr, /error\[config\/unknown-key\]/)
        assert.match(refused.stderr, /--> rolemint\.yaml:\d+:\d+\n/)
        assert.match(refused.stderr, /\^{9}/)
        assert.match(refused.stderr, /did you mean "?algorithms/)
        assertNoStack(refused.stderr)
      },
      (tree) => {
        at(tree, 'tenants.acme.idps.login')['algoritms'] = ['ES256']
      },
    )
  })

  test('without the file: exit 3, and which file', async () => {
    const refused = await run(['serve', '-c', 'no-such-file.yaml'])
    assert.equal(refused.code, 3)
    assert.match(refused.stderr, /no-such-file\.yaml/)
    assertNoStack(refused.stderr)
  })

  for (const listener of ['public', 'admin'] as const) {
    test(`with the ${listener} port taken: one sentence with the address`, async () => {
      const other = createServer().listen(0, '127.0.0.1')
      await once(other, 'listening')
      const address = other.address()
      assert.ok(address !== null && typeof address === 'object')
      try {
        await withDeployment(
          async (disk) => {
            const refused = await run(['serve', '-c', disk.configFile])
            assert.equal(refused.code, 9, refused.stderr)
            assert.match(refused.stderr, new RegExp(`127\\.0\\.0\\.1:${address.port}`))
            assert.match(refused.stderr, /in use/)
            assertNoStack(refused.stderr)
          },
          (tree) => {
            at(tree, 'listen')[listener] = `127.0.0.1:${address.port}`
          },
        )
      } finally {
        other.close()
      }
    })
  }

  test('with a store that is no database: one sentence with the path', async () => {
    await withDeployment(async (disk) => {
      writeFileSync(join(disk.folder, 'rolemint.db'), 'this is no database '.repeat(100))
      const refused = await run(['serve', '-c', disk.configFile])
      assert.equal(refused.code, 6, refused.stderr)
      assert.match(refused.stderr, /the store \(.*rolemint\.db\) could not be opened/)
      assertNoStack(refused.stderr)
    })
  })
})

/** What is said to people, beside the log: sentences, and no stack. */
function assertNoStack(stderr: string): void {
  const said = stderr.split('\n').filter((line) => !line.startsWith('{"level":'))
  for (const line of said) assert.doesNotMatch(line, /^\s+at |node:internal|node_modules/)
}

/** Exchanges on twenty connections that are kept open. A connection that cannot be opened any more ends its share. */
function startLoad(server: Served, disk: OnDisk) {
  const agent = new Agent({ keepAlive: true, maxSockets: 20 })
  const statuses = new Map<number, number>()
  let cut = 0
  const seen = { answers: 0 }
  const told = { ending: false }

  const one = (): Promise<boolean> =>
    new Promise((resolve) => {
      const sent = request(
        `${server.url}/token`,
        {
          method: 'POST',
          agent,
          headers: {
            authorization: disk.basic,
            'content-type': 'application/x-www-form-urlencoded',
          },
        },
        (response) => {
          const status = response.statusCode ?? 0
          statuses.set(status, (statuses.get(status) ?? 0) + 1)
          seen.answers += 1
          response.resume()
          response.once('end', () => resolve(true))
          response.once('error', () => {
            cut += 1
            resolve(false)
          })
        },
      )
      sent.once('error', (error: NodeJS.ErrnoException) => {
        // Refused: nobody accepted it. On a connection from before, the close may cross the request on the way; a client
        // is told so by ECONNRESET before any byte came back, and may send again (RFC 9112 §9.3.1).
        const crossed = error.code === 'ECONNRESET' && sent.reusedSocket
        if (error.code !== 'ECONNREFUSED' && !crossed) cut += 1
        resolve(false)
      })
      sent.end(encode(disk.exchangeForm()).toString())
    })

  const work = async () => {
    while (!told.ending && (await one()));
  }
  const workers = Promise.all(Array.from({ length: 20 }, work))
  return {
    async answered(count: number) {
      while (seen.answers < count) await sleep(5)
    },
    async end() {
      told.ending = true
      await workers
      agent.destroy()
      return { cut, statuses }
    },
  }
}
