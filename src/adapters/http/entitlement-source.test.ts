import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type EntitlementApi, startEntitlementApi } from '../../../test/fakes/entitlement-api.ts'
import { sourceOf } from '../../../test/fakes/entitlement-source.ts'
import type { Source } from '../../entitlement/options.ts'
import { type SourceAnswer, SourceFailure } from '../../entitlement/source.ts'
import { systemClock } from '../../lib/clock.ts'
import { Secret } from '../../lib/secret.ts'
import { createEgress } from './egress.ts'
import { createHttpEntitlementSource } from './entitlement-source.ts'

const ROLES = ['orders.read', 'orders.write', 'hr.read', 'hr.write', 'admin']

interface World {
  readonly api: EntitlementApi
  /** Asks for a user's roles with at most 200 of them. */
  readonly ask: (user?: string, overrides?: Partial<Source>) => Promise<SourceAnswer>
}

async function inWorld(check: (world: World) => Promise<void>): Promise<void> {
  const api = await startEntitlementApi()
  const port = createHttpEntitlementSource({
    egress: createEgress({ allow: [], allowLoopback: true }),
    clock: systemClock,
  })
  api.users.set('ada', ROLES)
  const source = sourceOf({ url: api.url, echoPath: 'user' })
  try {
    await check({
      api,
      ask: (user = 'ada', overrides) =>
        port.rolesOf(
          overrides ? { ...source, ...overrides } : source,
          user,
          200,
          AbortSignal.timeout(20_000),
        ),
    })
  } finally {
    await port.close()
    await api.close()
  }
}

function failsWith(kind: SourceFailure['kind'], about: RegExp) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof SourceFailure, String(error))
    assert.equal(error.kind, kind, error.message)
    assert.match(error.message, about)
    return true
  }
}

const complete = { known: true, roles: ROLES } as const

const HOSTILE_NAMES = [
  '../admin',
  '/../../admin/',
  'ada/roles?page=2',
  'ada?admin=true',
  'ada#',
  'ada&user=root',
  'ada;x=1',
  'ada%2f..%2fadmin',
  '%2e%2e',
  '.%2e',
  'ada\r\nX-Admin: 1\r\n\r\nGET /users/root/roles HTTP/1.1',
  'ada\0',
  '..\\admin',
  '{user}',
  '$&',
  '*)(uid=*))(|(uid=*',
  "' OR 1=1 --",
  'ａｄａ＠ｅｘａｍｐｌｅ',
  '💥@example.test',
  '@evil.test',
  '//evil.test/',
  'https://evil.test/',
]

