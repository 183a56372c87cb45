import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DemoEntitlements, startDemoEntitlements } from './entitlements.ts'
import { jsonObject } from './json.ts'

async function withApi(use: (api: DemoEntitlements) => Promise<void>): Promise<void> {
  const api = await startDemoEntitlements()
  try {
    await use(api)
  } finally {
    await api.close()
  }
}

const get = (api: DemoEntitlements, path: string, bearer = api.bearer) =>
  fetch(`${api.url}${path}`, { headers: { authorization: `Bearer ${bearer}` } })

test('the roles of alice come in three pages that repeat whom they are about', () =>
  withApi(async (api) => {
    const roles: unknown[] = []
    let path: unknown = '/users/alice%40demo.example/roles'
    while (typeof path === 'string') {
      const page = jsonObject(await (await get(api, path)).json())
      assert.equal(page['user'], 'alice@demo.example')
      assert.ok(Array.isArray(page['items']))
      for (const item of page['items']) roles.push(jsonObject(item)['role'])
      path = page['next']
    }
    assert.equal(path, null)
    assert.equal(roles.length, 5)
    assert.equal(roles[0], 'SAP_ORD_ADM')
    assert.equal(api.requests(), 3)
  }))

test('carol is unknown: 404, which is not the same as having no roles', () =>
  withApi(async (api) => {
    assert.equal((await get(api, '/users/carol%40demo.example/roles')).status, 404)
    assert.equal((await get(api, '/users/bob%40demo.example/roles?page=2')).status, 200)
  }))

test('without the right bearer token nothing is said about anybody', () =>
  withApi(async (api) => {
    for (const path of ['/users/alice%40demo.example/roles', '/users/carol%40demo.example/roles'])
      assert.equal((await get(api, path, 'wrong')).status, 401)
  }))

test('paths, pages, methods and encodings that make no sense get a 4xx', () =>
  withApi(async (api) => {
    assert.equal((await get(api, '/')).status, 404)
    assert.equal((await get(api, '/users/%ff/roles')).status, 400)
    assert.equal((await get(api, '/users/alice%40demo.example/roles?page=0')).status, 400)
    const headers = { authorization: `Bearer ${api.bearer}` }
    const url = `${api.url}/users/bob%40demo.example/roles`
    assert.equal((await fetch(url, { method: 'DELETE', headers })).status, 405)
  }))

const post = (api: DemoEntitlements, body: string) =>
  fetch(`${api.url}/roles`, {
    method: 'POST',
    headers: { authorization: `Bearer ${api.bearer}`, 'content-type': 'application/json' },
    body,
  })

test('a batch tells the known from the unknown, and says the same as pages', () =>
  withApi(async (api) => {
    const users = ['alice@demo.example', 'carol@demo.example', 'bob@demo.example']
    const batch = jsonObject(await (await post(api, JSON.stringify({ users }))).json())
    assert.deepEqual(batch['unknown'], ['carol@demo.example'])
    assert.ok(Array.isArray(batch['answers']))
    const answers = batch['answers'].map(jsonObject)
    assert.deepEqual(
      answers.map(({ user }) => user),
      ['alice@demo.example', 'bob@demo.example'],
    )
    assert.deepEqual(answers[1]?.['roles'], ['SAP_ORD_R', 'SAP_HR_SELF'])
    const page = jsonObject(await (await get(api, '/users/bob%40demo.example/roles')).json())
    assert.equal(page['version'], batch['version'])
  }))

test('a batch that is none, or too long, gets a 4xx', () =>
  withApi(async (api) => {
    const long = JSON.stringify({ users: Array.from({ length: 101 }, (_, i) => `u${i}`) })
    for (const body of ['', '[]', '{}', '{"users":[7]}', long, 'x'.repeat(70_000)])
      assert.equal((await post(api, body)).status, 400, body.slice(0, 20))
    assert.equal((await get(api, '/roles')).status, 405)
  }))

test('a page that is known already by its ETag is not sent again', () =>
  withApi(async (api) => {
    const page = await get(api, '/users/bob%40demo.example/roles')
    const etag = page.headers.get('etag') ?? ''
    assert.match(etag, /^"[\w-]+"$/)
    const again = await fetch(`${api.url}/users/bob%40demo.example/roles`, {
      headers: { authorization: `Bearer ${api.bearer}`, 'if-none-match': etag },
    })
    assert.equal(again.status, 304)
  }))
