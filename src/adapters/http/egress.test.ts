import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { createEgress, type EgressDeps, type EgressOptions, EgressRefused } from './egress.ts'

const POOL = { connections: 4, connectMilliseconds: 30_000 }

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Asks `origin` (its port filled in) of a server on loopback that notes who came. */
async function withServer(
  body: (given: {
    readonly port: number
    readonly seen: readonly IncomingMessage[]
    readonly connections: () => number
  }) => Promise<void>,
): Promise<void> {
  const seen: IncomingMessage[] = []
  let connections = 0
  const server = createServer((request, response) => {
    seen.push(request)
    const isMoved = request.url === '/moved'
    response.writeHead(isMoved ? 302 : 200, {
      connection: 'close',
      ...(isMoved && { location: '/target' }),
    })
    response.end('hello')
  })
  server.on('connection', () => {
    connections += 1
  })
  const port = await listening(server)
  try {
    await body({ port, seen, connections: () => connections })
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => void server.close(resolve))
  }
}

async function ask(
  origin: string,
  options: Partial<EgressOptions> = {},
  deps?: EgressDeps,
  path = '/',
): Promise<number> {
  const pool = createEgress({ allow: [], allowLoopback: false, ...options }, deps).pool(
    origin,
    POOL,
  )
  try {
    const { statusCode, body } = await pool.request({ method: 'GET', path })
    await body.text()
    return statusCode
  } finally {
    await pool.destroy()
  }
}

const resolving = (...addresses: readonly string[]): EgressDeps => ({
  lookup: () =>
    Promise.resolve(
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    ),
})

const refusedAs = (kind: EgressRefused['kind']) => (error: unknown) =>
  error instanceof EgressRefused && error.kind === kind

suite('where calls may go', () => {
  test('an address that is listed is called, under its name', () =>
    withServer(async ({ port, seen }) => {
      const allow = ['127.0.0.0/8']
      assert.equal(
        await ask(`http://hr.acme.example:${port}`, { allow }, resolving('127.0.0.1')),
        200,
      )
      assert.equal(seen[0]?.headers.host, `hr.acme.example:${port}`)
    }))

  test('loopback is called where the profile says so', () =>
    withServer(async ({ port }) => {
      assert.equal(await ask(`http://127.0.0.1:${port}`, { allowLoopback: true }), 200)
      assert.equal(
        await ask(`http://localhost:${port}`, { allowLoopback: true }, resolving('127.0.0.1')),
        200,
      )
    }))

  test('a name that leads inside is refused without a connection (SSRF by DNS)', () =>
    withServer(async ({ port, connections }) => {
      for (const [address, kind] of [
        ['127.0.0.1', 'loopback'],
        ['::ffff:127.0.0.1', 'loopback'],
        ['10.0.0.1', 'private'],
        ['169.254.169.254', 'metadata'],
        ['::1', 'loopback'],
      ] as const)
        await assert.rejects(
          ask(`http://hr.acme.example:${port}`, {}, resolving(address)),
          refusedAs(kind),
          address,
        )
      assert.equal(connections(), 0)
    }))

  test('an address written out is refused as well, however it is spelt (no resolver is asked for it)', () =>
    withServer(async ({ port, connections }) => {
      for (const host of [
        '127.0.0.1',
        '127.1',
        '2130706433',
        '0x7f000001',
        '0177.0.0.1',
        '127.0.0.1.',
        '[::1]',
        '[::ffff:127.0.0.1]',
        '[::ffff:7f00:1]',
        '[64:ff9b::7f00:1]',
      ])
        await assert.rejects(ask(`http://${host}:${port}`), refusedAs('loopback'), host)
      await assert.rejects(ask('http://169.254.169.254'), refusedAs('metadata'))
      await assert.rejects(ask('https://[fd00:ec2::254]'), refusedAs('metadata'))
      await assert.rejects(ask(`http://0.0.0.0:${port}`), refusedAs('unspecified'))
      assert.equal(connections(), 0)
    }))

  test('the name localhost of the system is refused', () =>
    withServer(async ({ port, connections }) => {
      await assert.rejects(ask(`http://localhost:${port}`), refusedAs('loopback'))
      assert.equal(connections(), 0)
    }))

  test('one bad address among good ones refuses the name', () =>
    withServer(async ({ port, connections }) => {
      const allow = ['127.0.0.1']
      const deps = resolving('127.0.0.1', '10.0.0.1')
      await assert.rejects(ask(`http://a.example:${port}`, { allow }, deps), refusedAs('private'))
      assert.equal(connections(), 0)
    }))

  test('a name that resolves inside the second time is refused the second time, and is resolved once a connection (DNS rebinding)', () =>
    withServer(async ({ port, connections }) => {
      let lookups = 0
      const lookup = () => {
        lookups += 1
        return Promise.resolve([{ address: lookups === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }])
      }
      const egress = createEgress({ allow: ['127.0.0.1'], allowLoopback: false }, { lookup })
      const pool = egress.pool(`http://rebind.example:${port}`, POOL)
      const request = async () => (await pool.request({ method: 'GET', path: '/' })).body.text()
      assert.equal(await request(), 'hello')
      assert.deepEqual([lookups, connections()], [1, 1])
      await assert.rejects(request(), refusedAs('loopback'))
      assert.deepEqual([lookups, connections()], [2, 1])
      await pool.destroy()
    }))

  test('the message tells an operator what to do, and names no address', async () => {
    await assert.rejects(
      ask('https://hr.internal', {}, resolving('10.20.30.40')),
      /^EgressRefused: the address of hr\.internal is private; name its network in outbound\.allow$/,
    )
    await assert.rejects(ask('https://hr.internal', {}, resolving('169.254.169.254')), {
      message:
        'the address of hr.internal is the metadata service of a cloud, and such addresses are never called',
    })
  })

  test('a network that cannot be read stops the start', () => {
    assert.throws(() => createEgress({ allow: ['10.0.0.0/8', 'inside'], allowLoopback: false }))
  })
})