test('a hostile user name is one encoded path segment of one request', () =>
  inWorld(async ({ api, ask }) => {
    for (const user of HOSTILE_NAMES) {
      api.forget()
      assert.deepEqual(await ask(user), { known: false })
      assert.equal(api.requests.length, 1, user)
      const segments = api.requests[0]?.target.split('/') ?? []
      assert.equal(segments.length, 4, api.requests[0]?.target)
      assert.match(segments[2] ?? '', /^[\w.!~*'()%-]+$/)
      assert.equal(decodeURIComponent(segments[2] ?? ''), user)
      assert.equal(api.requests[0]?.headers['x-admin'], undefined)
    }
  }))

test('a user name that cannot be one path segment makes no request', () =>
  inWorld(async ({ api, ask }) => {
    for (const user of ['', '.', '..', '\ud800'])
      await assert.rejects(ask(user), failsWith('contract', /user name/))
    assert.equal(api.requests.length, 0)
  }))

test('an address without {user}, or with it before the path, is not asked', () =>
  inWorld(async ({ api, ask }) => {
    for (const url of [
      `${api.origin}/roles`,
      api.origin,
      'http://{user}/roles',
      'http://{user}@127.0.0.1/roles',
      'http://{user}.example.test/{user}',
      'http://{user}',
    ])
      await assert.rejects(ask('ada', { url }), failsWith('contract', /./), url)
    assert.equal(api.requests.length, 0)
  }))

test('{user} may stand in the query', () =>
  inWorld(async ({ api, ask }) => {
    await ask('a&b=c d', { url: `${api.origin}/roles?user={user}` })
    assert.equal(api.requests[0]?.target, '/roles?user=a%26b%3Dc%20d')
  }))

test('the credential is sent to the source, and an answer that leads it elsewhere is refused', () =>
  inWorld(async ({ api, ask }) => {
    const elsewhere = await startEntitlementApi()
    elsewhere.users.set('ada', ['root'])
    const auth = { header: 'authorization', value: new Secret('Bearer s3cret') }
    try {
      assert.deepEqual(await ask('ada', { auth }), complete)
      assert.deepEqual(
        new Set(api.requests.map(({ headers }) => headers.authorization)),
        new Set(['Bearer s3cret']),
      )
      for (const next of [
        `${elsewhere.origin}/users/ada/roles`,
        `//${elsewhere.origin.slice('http://'.length)}/users/ada/roles`,
        `\\\\${elsewhere.origin.slice('http://'.length)}/users/ada/roles`,
        api.origin.replace('http:', 'https:'),
        api.origin.replace('127.0.0.1', 'localhost'),
        api.origin.replace('//', '//user:password@'),
        'file:///etc/passwd',
        'javascript:0',
        'http://',
      ]) {
        api.behave({ lie: (page) => ({ ...page, next }) })
        await assert.rejects(ask('ada', { auth }), failsWith('contract', /origin|URL/), next)
      }
      assert.equal(elsewhere.requests.length, 0)
    } finally {
      await elsewhere.close()
    }
  }))

test('a redirect is not followed', () =>
  inWorld(async ({ api, ask }) => {
    for (const status of [301, 302, 303, 307, 308]) {
      api.forget()
      api.behave({ status, location: '/users/ada/roles?page=2' })
      await assert.rejects(ask(), failsWith('status', new RegExp(String(status))))
      assert.equal(api.requests.length, 1)
    }
  }))

test('only a 404 for the first page says that there is no such user', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ status: 404 })
    assert.deepEqual(await ask(), { known: false })
    api.behave({ fromPage: 2 })
    await assert.rejects(ask(), failsWith('status', /page 2: status 404/))
    for (const status of [201, 204, 206, 304, 400, 410, 429, 500, 503]) {
      api.behave({ status, fromPage: 1 })
      await assert.rejects(ask(), failsWith('status', new RegExp(String(status))))
    }
  }))

test('pages that lead in a circle are refused after one round', () =>
  inWorld(async ({ api, ask }) => {
    for (const back of ['?page=1', '?page=2', '?page=3', '', '#here', '?page=2#again']) {
      api.forget()
      api.behave({ lie: (page, number) => ({ ...page, next: number === 3 ? back : page.next }) })
      const circle = ask('ada', { url: `${api.url}?page=1` })
      // An empty link is the last page and no circle.
      if (back === '') assert.deepEqual(await circle, complete)
      else await assert.rejects(circle, failsWith('contract', /lead back/), back)
      assert.equal(api.requests.length, 3)
    }
  }))

test('pages without end are refused at the configured number', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ lie: (page, number) => ({ ...page, items: [], next: `?page=${number + 1}` }) })
    await assert.rejects(ask('ada', { maxPages: 7 }), failsWith('contract', /more than 7 pages/))
    assert.equal(api.requests.length, 7)
    api.behave({ lie: (page) => page })
    assert.deepEqual(await ask('ada', { maxPages: 3 }), complete)
    await assert.rejects(ask('ada', { maxPages: 2 }), failsWith('contract', /more than 2 pages/))
  }))

test('roles are counted over all pages, duplicates too', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({
      lie: (page, number) => ({
        ...page,
        items: Array.from({ length: 67 }, () => ({ role: 'same' })),
        next: number < 3 ? `?page=${number + 1}` : null,
      }),
    })
    await assert.rejects(ask(), failsWith('contract', /more than 200 roles/))
  }))

test('an answer about another user, or about nobody, is refused on whichever page it comes', () =>
  inWorld(async ({ api, ask }) => {
    for (const fromPage of [1, 2, 3]) {
      for (const user of ['bob', 'Ada', 'ada ', '', null, undefined, ['ada'], { ada: true }]) {
        api.behave({ fromPage, lie: (page) => ({ ...page, user }) })
        await assert.rejects(ask(), failsWith('contract', /not about the user/))
      }
    }
  }))

