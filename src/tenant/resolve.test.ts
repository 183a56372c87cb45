import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aTenant } from '../../test/fakes/policy.ts'
import { createTenants } from './resolve.ts'

function tenantsAt(...issuers: readonly string[]) {
  const all = new Map(issuers.map((issuer) => [issuer, aTenant({ name: issuer, issuer })]))
  const tenants = createTenants(() => all)
  return (host: string | undefined, path: string) => {
    const found = tenants.resolve({ host, path })
    return found.tenant ? [found.tenant.name, found.path] : undefined
  }
}

test('a single tenant answers whatever host it is called by', () => {
  const resolve = tenantsAt('https://sts.example')
  assert.deepEqual(resolve('10.0.0.7:8080', '/token'), ['https://sts.example', '/token'])
  assert.deepEqual(resolve(undefined, '/jwks'), ['https://sts.example', '/jwks'])
})

test('with several tenants the host decides, and an unknown one belongs to nobody', () => {
  const resolve = tenantsAt('https://a.example', 'https://b.example:8443')
  assert.deepEqual(resolve('a.example', '/token'), ['https://a.example', '/token'])
  assert.deepEqual(resolve('b.example:8443', '/token'), ['https://b.example:8443', '/token'])
  assert.equal(resolve('b.example', '/token'), undefined)
  assert.equal(resolve('evil.example', '/token'), undefined)
  assert.equal(resolve(undefined, '/token'), undefined)
})

test('tenants of one host are told apart by the path of their issuer, the longest first', () => {
  const resolve = tenantsAt('https://sts.example/acme', 'https://sts.example/acme/eu')
  assert.deepEqual(resolve('sts.example', '/acme/token'), ['https://sts.example/acme', '/token'])
  assert.deepEqual(resolve('sts.example', '/acme/eu/token'), [
    'https://sts.example/acme/eu',
    '/token',
  ])
  assert.equal(resolve('sts.example', '/acmeeu/token'), undefined)
  assert.equal(resolve('sts.example', '/token'), undefined)
})

test('the well-known path of RFC 8414 comes before the path of the issuer, the one of OpenID after it', () => {
  const resolve = tenantsAt('https://sts.example/acme', 'https://sts.example/other')
  const expected = ['https://sts.example/acme', '/.well-known/oauth-authorization-server']
  assert.deepEqual(resolve('sts.example', '/.well-known/oauth-authorization-server/acme'), expected)
  assert.deepEqual(resolve('sts.example', '/acme/.well-known/openid-configuration'), [
    'https://sts.example/acme',
    '/.well-known/openid-configuration',
  ])
})