suite('how calls are made', () => {
  test('TLS asks for the name, not for the address', async () => {
    const asked = Promise.withResolvers<string>()
    const server = createTlsServer({
      SNICallback: (name, callback) => {
        asked.resolve(name)
        callback(new Error('no certificate'))
      },
    })
    server.on('tlsClientError', () => undefined)
    const port = await listening(server)
    const allow = ['127.0.0.1']
    await assert.rejects(ask(`https://hr.acme.example:${port}`, { allow }, resolving('127.0.0.1')))
    assert.equal(await asked.promise, 'hr.acme.example')
    await new Promise((resolve) => void server.close(resolve))
  })

  test('a redirect is an answer like any other', () =>
    withServer(async ({ port, seen }) => {
      const origin = `http://127.0.0.1:${port}`
      assert.equal(await ask(origin, { allowLoopback: true }, undefined, '/moved'), 302)
      assert.deepEqual(
        seen.map(({ url }) => url),
        ['/moved'],
      )
    }))

  test('a proxy named by the environment is not used: it would get what is meant for the host', (t) =>
    withServer(async ({ port, seen }) => {
      const names = ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'NODE_USE_ENV_PROXY']
      const before = names.map((name) => [name, process.env[name]] as const)
      t.after(() => {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name]
          else process.env[name] = value
        }
      })
      for (const name of names)
        process.env[name] = name.startsWith('NODE') ? '1' : 'http://127.0.0.1:9'
      assert.equal(await ask(`http://127.0.0.1:${port}`, { allowLoopback: true }), 200)
      assert.equal(seen[0]?.url, '/')
    }))

  test('a name server that never answers is given up', async () => {
    const egress = createEgress(
      { allow: [], allowLoopback: false },
      { lookup: () => new Promise<never>(() => undefined) },
    )
    const pool = egress.pool('http://slow.example', { connections: 1, connectMilliseconds: 50 })
    await assert.rejects(pool.request({ method: 'GET', path: '/' }), {
      code: 'UND_ERR_CONNECT_TIMEOUT',
    })
    await pool.destroy()
  })

  test('a connection is given up when its time is over, not at the next tick of a coarse timer', async () => {
    // undici looks at its own timers once a second; the dozen must have been given up long before the first of those.
    const hang: EgressDeps = { lookup: () => new Promise(() => undefined) }
    const pool = createEgress({ allow: [], allowLoopback: false }, hang).pool(
      'http://slow.example',
      { connections: 1, connectMilliseconds: 20 },
    )
    const began = performance.now()
    for (let i = 0; i < 12; i += 1)
      await assert.rejects(pool.request({ method: 'GET', path: '/' }), {
        code: 'UND_ERR_CONNECT_TIMEOUT',
      })
    assert.ok(performance.now() - began < 10_000)
    await pool.destroy()
  })

  test('a name that cannot be resolved, or has no address, is an error of the call', async () => {
    const gone = {
      lookup: () => Promise.reject(Object.assign(new Error('no'), { code: 'ENOTFOUND' })),
    }
    await assert.rejects(ask('http://gone.example', {}, gone), { code: 'ENOTFOUND' })
    await assert.rejects(ask('http://empty.example', {}, resolving()), /no address/)
  })

  test('two pools to one origin share no socket', async () => {
    const sockets: unknown[] = []
    const server = createTcpServer((socket) => {
      sockets.push(socket)
      socket.on('error', () => undefined)
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))
    })
    const port = await listening(server)
    const egress = createEgress({ allow: [], allowLoopback: true })
    const pools = [1, 2].map(() => egress.pool(`http://127.0.0.1:${port}`, POOL))
    for (const pool of pools)
      assert.equal((await pool.request({ method: 'GET', path: '/' })).statusCode, 200)
    assert.equal(sockets.length, 2)
    await Promise.all(pools.map((pool) => pool.destroy()))
    await new Promise((resolve) => void server.close(resolve))
  })
})

test('only the command line speaks through the global fetch: it takes no dispatcher of our undici, so the guard could not hold', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url))
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('cli'),
  )
  assert.ok(files.length > 100)
  const uses =
    /globalThis\.fetch|typeof fetch|(?:await|return|void|=>?|[([,])\s*fetch\(|[{,]\s*fetch\s*[,}]/
  for (const file of files) {
    const code = readFileSync(join(root, file), 'utf8').replace(/\/\*.*?\*\/|\/\/.*$/gms, '')
    // The census of consumers has a field of that name.
    if (file !== join('keys', 'census.ts')) assert.doesNotMatch(code, uses, file)
  }
})
