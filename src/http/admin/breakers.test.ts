import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { adminDeps, adminEdge, aTenant, jsonOf, tenantsOf } from '../../../test/fakes/http-edge.ts'
import type { LedgerEntry } from '../../audit/ledger.ts'
import type { UpstreamOptions } from '../../resilience/upstream.ts'
import { createUpstreams } from '../../resilience/upstreams.ts'
import { type BreakerRouteDeps, breakerRoutes } from './breakers.ts'
import { type HealthParts, healthRoute } from './health.ts'

const LOAD = { limit: 24, inFlight: 3, queued: 0, shed: { vital: 0, introspect: 0, exchange: 7 } }

const named = (name: string, tenant: string | undefined): UpstreamOptions => ({
  name,
  tenant,
  kind: 'source',
  totalMilliseconds: 800,
  concurrency: 8,
  judge: () => ({ kind: 'failure', retryable: false, summary: 'status 500' }),
})

const well = () => Promise.resolve('well')
const down = () => Promise.reject(new Error('down'))

/** The routes as an operator meets them, who has every role here. */
function listening(changes: Partial<BreakerRouteDeps> = {}, parts: Partial<HealthParts> = {}) {
  const { deps, log } = adminDeps()
  const entries: LedgerEntry[] = []
  const upstreams = createUpstreams({ random: deps.random })
  const hr = upstreams.for(named('source acme/hr', 'acme'))
  const vault = upstreams.for(named('vault transit', undefined))
  upstreams.for(named('source beta/hr', 'beta'))
  const ledger = {
    append: (entry: LedgerEntry | undefined) => {
      if (entry) entries.push(entry)
      return Promise.resolve({ recorded: true as const })
    },
  }
  const tenants = tenantsOf(
    aTenant(),
    aTenant({ name: 'beta', issuer: 'https://sts.beta.example' }),
  )
  const health = {
    store: well,
    keyStore: well,
    load: () => LOAD,
    ...parts,
  }
  const routes = [
    ...breakerRoutes({ ...deps, upstreams, tenants, ledger, ...changes }),
    healthRoute({ upstreams, health, log }),
  ]
  const { get, post } = adminEdge(deps, routes)
  const change = (payload: object) => post('/admin/v1/breakers', payload)
  return { get, change, hr, vault, entries, log, routes }
}

const HOLD = { name: 'source acme/hr', action: 'hold-open', reason: 'INC-42' }

