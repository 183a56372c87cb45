import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jwksOf, mint, newTestKey } from '../../test/fakes/jwt.ts'
import { ranCommand } from '../../test/fakes/terminal.ts'
import type { Check } from './checks.ts'
import { EXIT } from './exit-codes.ts'
import { idpCommand } from './idp.ts'
import type { Terminal } from './terminal.ts'

const ISSUER = 'https://login.example'
const JSON_TYPE = { 'content-type': 'application/json', 'cache-control': 'max-age=300' }

interface Page {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Runs the command against pages by URL; a URL that has none is unreachable. */
async function run(
  pages: Readonly<Record<string, Page | (() => Page)>>,
  args: readonly string[] = ['--issuer', ISSUER],
  stdin = '',
) {
  const fetch: Terminal['fetch'] = (input) => {
    const page = typeof input === 'string' ? pages[input] : undefined
    if (page === undefined)
      return Promise.reject(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') }))
    const { status = 200, headers = {}, body = '' } = typeof page === 'function' ? page() : page
    const date = { date: new Date().toUTCString() }
    return Promise.resolve(
      new Response(body, { status, headers: { ...JSON_TYPE, ...date, ...headers } }),
    )
  }
  const { exit, stdout } = await ranCommand(idpCommand, ['test', ...args, '-o', 'json'], {
    fetch,
    readStdin: () => Promise.resolve(stdin),
  })
  if (stdout === '') return { exit, checks: [], failed: [], warned: [] }
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly Check[] }
  const named = (result: Check['result']) =>
    checks.filter((check) => check.result === result).map(({ check }) => check)
  return { exit, checks, failed: named('fail'), warned: named('warn') }
}

const METADATA = `${ISSUER}/.well-known/openid-configuration`
const KEYS = `${ISSUER}/jwks`

function goodPages(jwks: unknown, metadata: Readonly<Record<string, unknown>> = {}) {
  const discovery = {
    issuer: ISSUER,
    jwks_uri: KEYS,
    id_token_signing_alg_values_supported: ['ES256'],
    ...metadata,
  }
  return {
    [METADATA]: { body: JSON.stringify(discovery) },
    [KEYS]: { body: JSON.stringify(jwks) },
  }
}

test('an IdP that keeps the contract passes without a warning', async () => {
  const { exit, failed, warned } = await run(goodPages(jwksOf(newTestKey('ES256', 'k1'))))
  assert.deepEqual({ exit, failed, warned }, { exit: EXIT.yes, failed: [], warned: [] })
})

test('each breach is told by its check, with exit code 5', async () => {
  const key = newTestKey('ES256', 'k1')
  const jwks = jwksOf(key)
  const good = goodPages(jwks)
  const { alg: _alg, ...unpinned } = key.publicJwk
  const exposed = { ...newTestKey('ES256', 'k2').publicJwk, d: 'AA' }
  for (const [pages, failed, warned] of [
    [goodPages(jwks, { issuer: `${ISSUER}/` }), ['discovery'], []],
    [goodPages(jwks, { jwks_uri: 'http://login.example/jwks' }), ['discovery'], []],
    [
      goodPages(jwks, { id_token_signing_alg_values_supported: ['HS256'] }),
      [],
      ['discovery.algorithms'],
    ],
    [goodPages({ keys: [] }), ['jwks'], []],
    [goodPages({ keys: [unpinned] }), [], ['jwks.keys']],
    [goodPages({ keys: [key.publicJwk, exposed] }), ['jwks.keys[1]'], []],
    [{ ...good, [METADATA]: { status: 302 } }, ['discovery'], []],
    [{ ...good, [KEYS]: { status: 404 } }, ['jwks'], []],
    [
      { ...good, [KEYS]: { headers: { 'content-type': 'text/html' }, body: '<html>' } },
      ['jwks'],
      [],
    ],
    [{ ...good, [KEYS]: { headers: { 'content-encoding': 'zstd' }, body: '{}' } }, ['jwks'], []],
    [{ ...good, [KEYS]: { body: `{"keys":[],"keys":[]}` } }, ['jwks'], []],
    [{ ...good, [KEYS]: { body: ' '.repeat(513 * 1024) } }, ['jwks'], []],
    [
      { ...good, [METADATA]: { ...good[METADATA], headers: { 'cache-control': 'no-store' } } },
      [],
      ['discovery.caching'],
    ],
    [{ ...good, [METADATA]: { ...good[METADATA], headers: { date: 'soon' } } }, [], ['clock']],
    [
      {
        ...good,
        [METADATA]: {
          ...good[METADATA],
          headers: { date: new Date(Date.now() + 60_000).toUTCString() },
        },
      },
      ['clock'],
      [],
    ],
  ] as const) {
    const seen = await run(pages)
    assert.deepEqual({ failed: seen.failed, warned: seen.warned }, { failed, warned })
    assert.equal(seen.exit, failed.length > 0 ? EXIT.no : EXIT.yes)
  }
})

test('replicas that publish different sets are noticed', async () => {
  let answers = 0
  const key = newTestKey('ES256', 'k1')
  const other = newTestKey('ES256', 'k2')
  const good = goodPages(jwksOf(key))
  const turns = () => ({ body: JSON.stringify(jwksOf(...(answers++ % 2 === 0 ? [key] : [other]))) })
  assert.deepEqual((await run({ ...good, [KEYS]: turns })).warned, ['jwks.stable'])
})

test('an IdP that does not answer is unreachable, which is exit code 6', async () => {
  assert.equal((await run({})).exit, EXIT.unreachable)
})

test('plain http is refused but on loopback', async () => {
  assert.deepEqual((await run({}, ['--issuer', 'http://login.example'])).failed, [
    'discovery.address',
  ])
})

test('a token is checked step by step, and the first failing step is the last', async () => {
  const key = newTestKey('ES256', 'k1')
  const pages = goodPages(jwksOf(key))
  const now = Math.floor(Date.now() / 1000)
  const claims = { iss: ISSUER, sub: 'u1', aud: 'rolemint', iat: now, exp: now + 300 }
  const args = ['--issuer', ISSUER, '--token']
  const good = await run(pages, args, mint({ key, payload: claims }))
  assert.deepEqual(good.failed, [])
  assert.ok(good.checks.some(({ check }) => check === 'token.user'))
  for (const [token, failed] of [
    ['eyJhbGciOiJub25lIn0.e30.c2lnbmF0dXJl', 'token.form'],
    ['bm90.YQ.dG9rZW4', 'token.form'],
    [mint({ key, payload: { ...claims, iss: `${ISSUER}/` } }), 'token.issuer'],
    [mint({ key, header: { kid: undefined }, payload: claims }), 'token.key'],
    [mint({ key, header: { kid: 'k2' }, payload: claims }), 'token.key'],
    [mint({ key: newTestKey('ES256', 'k1'), payload: claims }), 'token.signature'],
    [mint({ key, header: { typ: 'logout+jwt' }, payload: claims }), 'token.type'],
    [mint({ key, payload: { ...claims, exp: now - 60 } }), 'token.claims'],
    [mint({ key, payload: { ...claims, sub: undefined } }), 'token.claims'],
  ] as const) {
    const seen = await run(pages, args, token)
    assert.deepEqual(seen.failed, [failed])
    assert.equal(seen.exit, EXIT.no)
    assert.ok(!JSON.stringify(seen.checks).includes(token.split('.')[2] ?? token))
  }
})

test('a token as an argument is refused: other users of the machine could read it', async () => {
  const token = mint({ key: newTestKey('ES256', 'k1'), payload: {} })
  assert.equal((await run({}, ['--issuer', ISSUER, '--token', token])).exit, EXIT.usage)
})
