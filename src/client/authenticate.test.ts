import assert from 'node:assert/strict'
import { test } from 'node:test'
import { base64url, jwksOf, mint, newTestKey, type TestKey } from '../../test/fakes/jwt.ts'
import { aClient, aTenant } from '../../test/fakes/policy.ts'
import { createSystemRandom } from '../lib/id.ts'
import { isRefusal, type Refusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { parseCompactJws } from '../subject/jws.ts'
import type { JsonDocuments } from '../subject/keys.ts'
import { ALGORITHM_NAMES } from '../subject/options.ts'
import { createPublicKeys } from '../subject/public-keys.ts'
import { verifySignature } from '../subject/signature.ts'
import { createClientAuthentication } from './authenticate.ts'
import type { PresentedCredentials } from './credentials.ts'
import { JWT_BEARER } from './methods/private-key-jwt.ts'
import { newClientSecret } from './new-secret.ts'
import type { Client, ClientAuth } from './options.ts'

const NOW = 1_800_000_000
const ISSUER = 'https://sts.example'

/** A tenant with a client of each kind, and everything real but the network. */
function setUp() {
  const key = newTestKey('ES256', 'k1')
  const [first, second] = [1, 2].map(() => newClientSecret(createSystemRandom()))
  assert.ok(first && second)
  const digests = [first, second].map(({ sha256 }) => Buffer.from(sha256, 'base64url'))
  const secret: ClientAuth = { method: 'client_secret', sha256: digests }
  const inline: ClientAuth = {
    method: 'private_key_jwt',
    keys: { kind: 'inline', jwks: jwksOf(key) },
  }
  const remote: ClientAuth = {
    method: 'private_key_jwt',
    keys: { kind: 'jwksUri', uri: 'https://orders.example/jwks' },
  }
  const clients: Client[] = [
    aClient({ id: 'web', auth: secret }),
    aClient({ id: 'web-off', auth: secret, disabled: true }),
    aClient({ id: 'batch', auth: inline }),
    aClient({ id: 'batch-off', auth: inline, disabled: true }),
    aClient({ id: 'remote', auth: remote }),
    aClient({ id: 'spa', auth: { method: 'public' } }),
    aClient({ id: 'spa-off', auth: { method: 'public' }, disabled: true }),
  ]
  const tenant = aTenant({
    issuer: ISSUER,
    clients: new Map(clients.map((client) => [client.id, client])),
  })
  const clock = { seconds: NOW, now: () => clock.seconds * 1000 }
  const fetched: string[] = []
  const documents: JsonDocuments = {
    fetch(url) {
      fetched.push(url)
      return Promise.reject(new Error('unreachable'))
    },
  }
  const verified: string[] = []
  const failed: PresentedCredentials[] = []
  const authenticate = createClientAuthentication(
    {
      failed: (_tenant, credentials) => void failed.push(credentials),
      clock,
      publicKeys: createPublicKeys({ documents, clock }),
      parseAssertion: (token) => parseCompactJws(token, { tokenBytes: 16_384 }),
      verifySignature(...args) {
        verified.push(args[0].alg)
        return verifySignature(...args)
      },
      algorithms: ALGORITHM_NAMES,
      peekPresenter: (token) => JSON.parse(token.reveal()).azp,
    },
    () => ({ skewSeconds: 30 }),
  )
  const ask = (credentials: PresentedCredentials, subjectToken?: Secret) =>
    authenticate(tenant, credentials, subjectToken, new AbortController().signal)
  return { key, first, second, tenant, clock, fetched, verified, failed, ask }
}

/** An assertion that is right but for what the test changes; an undefined claim is left out. */
function assertion(key: TestKey, claims: object = {}, header: object = {}): Secret {
  const payload = {
    iss: 'batch',
    sub: 'batch',
    aud: ISSUER,
    iat: NOW,
    exp: NOW + 60,
    jti: 'id-1',
    ...claims,
  }
  return new Secret(mint({ key, header: { ...header }, payload }))
}

const asserted = (token: Secret): PresentedCredentials => ({
  assertion: token,
  assertionType: JWT_BEARER,
})

const subjectToken = (azp: unknown): Secret => new Secret(JSON.stringify({ azp }))

async function refusalOf(outcome: Promise<unknown>): Promise<Refusal> {
  try {
    await outcome
  } catch (error) {
    if (isRefusal(error)) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'the client was accepted' })
}

