import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { InjectOptions } from 'fastify'
import {
  adminDeps,
  adminKeys,
  aLedger,
  as,
  CANARY,
  jsonOf,
  ringReport,
  sha256,
  token,
} from '../../../test/fakes/http-edge.ts'
import type { StoredEntry } from '../../audit/ledger.ts'
import type { PreviewQuestion } from '../../exchange/preview.ts'
import { PrivateHalfError } from '../../keys/private-halves.ts'
import { RingError } from '../../keys/ring-error.ts'
import { Refusal } from '../../lib/refusal.ts'
import { ADMIN_ROLES, type AdminRole } from '../options.ts'
import { createProbeServer } from '../probes.ts'
import type { AdminDeps } from './deps.ts'
import { adminRoutes, createAdminServer } from './server.ts'

const OPTIONS = { version: '0.0.0', probes: true }

function listening(changes: Partial<AdminDeps> = {}, options = OPTIONS) {
  const kept = adminDeps(changes)
  const app = createAdminServer(kept.deps, options)
  const get = (url: string, headers: Record<string, string> = {}) =>
    app.inject({ method: 'GET', url, headers })
  const post = (url: string, payload: object, headers: Record<string, string> = {}) =>
    app.inject({ method: 'POST', url, payload, headers })
  return { ...kept, app, get, post, inject: (request: InjectOptions) => app.inject(request) }
}

const concrete = (path: string) => path.replace(/:\w+/, 'x')

const record = (expiresAt: number) => ({
  hash: sha256('rma_x'),
  role: 'admin' as const,
  by: 'x',
  expiresAt,
})

const statusAt = async (expiresAt: number) =>
  (
    await listening({
      clock: { now: () => 5000 },
      tokens: { find: () => Promise.resolve(record(expiresAt)) },
    }).get('/admin/v1/status', { authorization: 'Bearer rma_x' })
  ).statusCode

suite('nobody is anonymous on the admin listener', () => {
  test('every path but the probes is 401 without a credential, also one that does not exist', async () => {
    const { deps, inject } = listening()
    const paths = adminRoutes(deps, OPTIONS).map(({ path }) => concrete(path))
    for (const url of [...paths, '/', '/nothing', '/admin/v1/', '/%61dmin/v1/keys', '/live%7A']) {
      const open = ['/livez', '/readyz', '/metrics'].includes(url)
      for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS'] as const) {
        if (open) continue
        const answer = await inject({ method, url })
        assert.equal(answer.statusCode, 401, `${method} ${url}`)
        assert.equal(answer.headers['www-authenticate'], 'Bearer realm="rolemint-admin"')
        assert.equal(answer.headers['content-type'], 'application/problem+json')
        assert.equal(jsonOf(answer)['error_code'], 'admin_unauthenticated')
      }
    }
  })

  test('a credential that is unknown, malformed, of another scheme or sent twice is 401 with one and the same sentence', async () => {
    const { get } = listening()
    const sentences = new Set<unknown>()
    for (const authorization of [
      'Bearer wrong',
      `Bearer ${token('admin')}x`,
      `Bearer ${token('admin')} `.repeat(2),
      `Basic ${Buffer.from(`admin:${token('admin')}`).toString('base64')}`,
      `Bearer ${'x'.repeat(10_000)}`,
      token('admin'),
    ]) {
      const answer = await get('/admin/v1/status', { authorization })
      assert.equal(answer.statusCode, 401, authorization.slice(0, 40))
      sentences.add(jsonOf(answer)['detail'])
    }
    assert.equal(sentences.size, 1)
  })

  test('an expired token is 401 from the very millisecond on', async () => {
    assert.deepEqual(
      [await statusAt(5001), await statusAt(5000), await statusAt(4999)],
      [200, 401, 401],
    )
  })

  test('a store that answers with the record of another token lets nobody in', async () => {
    const other = { hash: sha256('other'), role: 'admin' as const, by: 'x', expiresAt: 9e15 }
    const { get } = listening({ tokens: { find: () => Promise.resolve(other) } })
    assert.equal((await get('/admin/v1/status', as('admin'))).statusCode, 401)
  })

  test('a store that does not answer is 503, not 401 and not an open door', async () => {
    const { get } = listening({ tokens: { find: () => Promise.reject(new Error('down')) } })
    const answer = await get('/admin/v1/status', as('admin'))
    assert.equal(answer.statusCode, 503)
    assert.ok(answer.headers['retry-after'])
  })

  test('a body is not read before the operator is known', async () => {
    const { post } = listening()
    assert.equal((await post('/admin/v1/keys/rotate', { a: 'x'.repeat(100_000) })).statusCode, 401)
  })

  test('the token never shows in answer or log', async () => {
    const { get, log } = listening()
    const answer = await get('/admin/v1/status', as('admin'))
    assert.doesNotMatch(`${answer.body}${JSON.stringify(log.lines)}`, /rma_/)
    assert.equal(log.lines.at(-1)?.['operator'], 'admin@acme')
  })
})

