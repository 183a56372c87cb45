import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Value } from 'typebox/value'
import { parse } from 'yaml'
import { clientSchema, toClient } from '../src/client/options.ts'
import { sourceSchema } from '../src/entitlement/options.ts'
import { listenSchema } from '../src/http/options.ts'
import { keysSchema } from '../src/keys/options.ts'
import { rolesSchema, toGrantRules, tokensSchema } from '../src/policy/options.ts'
import { idpSchema, toIdp } from '../src/subject/options.ts'
import { demoConfig } from './config.ts'
import { jsonObject } from './json.ts'
import { DEMO_USERS } from './users.ts'

const OPTIONS = {
  idpIssuer: 'http://127.0.0.1:9100',
  entitlementsUrl: 'http://127.0.0.1:9200',
  clientSecretSha256: 'A'.repeat(43),
  apiSecretSha256: 'B'.repeat(43),
}

function section(config: unknown, ...path: string[]): unknown {
  return path.reduce((value, name) => jsonObject(value)[name], config)
}

test('every section of the demo configuration is what its room accepts', () => {
  const config: unknown = parse(demoConfig(OPTIONS), { version: '1.2', strict: true })
  const tenant = section(config, 'tenants', 'demo')
  assert.equal(section(config, 'profile'), 'dev')
  assert.equal(section(tenant, 'issuer'), 'http://127.0.0.1:8080')
  assert.ok(Value.Check(listenSchema, section(config, 'listen')))
  assert.ok(Value.Check(keysSchema, section(config, 'keys')))
  assert.ok(Value.Check(tokensSchema, section(tenant, 'tokens')))
  assert.ok(Value.Check(clientSchema, section(tenant, 'clients', 'orders-api')))

  const idp = section(tenant, 'idps', 'demo')
  assert.ok(Value.Check(idpSchema, idp))
  assert.deepEqual(toIdp('demo', idp).presenters, ['orders-web'])

  const source = section(tenant, 'sources', 'demo-hr')
  assert.ok(Value.Check(sourceSchema, source))
  assert.equal(section(source, 'url'), 'http://127.0.0.1:9200/users/{user}/roles')

  const client = section(tenant, 'clients', 'orders-web')
  assert.ok(Value.Check(clientSchema, client))
  assert.equal(toClient('orders-web', client).exchangeOwn, true)
})

test('translated and kept under the ceiling, alice has exactly orders.admin and bob exactly orders.read', () => {
  const config: unknown = parse(demoConfig(OPTIONS))
  const roles = section(config, 'tenants', 'demo', 'roles')
  assert.ok(Value.Check(rolesSchema, roles))
  const { map } = toGrantRules(roles, undefined)
  const rolesOf = (name: string) => {
    const given = DEMO_USERS.find((user) => user.name === name)?.sourceRoles ?? []
    return map.filter(({ from }) => given.includes(from)).map(({ to }) => to)
  }
  assert.deepEqual(rolesOf('alice'), ['orders.admin'])
  assert.deepEqual(rolesOf('bob'), ['orders.read'])
})

test('a value that means something in YAML stays a value', () => {
  const config: unknown = parse(demoConfig({ ...OPTIONS, databaseFile: './a"b: [c]\\d' }))
  assert.equal(section(config, 'store', 'sqlite'), './a"b: [c]\\d')
})
