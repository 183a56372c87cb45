/** What a real OpenBao cannot be made to do when asked; the rest is in test/integration/vault.test.ts. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createSystemRandom } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { createVaultClient, type VaultClient, type VaultClientOptions } from './client.ts'
import { VaultError } from './vault-error.ts'

type Answer = (response: ServerResponse, request: IncomingMessage) => unknown

interface FakeVault {
  readonly client: VaultClient
  /** Method and path of each request that was no login. */
  readonly seen: string[]
  /** Tokens that came with them. */
  readonly tokens: unknown[]
  readonly headers: IncomingMessage['headers'][]
  logins: number
  login: Answer
}

const json = (body: object, status = 200, headers: Record<string, string> = {}): Answer => {
  return (response) =>
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(JSON.stringify(body))
}

const errors = (status: number, said: string[] = [], headers: Record<string, string> = {}) =>
  json({ errors: said }, status, headers)

const ok = json({ data: { answer: 42 } })

/** Runs `body` against a server that gives `answers` one after the other, the last of them for ever. */
async function withVault(
  answers: readonly Answer[],
  body: (vault: FakeVault) => Promise<void>,
  options: Partial<VaultClientOptions> = {},
): Promise<void> {
  const server = createServer((request, response) => {
    request.resume()
    if (request.url === '/v1/auth/approle/login') {
      vault.logins += 1
      vault.login(response, request)
      return
    }
    if (request.url === '/v1/auth/token/revoke-self') {
      response.writeHead(204).end()
      return
    }
    vault.seen.push(`${request.method} ${request.url}`)
    vault.tokens.push(request.headers['x-vault-token'])
    vault.headers.push(request.headers)
    const answer = answers[Math.min(vault.seen.length, answers.length) - 1] ?? ok
    answer(response, request)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const vault: FakeVault = {
    seen: [],
    tokens: [],
    headers: [],
    logins: 0,
    login: (response, request) =>
      json({
        auth: { client_token: `token-${vault.logins}`, lease_duration: 3600, renewable: true },
      })(response, request),
    client: createVaultClient(
      { random: createSystemRandom() },
      {
        addr: `http://127.0.0.1:${port}`,
        auth: {
          kind: 'appRole',
          mount: 'approle',
          roleId: 'role',
          secretId: async () => new Secret('the-secret-id'),
        },
        ...options,
      },
    ),
  }
  try {
    await body(vault)
  } finally {
    await vault.client.close()
    server.closeAllConnections()
    server.close()
  }
}

const silence: Answer = () => undefined

const trickle: Answer = (response) => {
  response.writeHead(200)
  const timer = setInterval(() => response.write(' '), 20)
  response.on('close', () => clearInterval(timer))
}

const picky: Answer = (response, request) =>
  (request.headers['x-vault-token'] === 'token-1' ? errors(403) : ok)(response, request)

const unreadable = () =>
  Promise.reject(Object.assign(new Error('open /run/secrets/x'), { code: 'ENOENT' }))

const soon = () => AbortSignal.timeout(30_000)
const PATIENT = { timeoutMilliseconds: 30_000 }
const BRIEF = { timeoutMilliseconds: 300 }

const TROUBLE: Record<string, Answer> = {
  'text instead of JSON': (response) => response.writeHead(200).end('<html>'),
  'JSON that is no object': (response) => response.writeHead(200).end('[1]'),
  'a member twice': (response) => response.writeHead(200).end('{"data":{},"data":{"a":1}}'),
  'bytes that are no UTF-8': (response) =>
    response.writeHead(200).end(Buffer.from('{"data":"\xff"}', 'latin1')),
  'an empty 200': (response) => response.writeHead(200).end(),
  'a body that breaks off': (response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('{"data":')
    setImmediate(() => response.destroy())
  },
  'a body without end': (response) => {
    response.writeHead(200)
    const more = () => {
      if (!response.destroyed) response.write(Buffer.alloc(64 * 1024, 0x20), more)
    }
    more()
  },
  'a cut connection': (response) => response.destroy(),
  'status 429': errors(429),
  'status 500': errors(500),
  'status 502 without JSON': (response) => response.writeHead(502).end('bad gateway'),
  'status 503': errors(503, ['Vault is sealed']),
  'status 412': errors(412),
  'a redirect': (response) =>
    response.writeHead(307, { location: 'http://127.0.0.1:1/v1/kv/a' }).end(),
  'a 404 that is not of Vault': (response) => response.writeHead(404).end('<html>not found'),
}

for (const [name, answer] of Object.entries(TROUBLE)) {
  test(`${name} is no answer: a read is tried three times and rejects as unavailable`, async () => {
    await withVault(
      [answer],
      async ({ client, seen }) => {
        await assert.rejects(client.read('kv/a', soon()), DependencyUnavailable)
        assert.deepEqual(seen, ['GET /v1/kv/a', 'GET /v1/kv/a', 'GET /v1/kv/a'])
      },
      PATIENT,
    )
  })

  test(`${name} once does no harm to a read`, async () => {
    await withVault(
      [answer, ok],
      async ({ client }) =>
        assert.deepEqual({ ...(await client.read('kv/a', soon())) }, { answer: 42 }),
      PATIENT,
    )
  })
}

test('a write that must not happen twice is sent once', async () => {
  await withVault([errors(500), ok], async ({ client, seen }) => {
    const writing = client.write('transit/keys/a', {}, soon(), { retry: false })
    await assert.rejects(writing, DependencyUnavailable)
    assert.deepEqual(seen, ['POST /v1/transit/keys/a'])
    await client.write('transit/keys/a', {}, soon())
  })
})

test('an answer that does not come ends with the time limit, or with the signal of the caller', async () => {
  await withVault(
    [silence],
    async ({ client }) => {
      await assert.rejects(client.read('kv/a', soon()), DependencyUnavailable)
    },
    BRIEF,
  )
  await withVault(
    [silence],
    async ({ client, seen }) => {
      const caller = new AbortController()
      const reading = client.read('kv/a', caller.signal)
      while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      caller.abort()
      await assert.rejects(reading, DependencyUnavailable)
      await assert.rejects(client.read('kv/a', caller.signal), DependencyUnavailable)
      assert.equal(seen.length, 1)
    },
    PATIENT,
  )
})

test('a body that trickles does not outlast the time limit', async () => {
  await withVault(
    [trickle],
    async ({ client }) => {
      await assert.rejects(client.read('kv/a', soon()), DependencyUnavailable)
    },
    BRIEF,
  )
})

test('a Retry-After beyond the time limit is not waited for', { timeout: 60_000 }, async () => {
  const noHurry = new AbortController().signal
  await withVault(
    [errors(429, [], { 'retry-after': '3600' })],
    async ({ client, seen }) => {
      await assert.rejects(client.read('kv/a', noHurry), DependencyUnavailable)
      assert.equal(seen.length, 1)
    },
    { timeoutMilliseconds: 600_000 },
  )
})

test('a Retry-After within the time limit is obeyed', async () => {
  await withVault(
    [errors(429, [], { 'retry-after': '1' }), ok],
    async ({ client }) => {
      const begun = performance.now()
      await client.read('kv/a', soon())
      assert.ok(performance.now() - begun >= 990) // never too soon; how late depends on the machine
    },
    PATIENT,
  )
})

test('refusals are not tried again and say nothing of what was sent or answered', async () => {
  await withVault([errors(400, ['bad value hvs.SECRET', 'permission denied'])], async (vault) => {
    const refused = vault.client.write('kv/a', { value: 'SECRET' }, soon())
    await assert.rejects(refused, (error: unknown) => {
      assert.ok(error instanceof VaultError)
      assert.equal(error.status, 400)
      assert.ok(error.said('permission denied'))
      assert.doesNotMatch(inspect(error, { depth: null }), /SECRET|token-1/)
      return true
    })
    assert.equal(vault.seen.length, 1)
  })
})

test('nothing at a path is undefined; a path that no engine serves is an error', async () => {
  await withVault([errors(404)], async ({ client }) => {
    assert.equal(await client.read('kv/a', soon()), undefined)
    assert.deepEqual(await client.list('kv', soon()), [])
    await client.remove('kv/a', soon())
    await assert.rejects(client.write('kv/a', {}, soon()), VaultError)
  })
  await withVault(
    [errors(404, ['no handler for route "kv/a". route entry not found.'])],
    async ({ client }) => {
      await assert.rejects(client.read('kv/a', soon()), VaultError)
      await assert.rejects(client.remove('kv/a', soon()), VaultError)
    },
  )
})

test('a hundred calls share one login, and the token is sent in its header alone', async () => {
  await withVault([ok], async (vault) => {
    await Promise.all(Array.from({ length: 100 }, () => vault.client.read('kv/a', soon())))
    assert.equal(vault.logins, 1)
    assert.deepEqual(new Set(vault.tokens), new Set(['token-1']))
  })
})

test('a refused token is replaced once, for all who hold it', async () => {
  await withVault([picky], async (vault) => {
    await Promise.all(Array.from({ length: 20 }, () => vault.client.read('kv/a', soon())))
    assert.equal(vault.logins, 2)
  })
})

test('a call without the right to it is refused after one new login, and the next ones without any', async () => {
  await withVault([errors(403)], async (vault) => {
    for (let call = 0; call < 5; call += 1)
      await assert.rejects(vault.client.read('kv/a', soon()), VaultError)
    assert.equal(vault.logins, 2)
    assert.equal(vault.seen.length, 6)
  })
})

test('a refusal stays a refusal when the login after it gives no answer', async () => {
  await withVault([errors(403)], async (vault) => {
    const { login } = vault
    vault.login = (response, request) =>
      (vault.logins === 1 ? login : errors(503))(response, request)
    const refused = vault.client.read('kv/a', soon())
    await assert.rejects(refused, (error: unknown) => error instanceof VaultError)
    assert.equal(vault.logins, 2)
  })
})

test('a login that fails is not tried at every call, and its refusal is what the calls get', async () => {
  await withVault([ok], async (vault) => {
    vault.login = errors(400, ['invalid role or secret ID'])
    for (let call = 0; call < 20; call += 1)
      await assert.rejects(vault.client.read('kv/a', soon()), (error: unknown) => {
        assert.ok(error instanceof VaultError && error.status === 400)
        assert.doesNotMatch(String(error.stack), /the-secret-id/)
        return true
      })
    assert.ok(vault.logins < 20, `${vault.logins} logins`)
    assert.equal(vault.seen.length, 0)
  })
})

test('while a login gives no answer, calls are unavailable; afterwards they go on by themselves', async () => {
  await withVault([ok], async (vault) => {
    const { login } = vault
    vault.login = errors(503)
    await assert.rejects(vault.client.read('kv/a', soon()), DependencyUnavailable)
    vault.login = login
    for (let attempt = 0; ; attempt += 1) {
      const read = await vault.client.read('kv/a', soon()).catch(() => undefined)
      if (read) break
      assert.ok(attempt < 600, 'it did not recover')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })
})

const rootToken = () => Promise.resolve(new Secret('root'))

test('a token without end is looked up once', async () => {
  const endless = json({ data: { ttl: 0, expire_time: null, renewable: false } })
  await withVault(
    [endless, ok],
    async ({ client, seen }) => {
      await client.read('kv/a', soon())
      await client.read('kv/b', soon())
      assert.deepEqual(seen, ['GET /v1/auth/token/lookup-self', 'GET /v1/kv/a', 'GET /v1/kv/b'])
    },
    { auth: { kind: 'token', token: rootToken } },
  )
})

test('a secret-id that cannot be read is no unavailability, and the error has no path', async () => {
  await withVault(
    [ok],
    async ({ client }) => {
      await assert.rejects(client.read('kv/a', soon()), (error: unknown) => {
        assert.ok(error instanceof Error && !(error instanceof DependencyUnavailable))
        assert.match(error.message, /ENOENT/)
        assert.doesNotMatch(String(error.stack), /run\/secrets/)
        return true
      })
    },
    { auth: { kind: 'appRole', mount: 'approle', roleId: 'role', secretId: unreadable } },
  )
})

test('the namespace goes with every call but the one about health, which has no token either', async () => {
  await withVault(
    [ok],
    async ({ client, headers }) => {
      await client.read('kv/a', soon())
      assert.equal(await client.health(soon()), 'ok')
      assert.equal(headers[0]?.['x-vault-namespace'], 'team/one')
      assert.equal(headers[0]?.['x-vault-request'], 'true')
      assert.equal(headers[1]?.['x-vault-namespace'], undefined)
      assert.equal(headers[1]?.['x-vault-token'], undefined)
    },
    { namespace: 'team/one' },
  )
})

test('health tells the states of a node apart', async () => {
  const states = {
    200: 'ok',
    429: 'standby',
    473: 'standby',
    472: 'standby',
    501: 'down',
    503: 'sealed',
  }
  for (const [status, state] of Object.entries(states)) {
    await withVault([errors(Number(status))], async ({ client }) => {
      assert.equal(await client.health(soon()), Number(status) === 200 ? 'ok' : state)
    })
  }
})

test('a name with dots, escapes or a query in it does not reach another path', async () => {
  await withVault([ok], async ({ client, seen }) => {
    for (const path of [
      'kv/../sys/seal',
      'kv/./a',
      'kv/%2e%2e/sys',
      'kv/a?x=1',
      'kv//a',
      '/kv',
      'kv/',
      'kv/a b',
      '..',
      '',
    ])
      await assert.rejects(client.read(path, soon()), /not allowed/, path)
    assert.deepEqual(seen, [])
    await client.read('kv/a..b/.c', soon())
  })
})
