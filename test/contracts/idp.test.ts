/** The contract of an IdP (docs/contracts/idp.md), checked by `rolemint idp test` against real ones. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import { OAuth2Server } from 'oauth2-mock-server'
import { Compile } from 'typebox/schema'
import { startDemoIdp } from '../../demo/idp.ts'
import type { Check } from '../../src/cli/checks.ts'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { idpCommand } from '../../src/cli/idp.ts'
import { discoveryUrl } from '../../src/subject/key-documents.ts'
import { type Keycloak, keycloak, startKeycloak } from '../fakes/keycloak.ts'
import { ranCommand } from '../fakes/terminal.ts'
import { suiteNeeding } from '../skip.ts'

/** What `idp test --issuer URL --token` says of an IdP. */
async function checked(issuer: string, token: string) {
  const line = ['test', '--issuer', issuer, '--token', '-o', 'json']
  const readStdin = () => Promise.resolve(token)
  const { exit, stdout } = await ranCommand(idpCommand, line, { fetch, readStdin })
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly Check[] }
  return { exit, checks, failed: checks.filter(({ result }) => result === 'fail') }
}

/** The schema of this name, ready to judge. */
function schemaOf(name: string) {
  const file = new URL(`../../docs/contracts/${name}.schema.json`, import.meta.url)
  return Compile(JSON.parse(readFileSync(file, 'utf8')))
}

async function isByTheSchemas(issuer: string): Promise<void> {
  const discovery: unknown = await (await fetch(discoveryUrl(issuer))).json()
  assert.ok(schemaOf('idp-discovery').Check(discovery), 'the discovery document')
  const { jwks_uri: uri } = discovery as { readonly jwks_uri: string }
  assert.ok(schemaOf('idp-jwks').Check(await (await fetch(uri)).json()), 'the key set')
}

test('oidc-provider, as the demo IdP, keeps the contract', async () => {
  const idp = await startDemoIdp()
  try {
    const { exit, failed, checks } = await checked(idp.issuer, await idp.tokenFor('alice'))
    assert.deepEqual(failed, [])
    assert.equal(exit, EXIT.yes)
    assert.ok(checks.some(({ check }) => check === 'token.signature'))
    await isByTheSchemas(idp.issuer)
  } finally {
    await idp.close()
  }
})

test('oauth2-mock-server keeps the contract, and a token of it that lacks sub does not', async () => {
  const server = new OAuth2Server()
  await server.issuer.keys.generate('RS256')
  await server.start(0, '127.0.0.1')
  try {
    const { url = '' } = server.issuer
    const good = await server.issuer.buildToken({
      scopesOrTransform: (_header, payload) => {
        Object.assign(payload, { sub: 'ada', aud: 'rolemint' })
      },
    })
    const { exit, failed } = await checked(url, good)
    assert.deepEqual(failed, [])
    assert.equal(exit, EXIT.yes)
    const bad = await checked(url, await server.issuer.buildToken())
    assert.deepEqual(
      bad.failed.map(({ check }) => check),
      ['token.claims'],
    )
    assert.equal(bad.exit, EXIT.no)
    await isByTheSchemas(url)
  } finally {
    await server.stop()
  }
})

suiteNeeding('the contract of an IdP: Keycloak', keycloak, () => {
  let server: Keycloak
  before(async () => {
    server = await startKeycloak()
  })
  after(() => server.close())

  test('a fresh realm keeps it, its encryption key left out', async () => {
    const { exit, failed, checks } = await checked(server.issuer, await server.token())
    assert.deepEqual(failed, [])
    assert.equal(exit, EXIT.yes)
    assert.ok(checks.some(({ what }) => /left out: use is not sig/.test(what)))
    await isByTheSchemas(server.issuer)
  })

  test('after its keys were rotated, a token of the former key fails at its key', async () => {
    const former = await server.token()
    await server.rotate()
    assert.deepEqual((await checked(server.issuer, await server.token())).failed, [])
    const { failed, exit } = await checked(server.issuer, former)
    assert.deepEqual(
      failed.map(({ check }) => check),
      ['token.key'],
    )
    assert.equal(exit, EXIT.no)
  })
})

suite('the schemas of the contract', () => {
  const discovery = {
    issuer: 'https://login.example',
    jwks_uri: 'https://login.example/jwks',
    id_token_signing_alg_values_supported: ['ES256'],
  }
  const key = { kty: 'EC', crv: 'P-256', kid: 'k1', x: 'AA', y: 'AA', use: 'sig', alg: 'ES256' }

  test('a discovery document needs an issuer and a jwks_uri, and may say more', () => {
    const schema = schemaOf('idp-discovery')
    assert.ok(schema.Check({ ...discovery, more: true }))
    for (const broken of [
      {},
      [],
      { ...discovery, issuer: undefined },
      { ...discovery, issuer: 'login.example' },
      { ...discovery, jwks_uri: 'ftp://login.example' },
      { ...discovery, jwks_uri: ['https://login.example/jwks'] },
      { ...discovery, id_token_signing_alg_values_supported: 'ES256' },
    ])
      assert.ok(!schema.Check(JSON.parse(JSON.stringify(broken))), JSON.stringify(broken))
  })

  test('a key set needs a usable key; others beside it are left out, but nothing secret may be in it', () => {
    const schema = schemaOf('idp-jwks')
    for (const keys of [
      [key],
      [key, { kty: 'AKP', alg: 'ML-DSA-44' }],
      [{ ...key, use: 'enc' }, key],
    ])
      assert.ok(schema.Check({ keys }), JSON.stringify(keys))
    for (const keys of [
      [],
      'k1',
      [{ ...key, kid: undefined }],
      [{ ...key, kid: '' }],
      [{ ...key, use: 'enc' }],
      [key, { ...key, kid: 'k2', d: 'AA' }],
      [key, { kty: 'oct', kid: 'k2', k: 'AA' }],
      Array.from({ length: 101 }, (_, n) => ({ ...key, kid: `k${n}` })),
    ])
      assert.ok(!schema.Check(JSON.parse(JSON.stringify({ keys }))), JSON.stringify(keys))
  })
})