suite('roles', () => {
  /** From the architecture and the list of who may do what; by hand, so that a slip in a route is seen. */
  const LEAST: Record<string, AdminRole> = {
    'GET /admin/v1/status': 'viewer',
    'GET /admin/v1/config': 'auditor',
    'GET /admin/v1/keys': 'viewer',
    'POST /admin/v1/keys/rotate': 'operator',
    'POST /admin/v1/decisions/preview': 'auditor',
    'GET /admin/v1/decisions/:jti': 'auditor',
    'GET /admin/v1/keys/consumers': 'viewer',
    'POST /admin/v1/keys/:kid/promote': 'operator',
    'POST /admin/v1/keys/:kid/retire': 'operator',
    'POST /admin/v1/keys/:kid/kill': 'security',
    'GET /admin/v1/tenants': 'viewer',
    'GET /admin/v1/clients': 'viewer',
    'GET /admin/v1/idps': 'viewer',
    'GET /admin/v1/sources': 'viewer',
    'GET /admin/v1/audit/entries': 'auditor',
    'GET /admin/v1/breakers': 'viewer',
    'POST /admin/v1/breakers': 'operator',
    'GET /admin/v1/caches': 'viewer',
    'POST /admin/v1/caches/purge': 'operator',
    'GET /healthz': 'viewer',
    'GET /openapi.json': 'viewer',
  }

  test('each route lets its least role and those above in, and refuses those below with 403', async () => {
    const { deps, inject } = listening()
    const routes = adminRoutes(deps, { ...OPTIONS, probes: false })
    assert.deepEqual(
      routes.map(({ method, path }) => `${method} ${path}`).toSorted(),
      Object.keys(LEAST).toSorted(),
    )
    for (const { method, path } of routes) {
      const least = LEAST[`${method} ${path}`] ?? 'admin'
      for (const role of ADMIN_ROLES) {
        const answer = await inject({ method, url: concrete(path), headers: as(role) })
        const allowed = ADMIN_ROLES.indexOf(role) >= ADMIN_ROLES.indexOf(least)
        assert.equal(answer.statusCode !== 403, allowed, `${role} at ${method} ${path}`)
        if (allowed) continue
        assert.equal(jsonOf(answer)['error_code'], 'admin_forbidden')
        assert.equal(answer.headers['content-type'], 'application/problem+json')
        assert.match(String(answer.headers['www-authenticate']), /insufficient_scope/)
      }
    }
  })
})

suite('browsers', () => {
  test('a page of another origin is refused even with a good credential', async () => {
    const { get } = listening()
    for (const origin of ['https://evil.example', 'null', 'http://localhost:81', 'nonsense']) {
      const answer = await get('/admin/v1/status', { ...as('admin'), origin })
      assert.equal(answer.statusCode, 403, origin)
      assert.equal(answer.headers['access-control-allow-origin'], undefined)
    }
  })

  test('our own origin is let through', async () => {
    const { get } = listening()
    const headers = { ...as('admin'), host: 'ops.acme.example:9090' }
    const origin = 'https://ops.acme.example:9090'
    assert.equal((await get('/admin/v1/status', { ...headers, origin })).statusCode, 200)
  })
})