/** Asserts the one refusal that all failures share, and that the log gets the reason. */
async function assertNotAuthenticated(outcome: Promise<unknown>, reason?: RegExp): Promise<void> {
  const refusal = await refusalOf(outcome)
  assert.ok(refusal.cause instanceof Error)
  if (reason) assert.match(refusal.cause.message, reason)
  assert.deepEqual(
    [refusal.code, refusal.message, refusal.param, refusal.retryAfterSeconds, refusal.headers],
    [
      'client_auth_failed',
      'Client authentication failed. Check the client id, the method it is registered for and its credential.',
      undefined,
      undefined,
      {},
    ],
  )
}

test('a secret authenticates its client, by Basic and in the body, the old one and the new one', async () => {
  const { ask, first, second } = setUp()
  for (const { secret } of [first, second]) {
    const basic = await ask({ basic: { id: 'web', secret } })
    assert.deepEqual([basic.client.id, basic.method], ['web', 'client_secret_basic'])
    const post = await ask({ clientId: 'web', clientSecret: secret })
    assert.deepEqual([post.client.id, post.method], ['web', 'client_secret_post'])
    assert.deepEqual([basic.claims, post.claims], [[], []])
  }
  assert.equal(
    (await ask({ basic: { id: 'web', secret: first.secret }, clientId: 'web' })).client.id,
    'web',
  )
})

test('a wrong secret, an unknown client, a disabled one and one of another method look alike', async () => {
  const { ask, first, tenant } = setUp()
  const { secret } = first
  const text = secret.reveal()
  const digest = tenant.clients.get('web')?.auth
  assert.ok(digest?.method === 'client_secret')
  const wrong = [
    '',
    'x',
    `${text}x`,
    text.slice(0, -1),
    text.toUpperCase(),
    text.slice('rms_'.length),
    // Whoever reads the configuration has the digest, which must not be as good as the secret.
    digest.sha256[0]?.toString('base64url') ?? '',
  ].map((given) => ({ id: 'web', secret: new Secret(given) }))
  for (const basic of [
    ...wrong,
    ...['nobody', '', 'WEB', 'web ', '__proto__', 'web-off', 'batch', 'spa'].map((id) => ({
      id,
      secret,
    })),
  ]) {
    await assertNotAuthenticated(ask({ basic }))
    await assertNotAuthenticated(ask({ clientId: basic.id, clientSecret: basic.secret }))
  }
  await assertNotAuthenticated(ask({ basic: { id: 'nobody', secret } }), /unknown client/)
  await assertNotAuthenticated(ask({ basic: { id: 'web-off', secret } }), /web-off is disabled/)
  await assertNotAuthenticated(ask({ basic: { id: 'batch', secret } }), /uses private_key_jwt/)
})

test('whoever listens for failures hears of each failed authentication, and of nothing else', async () => {
  const { ask, first, failed } = setUp()
  const wrong = { basic: { id: 'web', secret: new Secret('guess') }, from: '192.0.2.1' }
  await assertNotAuthenticated(ask(wrong))
  await assertNotAuthenticated(ask({ assertion: new Secret('..'), assertionType: JWT_BEARER }))
  await ask({ basic: { id: 'web', secret: first.secret } })
  await refusalOf(ask({ ...wrong, clientSecret: new Secret('two methods') }))
  assert.deepEqual([failed.length, failed[0]], [2, wrong])
})

