import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adminDeps, adminEdge, aTenant, jsonOf, tenantsOf } from '../../../test/fakes/http-edge.ts'
import type { Purge } from '../../entitlement/shared-answers.ts'
import { cacheRoutes } from './caches.ts'

const FACTS = {
  entries: 3,
  bytes: 2048,
  maxBytes: 4096,
  loading: 1,
  hits: 40,
  loads: 5,
  sources: [
    { tenant: 'acme', source: 'hr', entries: 2, bytes: 1500 },
    { tenant: 'beta', source: 'hr', entries: 1, bytes: 548 },
  ],
}

/** The routes as an operator meets them, who has every role here. */
function listening(shared?: boolean) {
  const { deps } = adminDeps()
  const purged: Purge[] = []
  const routes = cacheRoutes({
    entitlements: {
      facts: () => FACTS,
      purge: (what) => {
        purged.push(what)
        return Promise.resolve({ entries: 2, shared })
      },
    },
    tenants: tenantsOf(aTenant(), aTenant({ name: 'beta', issuer: 'https://sts.beta.example' })),
  })
  const { get, post } = adminEdge(deps, routes)
  return {
    routes,
    purged,
    get,
    purge: (payload: object) => post('/admin/v1/caches/purge', payload),
  }
}

test('what is kept is shown in all, and by source; of one tenant when it is named', async () => {
  const { get } = listening()
  const all = jsonOf(await get('/admin/v1/caches'))
  const { maxBytes, ...facts } = FACTS
  assert.deepEqual(all, { ...facts, max_bytes: maxBytes })
  const one = jsonOf(await get('/admin/v1/caches?tenant=beta'))
  assert.deepEqual(one['sources'], [FACTS.sources[1]])
  assert.equal((await get('/admin/v1/caches?tenant=gone')).statusCode, 404)
})

test('a purge is passed on as it was asked for, and says whom it reached', async () => {
  for (const [shared, reached] of [
    [undefined, 'this'],
    [false, 'this'],
    [true, 'all'],
  ] as const) {
    const { purge, purged } = listening(shared)
    const what = { tenant: 'acme', user: 'ada@acme.example', source: 'hr' }
    assert.deepEqual(jsonOf(await purge(what)), { entries: 2, reached })
    await purge({ tenant: 'beta' })
    assert.deepEqual(purged, [what, { tenant: 'beta' }])
  }
})

test('a tenant or source that is not there, or a mistyped member, purges nothing', async () => {
  const { purge, purged } = listening()
  const answers = await Promise.all(
    [
      { tenant: 'gone' },
      { tenant: 'acme', source: 'gone' },
      { tenant: 'acme', users: 'ada' },
      { tenant: 'acme', user: '' },
      { source: 'hr' },
    ].map(purge),
  )
  assert.deepEqual(
    answers.map(({ statusCode }) => statusCode),
    [404, 404, 400, 400, 400],
  )
  assert.deepEqual(purged, [])
})

test('a viewer may look, an operator may purge', () => {
  const { routes } = listening()
  assert.deepEqual(
    routes.map(({ method, path, least }) => [method, path, least]),
    [
      ['GET', '/admin/v1/caches', 'viewer'],
      ['POST', '/admin/v1/caches/purge', 'operator'],
    ],
  )
})
