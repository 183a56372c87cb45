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