suite('breakers', () => {
  test('are listed with their state and why', async () => {
    const { get, hr } = listening()
    for (let call = 0; call < 10; call += 1) await assert.rejects(hr.call(down))
    const { breakers } = jsonOf(await get('/admin/v1/breakers')) as { breakers: object[] }
    assert.equal(breakers.length, 3)
    assert.deepEqual(breakers[0], {
      name: 'source acme/hr',
      tenant: 'acme',
      kind: 'source',
      state: 'open',
      retry_after_seconds: 5,
      in_flight: 0,
      calls: 10,
      failures: 10,
      slow: 0,
      last_failure: 'status 500',
    })
  })

  test('of a tenant are those that it depends on, and no other tenant’s', async () => {
    const { get } = listening()
    const { breakers } = jsonOf(await get('/admin/v1/breakers?tenant=acme')) as {
      breakers: { name: string }[]
    }
    assert.deepEqual(
      breakers.map(({ name }) => name),
      ['source acme/hr', 'vault transit'],
    )
    assert.equal((await get('/admin/v1/breakers?tenant=gone')).statusCode, 404)
  })

  test('are held open and reset, and who did that and why is in the ledger first', async () => {
    const { change, hr, entries } = listening()
    const held = await change(HOLD)
    assert.deepEqual([held.statusCode, jsonOf(held)['state']], [200, 'held-open'])
    await assert.rejects(hr.call(well))
    const closed = await change({ ...HOLD, action: 'reset', reason: 'mended' })
    assert.equal(jsonOf(closed)['state'], 'closed')
    assert.equal(await hr.call(well), 'well')
    assert.deepEqual(
      entries.map(({ event, tenant, details }) => ({ event, tenant, ...details })),
      [
        {
          event: 'admin',
          tenant: 'acme',
          action: 'asked to hold open the breaker source acme/hr',
          by: 'ops@acme',
          reason: 'INC-42',
        },
        {
          event: 'admin',
          tenant: 'acme',
          action: 'asked to reset the breaker source acme/hr',
          by: 'ops@acme',
          reason: 'mended',
        },
      ],
    )
  })

  test('that all tenants depend on are recorded with all of them', async () => {
    const { change, entries } = listening()
    assert.equal((await change({ ...HOLD, name: 'vault transit' })).statusCode, 200)
    assert.deepEqual(
      entries.map(({ tenant }) => tenant),
      ['acme', 'beta'],
    )
    assert.equal(new Set(entries.map(({ id }) => id)).size, 2)
  })

  test('do not change while the ledger is down', async () => {
    const ledger = { append: () => Promise.reject(new Error('disk full')) }
    const { change, hr } = listening({ ledger })
    const answer = await change(HOLD)
    assert.deepEqual([answer.statusCode, jsonOf(answer)['error_code']], [503, 'ledger_unavailable'])
    assert.equal(hr.facts().state, 'closed')
  })

  test('are not made by asking for them, nor changed by a request that is not understood', async () => {
    const { change, hr, entries } = listening()
    assert.equal((await change({ ...HOLD, name: 'source acme/gone' })).statusCode, 404)
    for (const wrong of [
      { ...HOLD, action: 'open' },
      { ...HOLD, reason: '' },
      { name: HOLD.name, action: HOLD.action },
      { ...HOLD, more: true },
      { ...HOLD, name: 7 },
    ])
      assert.equal((await change(wrong)).statusCode, 400, JSON.stringify(wrong))
    assert.deepEqual([hr.facts().state, entries.length], ['closed', 0])
  })

  test('need a viewer to be read and an operator to be changed', () => {
    const { routes } = listening()
    assert.deepEqual(
      routes.map(({ method, path, least }) => `${method} ${path} ${least}`),
      ['GET /admin/v1/breakers viewer', 'POST /admin/v1/breakers operator', 'GET /healthz viewer'],
    )
  })
})

suite('health', () => {
  test('is ok when everything is', async () => {
    const answer = await listening().get('/healthz')
    const { status, store, key_store, load, dependencies } = jsonOf(answer)
    assert.equal(answer.statusCode, 200)
    assert.deepEqual([status, store, key_store], ['ok', { status: 'ok' }, { status: 'ok' }])
    assert.deepEqual(load, { limit: 24, in_flight: 3, queued: 0, shed: LOAD.shed })
    assert.ok(Array.isArray(dependencies) && dependencies.length === 3)
    assert.equal(answer.headers['cache-control'], 'no-store')
  })

  test('is degraded, and still 200, when a breaker is not closed or keys cannot be read', async () => {
    const broken = listening()
    broken.hr.holdOpen()
    const sealed = listening({}, { keyStore: down })
    for (const { get } of [broken, sealed]) {
      const answer = await get('/healthz')
      assert.deepEqual([answer.statusCode, jsonOf(answer)['status']], [200, 'degraded'])
    }
  })

  test('is down with 503 when the store does not answer, and the reason is for the log', async () => {
    const { get, log } = listening({}, { store: () => Promise.reject(new Error('at 10.1.2.3')) })
    const answer = await get('/healthz')
    assert.deepEqual([answer.statusCode, jsonOf(answer)['status']], [503, 'down'])
    assert.doesNotMatch(answer.body, /10\.1\.2\.3/)
    assert.equal(log.lines.find(({ part }) => part === 'store')?.['part'], 'store')
  })

  test('does not wait for a part that never answers', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const asked = Promise.withResolvers<void>()
    const { get } = listening(
      {},
      {
        store: () => {
          asked.resolve()
          return new Promise(() => undefined)
        },
      },
    )
    const answer = get('/healthz')
    await asked.promise
    t.mock.timers.tick(2000)
    assert.equal((await answer).statusCode, 503)
  })
})