test('an answer of another shape is a failure and never "no roles"', () =>
  inWorld(async ({ api, ask }) => {
    const page = { user: 'ada', next: null }
    for (const items of [
      undefined,
      null,
      {},
      'admin',
      7,
      [null],
      ['admin'],
      [{}],
      [{ role: null }],
      [{ role: 7 }],
      [{ role: ['admin'] }],
      [{ role: { name: 'admin' } }],
      [{ role: 'orders.read' }, { name: 'admin' }],
      { role: 'admin' },
      { '0': { role: 'admin' }, length: 1 },
    ]) {
      api.behave({ body: JSON.stringify({ ...page, items }) })
      await assert.rejects(ask(), failsWith('contract', /member|array|string/))
    }
    for (const next of [7, true, {}, ['?page=2']]) {
      api.behave({ body: JSON.stringify({ user: 'ada', items: [], next }) })
      await assert.rejects(ask(), failsWith('contract', /next page/))
    }
  }))

test('members of the prototype are nothing the source said', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ body: '{"user":"ada","items":[{"__proto__":{"role":"admin"}}]}' })
    await assert.rejects(ask(), failsWith('contract', /no member role/))
    api.behave({ body: '{}' })
    for (const rolesPath of ['constructor.name[*]', '__proto__', 'toString'])
      await assert.rejects(
        ask('ada', { rolesPath, echoPath: undefined }),
        failsWith('contract', /no member/),
      )
  }))

test('a body that is not JSON in UTF-8, is not called JSON, is compressed or too long is refused', () =>
  inWorld(async ({ api, ask }) => {
    const role = Buffer.from('{"user":"ada","items":[{"role":"a\xff"}],"next":null}', 'latin1')
    for (const body of ['', 'null', '[]', '<html>', '{"user":"ada","items":[]', role]) {
      api.behave({ body })
      await assert.rejects(ask(), failsWith('contract', /./), String(body))
    }
    api.behave({ body: `{"user":"ada","items":[],"pad":"${'x'.repeat(1024 * 1024)}"}` })
    await assert.rejects(ask(), failsWith('contract', /1048576 bytes/))
    api.behave({ body: undefined })
    for (const contentType of ['text/html', 'text/json', 'application/jsonp', 'application/jose']) {
      api.behave({ contentType })
      await assert.rejects(ask(), failsWith('contract', /media type/), contentType)
    }
    api.behave({ contentType: 'application/json', headers: { 'content-encoding': 'gzip' } })
    await assert.rejects(ask(), failsWith('contract', /compressed/))
  }))

test('JSON under its relatives and with parameters is accepted', () =>
  inWorld(async ({ api, ask }) => {
    for (const contentType of [
      'application/json; charset=utf-8',
      'Application/JSON;charset=UTF-8',
      'application/scim+json',
      'application/hal+json ; profile=x',
    ]) {
      api.behave({ contentType })
      assert.deepEqual(await ask(), complete)
    }
  }))

test('the operator reads what was wrong, without personal data from the body', () =>
  inWorld(async ({ api, ask }) => {
    api.behave({ body: '{"user":"ada","salary":123456,' })
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof SourceFailure)
      assert.doesNotMatch(`${error.message} ${String(error.cause)}`, /ada|salary|123456/)
      return true
    })
  }))

test('connections are used again, also after an unknown user', () =>
  inWorld(async ({ api, ask }) => {
    for (let i = 0; i < 5; i += 1) {
      await ask()
      await ask('nobody')
    }
    // The next request may be sent a moment before the connection of the last one is free again.
    assert.ok(api.connections() <= 2, `${api.connections()} connections for 20 requests`)
  }))

test('nobody listening is told apart from a slow source', () =>
  inWorld(async ({ api, ask }) => {
    await ask()
    await api.close()
    await assert.rejects(ask(), failsWith('unreachable', /no usable connection \(\w+\)/))
  }))

test('roles come out whole however they are spread over pages', () =>
  inWorld(async ({ api, ask }) => {
    const roles = fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }), {
      maxLength: 40,
    })
    await fc.assert(
      fc.asyncProperty(roles, fc.integer({ min: 1, max: 10 }), async (given, pageSize) => {
        api.users.set('eve', given)
        api.behave({ pageSize })
        assert.deepEqual(await ask('eve', { maxPages: 50 }), { known: true, roles: given })
      }),
      { numRuns: 40 },
    )
  }))