suite('keys', () => {
  test('are listed with their history and without private or public halves', async () => {
    const { get } = listening({
      keys: adminKeys({
        report: () =>
          Promise.resolve(
            ringReport({
              version: 3,
              keys: [
                {
                  kid: 'k1',
                  alg: 'ES256',
                  state: 'active',
                  publicJwk: { kty: 'EC' },
                  createdAt: 0,
                  activatedAt: 1000,
                  signUntil: 3 * 86_400_000,
                  reason: 'first key',
                  by: 'rolemint',
                },
              ],
            }),
          ),
      }),
    })
    assert.deepEqual(jsonOf(await get('/admin/v1/keys?tenant=acme', as('viewer'))), {
      tenant: 'acme',
      version: 3,
      keys: [
        {
          kid: 'k1',
          alg: 'ES256',
          state: 'active',
          created_at: '1970-01-01T00:00:00.000Z',
          activated_at: '1970-01-01T00:00:01.000Z',
          due_at: '1970-01-03T00:00:00.000Z',
          sign_until: '1970-01-04T00:00:00.000Z',
          reason: 'first key',
          by: 'rolemint',
        },
      ],
    })
  })

  test('rotate with who, why and the request id, never without a reason', async () => {
    const orders: unknown[] = []
    const { post } = listening({
      keys: adminKeys({
        rotate: (_tenant, alg, order) => {
          orders.push({ alg, ...order })
          return Promise.resolve(ringReport({ version: 2 }))
        },
      }),
    })
    const rotate = (body: object) => post('/admin/v1/keys/rotate', body, as('operator'))
    for (const body of [{ tenant: 'acme' }, { tenant: 'acme', reason: '' }]) {
      const answer = await rotate(body)
      assert.equal(answer.statusCode, 400)
      assert.equal(jsonOf(answer)['param'], 'reason')
    }
    const answer = await rotate({ tenant: 'acme', alg: 'ES256', reason: 'quarterly' })
    assert.equal(answer.statusCode, 200)
    assert.deepEqual(orders, [
      {
        alg: 'ES256',
        reason: 'quarterly',
        by: 'operator@acme',
        traceId: answer.headers['x-request-id'],
      },
    ])
  })

  test('a ring that does not allow the change yet is 409 with the reason', async () => {
    const { post } = listening({
      keys: adminKeys({
        rotate: () => Promise.reject(new RingError('published_too_recently', 'Too early.', 1)),
      }),
    })
    const body = { tenant: 'acme', reason: 'quarterly' }
    const answer = await post('/admin/v1/keys/rotate', body, as('operator'))
    assert.equal(answer.statusCode, 409)
    assert.equal(jsonOf(answer)['error_code'], 'conflict')
    assert.equal(jsonOf(answer)['detail'], 'Too early.')
  })

  test('promote, retire and kill name the key in the path, with who, why and the request id', async () => {
    const orders: unknown[] = []
    const { post } = listening({
      keys: adminKeys({
        change: (tenant, action, kid, order) => {
          orders.push([tenant.name, action, kid, order.by, order.reason, order.traceId])
          return Promise.resolve(ringReport({ version: 2 }))
        },
      }),
    })
    for (const action of ['promote', 'retire', 'kill']) {
      const url = `/admin/v1/keys/k_1-x/${action}`
      const unreasoned = await post(url, { tenant: 'acme' }, as('security'))
      assert.equal(unreasoned.statusCode, 400)
      const answer = await post(url, { tenant: 'acme', reason: 'INC-42' }, as('security'))
      assert.equal(answer.statusCode, 200)
      assert.equal(jsonOf(answer)['version'], 2)
      const traceId = answer.headers['x-request-id']
      assert.deepEqual(orders.pop(), ['acme', action, 'k_1-x', 'security@acme', 'INC-42', traceId])
      assert.deepEqual(orders, [])
    }
  })

  test('a kid that the ring does not have is 404, what the ring does not allow 409, a lost private half 503 without its name', async () => {
    const key = { kid: 'k1', alg: 'ES256', state: 'published' } as const
    for (const [error, status] of [
      [new RingError('kid_unknown', 'The ring has no key of this kid.'), 404],
      [new RingError('wrong_state', 'The key k1 is retired.'), 409],
      [new RingError('still_needed', 'Not yet.', 1), 409],
      [new RingError('already_compromised', 'Killed already.'), 409],
      [new RingError('changed_meanwhile', 'Look again.'), 409],
      [new PrivateHalfError('acme', key, new Error('vault at 10.0.0.7')), 503],
    ] as const) {
      const { post } = listening({ keys: adminKeys({ change: () => Promise.reject(error) }) })
      const body = { tenant: 'acme', reason: 'INC-42' }
      const answer = await post('/admin/v1/keys/k1/promote', body, as('operator'))
      assert.equal(answer.statusCode, status, error.message)
      assert.doesNotMatch(answer.body, /10\.0/)
    }
  })

  test('consumers are shown with what they lack and what they may still accept; a published key says whether all have it', async () => {
    const latest = {
      consumer: 'api',
      kids: ['k1'],
      etag: '"x"',
      firstAt: 0,
      lastAt: 1000,
      fetches: 3,
    }
    const known = { consumer: 'api', keepsMilliseconds: 86_400_000, latest }
    const published = {
      kid: 'k2',
      alg: 'ES256',
      state: 'published',
      publicJwk: {},
      createdAt: 0,
      publishedAt: 0,
      reason: 'x',
      by: 'y',
    } as const
    const { get } = listening({
      keys: adminKeys({
        report: () => Promise.resolve(ringReport({ keys: [published] })),
        seenByAll: () => Promise.resolve(() => false),
        consumers: () =>
          Promise.resolve([
            { ...known, lacks: ['k2'], exposed: [{ kid: 'k0', until: 2000 }] },
            { ...known, consumer: 'hr', latest: undefined, lacks: [], exposed: [] },
          ]),
      }),
    })
    const census = jsonOf(await get('/admin/v1/keys/consumers?tenant=acme', as('viewer')))
    assert.deepEqual(census['consumers'], [
      {
        consumer: 'api',
        last_fetch_at: '1970-01-01T00:00:01.000Z',
        fetches: 3,
        kids: ['k1'],
        keeps_seconds: 86_400,
        lacks: ['k2'],
        exposed: [{ kid: 'k0', until: '1970-01-01T00:00:02.000Z' }],
      },
      { consumer: 'hr', fetches: 0, kids: [], keeps_seconds: 86_400, lacks: [], exposed: [] },
    ])
    const { keys } = (await get('/admin/v1/keys?tenant=acme', as('viewer'))).json<{
      keys: Record<string, unknown>[]
    }>()
    // publishAhead and twice the skew.
    assert.equal(keys[0]?.['activatable_from'], '1970-01-02T00:01:00.000Z')
    assert.equal(keys[0]?.['seen_by_all'], false)
  })

  test('an algorithm that the ring does not have is 400, a ledger that is down 503', async () => {
    for (const [error, status] of [
      [new RingError('algorithm_not_in_ring', 'The ring has no RS256 key.'), 400],
      [new Refusal('ledger_unavailable', 'x'), 503],
      [new Error('the store gave no answer'), 503],
    ] as const) {
      const { post } = listening({
        keys: adminKeys({ rotate: () => Promise.reject(error) }),
      })
      const body = { tenant: 'acme', alg: 'RS256', reason: 'quarterly' }
      assert.equal((await post('/admin/v1/keys/rotate', body, as('operator'))).statusCode, status)
    }
  })
})

