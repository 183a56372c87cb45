import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { type DemoIdp, startDemoIdp } from './idp.ts'

async function withIdp(use: (idp: DemoIdp) => Promise<void>): Promise<void> {
  const idp = await startDemoIdp()
  try {
    await use(idp)
  } finally {
    await idp.close()
  }
}

const keysOf = (idp: DemoIdp) => createRemoteJWKSet(new URL(`${idp.issuer}/jwks`))

test('a login by CIBA gives an access token for rolemint that names the user by upn', () =>
  withIdp(async (idp) => {
    const token = await idp.tokenFor('alice')
    const { payload, protectedHeader } = await jwtVerify(token, keysOf(idp), {
      issuer: idp.issuer,
      audience: 'rolemint',
      typ: 'at+jwt',
      algorithms: ['ES256'],
    })
    assert.equal(payload.sub, 'alice')
    assert.equal(payload['upn'], 'alice@demo.example')
    assert.equal(payload['email'], 'alice@demo.example')
    assert.equal(payload['client_id'], 'orders-web')
    assert.equal(typeof payload['auth_time'], 'number')
    assert.equal((payload.exp ?? 0) - (payload.iat ?? 0), 3600)
    assert.match(String(protectedHeader.kid), /^demo-es256-/)
  }))

test('the ID token of the same login is for the client and carries upn', () =>
  withIdp(async (idp) => {
    const { payload } = await jwtVerify(await idp.idTokenFor('bob'), keysOf(idp), {
      issuer: idp.issuer,
      audience: 'orders-web',
    })
    assert.equal(payload['upn'], 'bob@demo.example')
  }))

test('a token signed with RS256 can be asked for', () =>
  withIdp(async (idp) => {
    const token = await idp.tokenFor('alice', 'RS256')
    await jwtVerify(token, keysOf(idp), { algorithms: ['RS256'], audience: 'rolemint' })
  }))

test('somebody the IdP does not know gets no token, and neither does a client with a wrong secret', () =>
  withIdp(async (idp) => {
    await assert.rejects(idp.tokenFor('mallory'), /unknown_user_id/)
    const body = new URLSearchParams({ scope: 'openid', login_hint: 'alice' })
    const authorization = `Basic ${Buffer.from('orders-web:wrong').toString('base64')}`
    const answer = await fetch(`${idp.issuer}/backchannel`, {
      method: 'POST',
      headers: { authorization },
      body,
    })
    assert.equal(answer.status, 401)
  }))

test('a minted token carries the claims it was asked to carry, those of the provider included', () =>
  withIdp(async (idp) => {
    const token = await idp.mint('alice', {
      exp: 1,
      aud: 'elsewhere',
      act: { sub: 'x' },
      upn: null,
    })
    const { payload } = await jwtVerify(token, keysOf(idp), { currentDate: new Date(0) })
    assert.equal(payload.exp, 1)
    assert.equal(payload.aud, 'elsewhere')
    assert.deepEqual(payload['act'], { sub: 'x' })
    assert.equal('upn' in payload, false)
  }))

test('after a rotation new tokens have new keys and old tokens still verify, unless the old keys were forgotten', () =>
  withIdp(async (idp) => {
    const before = await idp.tokenFor('alice')
    await idp.rotateKeys()
    const after = await idp.tokenFor('alice')
    assert.notEqual(decodeProtectedHeader(before).kid, decodeProtectedHeader(after).kid)
    await jwtVerify(before, keysOf(idp))
    await jwtVerify(after, keysOf(idp))

    await idp.rotateKeys({ forget: true })
    await assert.rejects(jwtVerify(after, keysOf(idp)), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  }))

test('the demo IdP prints nothing of its own accord', async (t) => {
  const prints = (['info', 'warn', 'log', 'error'] as const).map((name) =>
    t.mock.method(console, name, () => undefined),
  )
  await withIdp(async (idp) => {
    await idp.tokenFor('alice')
    await idp.idTokenFor('alice')
    await idp.mint('bob', {})
    await assert.rejects(idp.tokenFor('mallory'))
    await fetch(`${idp.issuer}/auth?client_id=orders-web&response_type=code`)
  })
  assert.deepEqual(
    prints.flatMap(({ mock }) => mock.calls.map((call) => call.arguments)),
    [],
  )
})
