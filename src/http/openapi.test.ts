import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { FastifyInstance } from 'fastify'
import { adminDeps, as, publicDeps, publicOptions } from '../../test/fakes/http-edge.ts'
import { createAdminServer } from './admin/server.ts'
import { createProbeServer } from './probes.ts'
import { createPublicServer } from './public/server.ts'

interface Document {
  readonly openapi: string
  readonly servers?: readonly { readonly url: string }[]
  readonly paths: Record<string, Record<string, Described>>
  readonly components: { readonly securitySchemes: object }
}

interface Described {
  readonly operationId: string
  readonly security: readonly object[]
  readonly responses: object
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const

/** Every (method, path) that Fastify itself would route, asked of its router and not of our table. */
function routed(app: FastifyInstance, paths: readonly string[]): string[] {
  return paths.flatMap((path) =>
    METHODS.filter((method) => app.hasRoute({ method, url: path })).map(
      (method) => `${method} ${path}`,
    ),
  )
}

async function documentOf(app: FastifyInstance, headers: Record<string, string>) {
  return (await app.inject({ method: 'GET', url: '/openapi.json', headers })).json<Document>()
}

/** The paths of Fastify's own route tree, which it prints as a drawing: four columns deeper, one segment further. */
function pathsOf(app: FastifyInstance): string[] {
  const above: string[] = []
  return app
    .printRoutes({ commonPrefix: false })
    .split('\n')
    .flatMap((line) => {
      const [, indent = '', segment = '', methods] =
        /^([│ ]*[├└]── )(\S+)( \(.*\))?/.exec(line) ?? []
      if (segment === '') return []
      const depth = indent.length / 4
      const path = `${above[depth - 1] ?? ''}${segment}`
      above[depth] = path
      return methods === undefined ? [] : [path]
    })
}

suite('/openapi.json', () => {
  const listeners = [
    {
      name: 'public',
      app: () => createPublicServer(publicDeps().deps, publicOptions()),
      headers: { host: 'sts.acme.example' },
    },
    {
      name: 'admin',
      app: () => createAdminServer(adminDeps().deps, { version: '0', probes: true }),
      headers: as('viewer'),
    },
    {
      name: 'admin without probes',
      app: () => createAdminServer(adminDeps().deps, { version: '0', probes: false }),
      headers: as('viewer'),
    },
  ] as const

  for (const { name, app: open, headers } of listeners) {
    test(`of the ${name} listener lists exactly the routes that exist, HEAD following from GET`, async () => {
      const app = open()
      const { openapi, paths } = await documentOf(app, { ...headers })
      assert.equal(openapi, '3.1.0')
      const described = Object.entries(paths).flatMap(([path, operations]) =>
        Object.keys(operations).flatMap((method) => {
          const url = path.replaceAll(/\{(\w+)\}/g, ':$1')
          return method === 'get'
            ? [`GET ${url}`, `HEAD ${url}`]
            : [`${method.toUpperCase()} ${url}`]
        }),
      )
      const existing = routed(app, [...new Set(pathsOf(app))])
      assert.ok(existing.length >= 14, `saw only ${existing.length} routes`)
      assert.deepEqual(described.toSorted(), existing.toSorted())
    })

    test(`of the ${name} listener names each operation once, with schemes that exist and statuses that are text`, async () => {
      const { paths, components } = await documentOf(open(), { ...headers })
      const operations = Object.values(paths).flatMap((path) => Object.values(path))
      const ids = operations.map(({ operationId }) => operationId)
      assert.equal(new Set(ids).size, ids.length)
      const schemes = Object.keys(components.securitySchemes)
      for (const { security, responses } of operations) {
        for (const scheme of security) assert.ok(schemes.includes(Object.keys(scheme)[0] ?? ''))
        assert.ok(Object.keys(responses).some((status) => status.startsWith('2')))
      }
    })
  }

  test('names the issuer as server, so that paths are complete', async () => {
    const app = createPublicServer(publicDeps().deps, publicOptions())
    const { servers } = await documentOf(app, { host: 'sts.acme.example' })
    assert.deepEqual(servers, [{ url: 'https://sts.acme.example' }])
  })

  test('probes on their own port have nothing else there', async () => {
    const app = createProbeServer(adminDeps().deps)
    await app.ready()
    assert.deepEqual([...new Set(pathsOf(app))].toSorted(), ['/livez', '/metrics', '/readyz'])
  })
})