const asked = () => {
  const questions: PreviewQuestion[] = []
  const preview: AdminDeps['preview'] = (_tenant, question) => {
    questions.push(question)
    return Promise.resolve({
      outcome: 'grant',
      grant: {
        sub: 'login|alice',
        aud: ['https://api.acme.example'],
        clientId: 'orders-web',
        roles: ['orders.read'],
        scopes: [],
        iat: 1,
        exp: 2,
        sessionExp: 3,
        idp: 'login',
        entitlements: { status: 'fresh', at: 1 },
      },
      trace: [{ rule: 'ceiling', effect: 'keep', detail: 'x', at: 'acme.yaml:38' }],
    })
  }
  return { questions, ...listening({ preview }) }
}

const down = () => Promise.reject(new Error('connect 10.0.0.7'))

suite('decisions', () => {
  test('a preview for a user is a decision with its trace, in the words of the claims', async () => {
    const { post, questions } = asked()
    const answer = await post(
      '/admin/v1/decisions/preview',
      {
        tenant: 'acme',
        client: 'orders-web',
        audience: 'https://api.acme.example',
        subject: 'alice',
      },
      as('auditor'),
    )
    assert.equal(answer.statusCode, 200)
    assert.deepEqual(questions[0], {
      clientId: 'orders-web',
      targets: ['https://api.acme.example'],
      scopes: [],
      subject: { user: 'alice' },
    })
    const { outcome, grant, trace } = answer.json<{
      outcome: string
      grant: Record<string, unknown>
      trace: unknown[]
    }>()
    assert.equal(outcome, 'grant')
    assert.equal(grant['client_id'], 'orders-web')
    assert.equal(grant['session_exp'], 3)
    assert.deepEqual(trace, [{ rule: 'ceiling', effect: 'keep', detail: 'x', at: 'acme.yaml:38' }])
  })

  test('a preview for a token passes it on as a secret and never repeats it', async () => {
    const { post, questions, log } = asked()
    const answer = await post(
      '/admin/v1/decisions/preview',
      { tenant: 'acme', client: 'orders-web', subject_token: CANARY },
      as('auditor'),
    )
    const subject = questions[0]?.subject
    assert.ok(subject && 'token' in subject)
    assert.equal(subject.token.reveal(), CANARY)
    assert.equal(subject.type, 'jwt')
    assert.doesNotMatch(`${answer.body}${JSON.stringify(log.lines)}`, /eyJ/)
  })

  test('a preview for both or neither is refused', async () => {
    const { post } = asked()
    for (const more of [{}, { subject: 'alice', subject_token: CANARY }]) {
      const body = { tenant: 'acme', client: 'orders-web', ...more }
      const answer = await post('/admin/v1/decisions/preview', body, as('auditor'))
      assert.equal(answer.statusCode, 400)
      assert.equal(jsonOf(answer)['param'], 'subject')
    }
  })

  test('a refused preview is 200 with the code, as it was the answer that was asked for', async () => {
    const body = { tenant: 'acme', client: 'orders-web', subject: { user: 'a', idp: 'login' } }
    const answer = await listening().post('/admin/v1/decisions/preview', body, as('auditor'))
    assert.equal(answer.statusCode, 200)
    assert.equal(jsonOf(answer)['outcome'], 'refuse')
    assert.equal(jsonOf(answer)['error_code'], 'no_roles')
  })

  const ENTRY: StoredEntry = {
    id: 'jti-1',
    position: 7,
    event: 'issued',
    tenant: 'acme',
    at: 0,
    digest: Buffer.from('abc'),
    kid: 'k1',
    client: 'orders-web',
    details: { claims: { sub: 'alice' }, trace: [] },
  }

  test('a recorded decision is found by its jti in its own tenant only', async () => {
    const { get } = listening({
      ledger: aLedger({
        find: (tenant, id) =>
          Promise.resolve(tenant === 'acme' && id === 'jti-1' ? ENTRY : undefined),
      }),
    })
    const answer = await get('/admin/v1/decisions/jti-1?tenant=acme', as('auditor'))
    assert.deepEqual(jsonOf(answer), {
      id: 'jti-1',
      position: 7,
      event: 'issued',
      tenant: 'acme',
      at: '1970-01-01T00:00:00.000Z',
      digest: 'YWJj',
      kid: 'k1',
      client: 'orders-web',
      claims: { sub: 'alice' },
      trace: [],
    })
    const missing = await get('/admin/v1/decisions/jti-2?tenant=acme', as('auditor'))
    assert.equal(missing.statusCode, 404)
    assert.equal(jsonOf(missing)['error_code'], 'not_found')
    const elsewhere = await get('/admin/v1/decisions/jti-1?tenant=globex', as('auditor'))
    assert.equal(elsewhere.statusCode, 404)
    assert.equal(jsonOf(elsewhere)['error_code'], 'unknown_tenant')
  })

  test('ledger entries come in pages, with checked bounds', async () => {
    const asks: unknown[] = []
    const { get } = listening({
      ledger: aLedger({
        recent: (tenant, limit, before) => {
          asks.push([tenant, limit, before])
          return Promise.resolve(limit === 1 ? [ENTRY] : [])
        },
      }),
    })
    const page = (query: string) => get(`/admin/v1/audit/entries?${query}`, as('auditor'))
    assert.equal(jsonOf(await page('tenant=acme&limit=1&before=9'))['next_before'], 7)
    assert.equal(jsonOf(await page('tenant=acme'))['next_before'], undefined)
    assert.deepEqual(asks, [
      ['acme', 1, 9],
      ['acme', 50, undefined],
    ])
    for (const query of [
      '',
      'tenant=acme&limit=0',
      'tenant=acme&limit=501',
      'tenant=acme&limit=1e2',
      'tenant=acme&before=-1',
      'tenant=acme&tenant=globex',
      'tenant=acme&unheard_of=1',
    ])
      assert.equal((await page(query)).statusCode, 400, query)
  })

  test('a ledger that is down is 503', async () => {
    const { get } = listening({ ledger: aLedger({ find: down, recent: down }) })
    for (const path of ['audit/entries', 'decisions/x']) {
      const answer = await get(`/admin/v1/${path}?tenant=acme`, as('auditor'))
      assert.equal(answer.statusCode, 503)
      assert.doesNotMatch(answer.body, /10\.0/)
    }
  })
})