test("the filler that an unknown client is compared with is nobody's secret", async () => {
  const { ask, tenant } = setUp()
  const none: ClientAuth = { method: 'client_secret', sha256: [] }
  const clients = new Map(tenant.clients).set('bare', aClient({ id: 'bare', auth: none }))
  Object.assign(tenant, { clients })
  await assertNotAuthenticated(
    ask({ basic: { id: 'bare', secret: new Secret('') } }),
    /wrong secret/,
  )
})

test('more than one method in a request is refused, even when each would do (RFC 6749 §2.3)', async () => {
  const { ask, first, key } = setUp()
  const basic = { id: 'web', secret: first.secret }
  const token = assertion(key)
  for (const both of [
    { basic, clientSecret: first.secret },
    { basic, clientId: 'web', clientSecret: first.secret },
    { basic, ...asserted(token) },
    { basic, assertionType: JWT_BEARER },
    { basic, assertion: token },
    { clientId: 'web', clientSecret: first.secret, ...asserted(token) },
    { basic, clientSecret: first.secret, ...asserted(token) },
    { basic, clientId: 'batch' },
    { basic, clientId: '' },
    { clientSecret: first.secret },
    { assertion: token },
    { assertionType: JWT_BEARER, clientId: 'batch' },
  ]) {
    const refusal = await refusalOf(ask(both, subjectToken('spa')))
    assert.equal(refusal.code, 'malformed_request', Object.keys(both).join())
    assert.match(refusal.message, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  }
})

test('an assertion authenticates its client, and its jti is to be used up until it can no longer be valid', async () => {
  const { ask, key, tenant } = setUp()
  const { client, method, claims } = await ask({ ...asserted(assertion(key)), clientId: 'batch' })
  assert.deepEqual([client.id, method], ['batch', 'private_key_jwt'])
  assert.deepEqual(claims, [
    {
      kind: 'once',
      scope: 'assertion',
      tenant: tenant.name,
      key: 'batch|id-1',
      expiresAt: (NOW + 60 + 30) * 1000,
    },
  ])
  const fraction = await ask(asserted(assertion(key, { exp: NOW + 59.9995 })))
  assert.deepEqual(
    fraction.claims.map((claim) => claim.kind === 'once' && claim.expiresAt),
    [(NOW + 90) * 1000],
  )
})

test('a type, an nbf and the limits of the times that are right are accepted', async () => {
  const { ask, key } = setUp()
  const accepted: readonly [claims: object, header?: object][] = [
    [{}, { typ: 'JWT' }],
    [{}, { typ: 'client-authentication+jwt' }],
    [{}, { typ: 'application/client-authentication+jwt' }],
    [{ nbf: NOW + 30 }],
    [{ iat: NOW + 30, exp: NOW + 330 }],
    [{ iat: NOW - 328, exp: NOW - 29 }],
    [{ jti: 'x'.repeat(128) }],
    [{ jti: 'ä 💥 |' }],
  ]
  for (const [claims, header] of accepted)
    assert.equal((await ask(asserted(assertion(key, claims, header)))).client.id, 'batch')
})

const WRONG_CLAIMS: readonly [attack: string, claims: object, header?: object][] = [
  ['without iss', { iss: undefined }],
  ['without sub', { sub: undefined }],
  ['without iss and sub', { iss: undefined, sub: undefined }],
  ['whose iss is not its sub', { iss: 'remote' }],
  ['whose sub is not its iss', { sub: 'remote' }],
  ['whose iss and sub are a list', { iss: ['batch'], sub: ['batch'] }],
  ['without aud', { aud: undefined }],
  ['whose aud is the token endpoint', { aud: `${ISSUER}/token` }],
  ['whose aud is our issuer in a list', { aud: [ISSUER] }],
  ['whose aud is our issuer and another server', { aud: [ISSUER, 'https://other.example'] }],
  ['whose aud is another server', { aud: 'https://other.example' }],
  ['whose aud is our issuer with a slash', { aud: `${ISSUER}/` }],
  ['whose aud is our issuer in capitals', { aud: ISSUER.toUpperCase() }],
  ['without exp (CVE-2026-53431)', { exp: undefined }],
  ['that has expired', { iat: NOW - 100, exp: NOW - 30 }],
  ['whose exp is a text', { exp: String(NOW + 60) }],
  ['without iat', { iat: undefined }],
  ['whose iat is in the future', { iat: NOW + 31, exp: NOW + 90 }],
  ['that lives 301 s', { exp: NOW + 301 }],
  ['that lives a year', { exp: NOW + 365 * 86_400 }],
  ['that was made 300 s before a far exp', { iat: NOW - 300, exp: NOW + 1 }],
  ['that expires before it was made', { iat: NOW + 20, exp: NOW + 10 }],
  ['that is not valid yet', { nbf: NOW + 31 }],
  ['whose nbf is a text', { nbf: String(NOW) }],
  ['without jti', { jti: undefined }],
  ['whose jti is empty', { jti: '' }],
  ['whose jti is too long', { jti: 'x'.repeat(129) }],
  ['whose jti is a number', { jti: 1 }],
  ['whose jti holds a NUL, which no database stores alike', { jti: 'a\0b' }],
  ['whose jti holds a lone surrogate', { jti: 'a\ud800' }],
  ['that is an access token', {}, { typ: 'at+jwt' }],
  ['that is a logout token', {}, { typ: 'logout+jwt' }],
  ['whose typ is empty', {}, { typ: '' }],
  ['that names a key nobody has', {}, { kid: 'k2' }],
  ['that names no key', {}, { kid: undefined }],
  ['that brings its own key set', {}, { jku: 'https://evil.example/jwks' }],
  ['with a critical extension', {}, { crit: ['exp'] }],
]

for (const [attack, claims, header] of WRONG_CLAIMS) {
  test(`an assertion ${attack} is refused`, async () => {
    const { ask, key } = setUp()
    await assertNotAuthenticated(ask(asserted(assertion(key, claims, header))))
  })
}

test('an infinite exp and iat are no dates', async () => {
  const { ask, key } = setUp()
  const rawPayload = `{"iss":"batch","sub":"batch","aud":"${ISSUER}","jti":"a","iat":${NOW},"exp":1e999}`
  await assertNotAuthenticated(ask(asserted(new Secret(mint({ key, rawPayload })))))
})

test('an assertion signed by another key, or changed after it was signed, is refused', async () => {
  const { ask, key } = setUp()
  const thief = newTestKey('ES256', 'k1')
  await assertNotAuthenticated(ask(asserted(assertion(thief))), /signature/)
  const [header, , signature] = assertion(key).reveal().split('.')
  const payload = base64url(
    JSON.stringify({ iss: 'batch', sub: 'batch', aud: ISSUER, iat: NOW, exp: NOW + 61, jti: 'b' }),
  )
  await assertNotAuthenticated(
    ask(asserted(new Secret(`${header}.${payload}.${signature}`))),
    /signature/,
  )
})

test('an HS256 assertion keyed with the public key, and one without signature, are refused', async () => {
  const { ask, key } = setUp()
  for (const alg of ['HS256', 'none', 'ES384', 'RS256'])
    await assertNotAuthenticated(ask(asserted(assertion(key, {}, { alg }))))
  const unsigned = assertion(key, {}, { alg: 'none' })
    .reveal()
    .replace(/[^.]+$/, '')
  await assertNotAuthenticated(ask(asserted(new Secret(unsigned))))
})

test('an assertion of another type, or with another client_id, is refused', async () => {
  const { ask, key } = setUp()
  for (const assertionType of [
    '',
    JWT_BEARER.toUpperCase(),
    'urn:ietf:params:oauth:client-assertion-type:saml2-bearer',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
  ])
    await assertNotAuthenticated(ask({ assertion: assertion(key), assertionType }), /type/)
  for (const clientId of ['web', 'nobody', '', 'Batch'])
    await assertNotAuthenticated(ask({ ...asserted(assertion(key)), clientId }), /client_id/)
})

test('an assertion of a client that is unknown, disabled or uses another method costs a signature and fetches nothing', async () => {
  const { ask, key, verified, fetched } = setUp()
  for (const [i, id] of ['nobody', 'batch-off', 'web', 'spa', '__proto__'].entries()) {
    await assertNotAuthenticated(ask(asserted(assertion(key, { iss: id, sub: id }))))
    assert.equal(verified.length, i + 1, id)
  }
  assert.deepEqual(fetched, [])
})

test('an assertion that is wrong in itself makes no key set be fetched', async () => {
  const { ask, key, fetched } = setUp()
  const remote = { iss: 'remote', sub: 'remote' }
  for (const claims of [{ aud: 'https://other.example' }, { exp: NOW - 31 }, { jti: '' }])
    await assertNotAuthenticated(ask(asserted(assertion(key, { ...remote, ...claims }))))
  assert.deepEqual(fetched, [])
})

test('a client whose keys cannot be fetched is told to come back, not that its credential is wrong, and no failure is counted', async () => {
  const { ask, key, fetched, failed } = setUp()
  const outcome = ask(asserted(assertion(key, { iss: 'remote', sub: 'remote' })))
  assert.equal((await refusalOf(outcome)).code, 'idp_keys_unavailable')
  assert.deepEqual(fetched, ['https://orders.example/jwks'])
  assert.deepEqual(failed, [])
})

test('a public client is named by the presenter of the subject token', async () => {
  const { ask } = setUp()
  for (const credentials of [{}, { clientId: 'spa' }]) {
    const { client, method, claims } = await ask(credentials, subjectToken('spa'))
    assert.deepEqual([client.id, method, claims], ['spa', 'public', []])
  }
})

test('without a credential nobody becomes a client that has one, nor a public client by client_id alone', async () => {
  const { ask } = setUp()
  await assertNotAuthenticated(ask({}), /no subject token/)
  await assertNotAuthenticated(ask({ clientId: 'spa' }), /no subject token/)
  await assertNotAuthenticated(ask({ clientId: 'web' }), /no subject token/)
  for (const azp of [undefined, 'nobody', 'web', 'batch', 'spa-off', '__proto__'])
    await assertNotAuthenticated(ask({}, subjectToken(azp)))
  for (const clientId of ['web', 'batch', '', 'SPA'])
    await assertNotAuthenticated(ask({ clientId }, subjectToken('spa')), /presenter/)
  await assertNotAuthenticated(ask({ clientId: 'web' }, subjectToken('web')), /no credential/)
})

test('neither the refusal nor its reason shows a secret, an assertion or an id that was made up', async () => {
  const { ask, key } = setUp()
  const token = assertion(key, { iss: 'made-up', sub: 'made-up' })
  for (const outcome of [
    ask({ basic: { id: 'made-up', secret: new Secret('hunter2') } }),
    ask(asserted(token)),
    ask(asserted(new Secret('hunter2.hunter2.hunter2'))),
    ask({}, subjectToken('made-up')),
  ]) {
    const refusal = await refusalOf(outcome)
    for (let error: unknown = refusal; error instanceof Error; error = error.cause)
      assert.doesNotMatch(error.message, /hunter2|made-up|eyJ/)
  }
})

test('a bug met on the way is a bug, not a failed authentication', async () => {
  const { tenant } = setUp()
  const authenticate = createClientAuthentication(
    {
      clock: { now: () => NOW * 1000 },
      publicKeys: {
        keyFor: () => Promise.reject(new TypeError('a bug')),
        replacementFor: () => Promise.resolve(undefined),
      },
      parseAssertion: (token) => parseCompactJws(token, { tokenBytes: 16_384 }),
      verifySignature,
      algorithms: ALGORITHM_NAMES,
      peekPresenter: () => undefined,
    },
    () => ({ skewSeconds: 30 }),
  )
  const token = assertion(newTestKey('ES256', 'k1'))
  const outcome = authenticate(tenant, asserted(token), undefined, new AbortController().signal)
  await assert.rejects(outcome, TypeError)
})