suite('what is configured', () => {
  test('is listed without secrets, digests or credentials in URLs', async () => {
    const { get } = listening()
    for (const plural of ['tenants', 'clients', 'idps', 'sources']) {
      const answer = await get(`/admin/v1/${plural}`, as('viewer'))
      assert.equal(answer.statusCode, 200, plural)
      assert.ok(Array.isArray(jsonOf(answer)[plural]))
      assert.doesNotMatch(answer.body, /hush|sha256|redacted/)
    }
    const sources = await get('/admin/v1/sources?tenant=acme', as('viewer'))
    assert.match(sources.body, /https:\/\/hr\.acme\.example\/users\/\{user\}\?/)
    assert.equal((await get('/admin/v1/sources?tenant=x', as('viewer'))).statusCode, 404)
  })

  test('status and configuration are what they are told to be', async () => {
    const { get } = listening()
    const status = jsonOf(await get('/admin/v1/status', as('viewer')))
    assert.deepEqual(status, {
      version: '0.0.0',
      ready: true,
      reasons: [],
      tenants: [{ name: 'acme', issuer: 'https://sts.acme.example' }],
      operator: { by: 'viewer@acme', role: 'viewer' },
    })
    assert.deepEqual(jsonOf(await get('/admin/v1/config', as('auditor'))), {
      config: { version: 1 },
    })
  })

  test('answers may not be stored', async () => {
    const answer = await listening().get('/admin/v1/status', as('viewer'))
    assert.equal(answer.headers['cache-control'], 'no-store')
  })
})

suite('probes', () => {
  test('answer without a credential, on the admin port or on their own', async () => {
    const { deps } = adminDeps()
    for (const app of [createAdminServer(deps, OPTIONS), createProbeServer(deps)]) {
      const get = (url: string) => app.inject({ method: 'GET', url })
      assert.equal((await get('/livez')).statusCode, 200)
      assert.deepEqual(jsonOf(await get('/readyz')), { ready: true })
      const metrics = await get('/metrics')
      assert.equal(metrics.body, 'up 1\n')
      assert.equal(metrics.headers['content-type'], deps.metrics.contentType)
    }
  })

  test('on their own port nothing else is answered, and with it the admin port has none', async () => {
    const { deps } = adminDeps()
    const probes = createProbeServer(deps)
    for (const url of ['/admin/v1/status', '/openapi.json', '/token'])
      assert.equal(
        (await probes.inject({ method: 'GET', url, headers: as('admin') })).statusCode,
        404,
      )
    const admin = createAdminServer(deps, { version: '0', probes: false })
    assert.equal((await admin.inject({ method: 'GET', url: '/livez' })).statusCode, 401)
  })

  test('not ready is 503 with the reasons; a check that fails itself is not ready either, and says no more', async () => {
    const reasons = ['tenant acme has no active ES256 key']
    const sad = listening({ ready: () => Promise.resolve({ ready: false, reasons }) })
    const answer = await sad.get('/readyz')
    assert.equal(answer.statusCode, 503)
    assert.deepEqual(jsonOf(answer), { ready: false, reasons })
    const broken = listening({ ready: () => Promise.reject(new Error('connect 10.0.0.7')) })
    const failed = await broken.get('/readyz')
    assert.equal(failed.statusCode, 503)
    assert.doesNotMatch(failed.body, /10\.0/)
    assert.equal((await broken.get('/livez')).statusCode, 200)
  })

  test('a page of another origin cannot read them from the admin port', async () => {
    const answer = await listening().get('/metrics', { origin: 'https://evil.example' })
    assert.equal(answer.statusCode, 403)
  })
})
