/**
 * The checklist of the OAuth and JOSE documents around RFC 8693, over HTTP; each test carries document and line.
 *
 * Lines that are not about what goes over the wire have their tests beside the code: RFC 7515-1, -2 and 7519-5 in
 * `src/subject/jws.test.ts`; 7517-3 (inbound) and 7518-3 in `src/subject/key-gate.test.ts`; 7518-4 in
 * `src/subject/signature.test.ts`; all of them and RFC 8725 at every door in `test/security/corpus.test.ts`. RFC 7662-3 and -2 for
 * tokens of every kind are in `test/e2e/introspection.test.ts`. RFC 7009, 8705, 9449, 9701, 9728, status lists and SSF come with
 * later orders.
 */
import assert from 'node:assert/strict'
import { createPublicKey, randomUUID, verify } from 'node:crypto'
import { after, before, suite, test } from 'node:test'
import type { AlgorithmName } from '../../src/subject/options.ts'
import { jwksOf, type Minted, mint, newTestKey, type TestKey } from '../fakes/jwt.ts'
import {
  type Answer,
  API,
  ask,
  at,
  CLIENT,
  EXCHANGE,
  encode,
  IDP_ISSUER,
  ISSUER,
  JWT_TYPE,
  type Sts,
  startSts,
} from '../fakes/sts.ts'

type Form = Readonly<Record<string, string | readonly string[]>>

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const OTHER_API = 'https://other.acme.example'
/** A client id that needs form-encoding before base64. */
const ODD_CLIENT = 'https://client.example/a+b?c=%25'
const ASSERTER = 'orders-jwt'
/** Every algorithm an assertion may have, with a key of its own. */
const ALGORITHMS: readonly AlgorithmName[] = [
  'ES256',
  'ES384',
  'ES512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
  'Ed25519',
]

function refused(answer: Answer, error: string, code: string, status = 400): void {
  assert.deepEqual(
    [answer.status, answer.body['error'], answer.body['error_code']],
    [status, error, code],
    answer.text,
  )
}

function failed(answer: Answer): void {
  refused(answer, 'invalid_client', 'client_auth_failed', 401)
}

function basic(id: string, secret: string): string {
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`
}

/** Header and payload of a token. */
function read(token: unknown): readonly Record<string, unknown>[] {
  return String(token)
    .split('.')
    .slice(0, 2)
    .map(
      (part) =>
        JSON.parse(Buffer.from(part, 'base64url').toString()) as Readonly<Record<string, unknown>>,
    )
}

/** A deployment with clients of each method, and what its tests need to talk to it. */
async function startWorld() {
  const keys = new Map(ALGORITHMS.map((alg) => [alg, newTestKey(alg, `client-${alg}`)]))
  const edKey = newTestKey('EdDSA', 'idp-ed')
  const key = keys.get('ES256') as TestKey
  const sts = await startSts({
    configure(config) {
      const clients = at(config, 'tenants.acme.clients')
      const web = at(clients, CLIENT)
      const login = at(config, 'tenants.acme.idps.login')
      Object.assign(login, {
        algorithms: ['ES256', 'EdDSA'],
        jwks: { keys: [...(at(login, 'jwks')['keys'] as object[]), edKey.publicJwk] },
      })
      clients[ODD_CLIENT] = { ...web }
      clients[ASSERTER] = { ...web, auth: { privateKeyJwt: { jwks: jwksOf(...keys.values()) } } }
      clients['bystander'] = { ...web, resourceFor: [OTHER_API] }
    },
  })
  const form = (over: Form = {}): Form => ({
    grant_type: EXCHANGE,
    subject_token: sts.subjectToken(),
    subject_token_type: JWT_TYPE,
    ...over,
  })
  const post = (
    path: string,
    parameters: Form,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> =>
    ask(`${sts.url}${path}`, { method: 'POST', headers, body: encode(parameters) })
  const assertion = (
    over: Readonly<Record<string, unknown>> = {},
    minted: Partial<Minted> = {},
  ) => {
    const now = Math.floor(Date.now() / 1000)
    const payload = {
      iss: ASSERTER,
      sub: ASSERTER,
      aud: ISSUER,
      iat: now,
      exp: now + 60,
      jti: randomUUID(),
      ...over,
    }
    return mint({ key, payload, ...minted })
  }
  /** POST /token with this assertion and no other credential. */
  const assert10070 = (given: string, over: Form = {}): Promise<Answer> =>
    post('/token', form({ client_assertion_type: JWT_BEARER, client_assertion: given, ...over }))
  return { sts, keys, edKey, form, post, assertion, present: assert10070 }
}

suite('OAuth over HTTP', () => {
  let world: Awaited<ReturnType<typeof startWorld>>
  let sts: Sts
  before(async () => {
    world = await startWorld()
    sts = world.sts
  })
  after(() => sts.close())

  const audOf = async (over: Form) =>
    read((await sts.token(world.form(over))).body['access_token'])[1]?.['aud']
  const withResource = (resource: string) => sts.token(world.form({ resource }))
  /** An address of ours as the metadata names it, where it really is. */
  const local = (url: unknown): string => String(url).replace(ISSUER, sts.url)
  /** A bad token, by somebody who would like the error in this form. */
  const badToken = (accept?: string) =>
    world.post('/token', world.form({ subject_token: 'a.b.c' }), {
      authorization: basic(CLIENT, sts.clientSecret),
      ...(accept === undefined ? {} : { accept }),
    })

  suite('RFC 6749 and 6750', () => {
    test('STD-6749-1 the token endpoint takes POST alone, and forms alone (§3.2)', async () => {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS']) {
        const answer = await ask(`${sts.url}/token`, { method })
        assert.equal(answer.status, 405, method)
        assert.equal(answer.headers.get('allow'), 'POST')
      }
      const json = {
        authorization: basic(CLIENT, sts.clientSecret),
        'content-type': 'application/json',
      }
      refused(
        await ask(`${sts.url}/token`, { method: 'POST', headers: json, body: '{}' }),
        'invalid_request',
        'unsupported_media_type',
      )
      // 415 is for the API that is ours to shape.
      const text = { ...json, 'content-type': 'text/plain' }
      const other = { method: 'POST', headers: text, body: '{}' }
      assert.equal((await ask(`${sts.url}/v1/token/exchange`, other)).status, 415)
      const charset = { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' }
      const answer = await world.post('/token', world.form(), {
        ...charset,
        authorization: basic(CLIENT, sts.clientSecret),
      })
      assert.equal(answer.status, 200, answer.text)
    })

    test('STD-6749-2 one way of authentication in a request (§2.3)', async () => {
      const header = { authorization: basic(CLIENT, sts.clientSecret) }
      const body = { client_id: CLIENT, client_secret: sts.clientSecret }
      const asserted = { client_assertion_type: JWT_BEARER, client_assertion: world.assertion() }
      assert.equal((await world.post('/token', world.form(), header)).status, 200)
      assert.equal((await world.post('/token', world.form(body))).status, 200)
      // Naming the same client again is no second method.
      assert.equal(
        (await world.post('/token', world.form({ client_id: CLIENT }), header)).status,
        200,
      )
      for (const [over, headers] of [
        [body, header],
        [asserted, header],
        [{ ...body, ...asserted }, {}],
        [{ client_id: 'somebody-else' }, header],
        [{ client_secret: sts.clientSecret }, {}],
        [{ client_assertion: world.assertion() }, {}],
        [{ client_assertion_type: JWT_BEARER }, {}],
      ] as const)
        refused(
          await world.post('/token', world.form(over), headers),
          'invalid_request',
          'malformed_request',
        )
    })

    test('STD-6749-2 both halves of Basic are form-encoded before base64 (§2.3.1)', async () => {
      const encoded = encodeURIComponent(ODD_CLIENT)
      for (const id of [encoded, encoded.replaceAll('%2F', '/').replaceAll('%3A', '%3a')]) {
        const answer = await world.post('/token', world.form(), {
          authorization: basic(id, encodeURIComponent(sts.clientSecret)),
        })
        assert.equal(answer.status, 200, answer.text)
      }
      // Unencoded, the id ends at its first colon and its plus is a space.
      for (const id of [ODD_CLIENT, encoded.replace('%2B', '+'), `${encoded}%`, `${encoded}%ff`])
        refused(
          await world.post('/token', world.form(), { authorization: basic(id, sts.clientSecret) }),
          'invalid_client',
          'client_auth_failed',
          401,
        )
    })

    test('STD-6749-3 answers are JSON that nobody stores (§5.1)', async () => {
      const good = await sts.token(world.form())
      const bad = await sts.token(world.form({ subject_token: 'a.b.c' }))
      for (const { headers } of [good, bad]) {
        assert.equal(headers.get('content-type'), 'application/json')
        assert.equal(headers.get('cache-control'), 'no-store')
        assert.equal(headers.get('pragma'), 'no-cache')
      }
    })

    test('STD-6749-3 400 unless the client did not authenticate: then 401, and the scheme that was used (§5.2)', async () => {
      const wrong = `rms_${'x'.repeat(43)}`
      const byHeader = await world.post('/token', world.form(), {
        authorization: basic(CLIENT, wrong),
      })
      refused(byHeader, 'invalid_client', 'client_auth_failed', 401)
      assert.match(byHeader.headers.get('www-authenticate') ?? '', /^Basic realm="/)
      const anonymous = await world.post('/token', world.form())
      refused(anonymous, 'invalid_client', 'client_auth_failed', 401)
      assert.match(anonymous.headers.get('www-authenticate') ?? '', /^Basic realm="/)
      const inBody = { client_id: CLIENT, client_secret: wrong }
      const byBody = await world.post('/token', world.form(inBody))
      refused(byBody, 'invalid_client', 'client_auth_failed', 401)
      assert.equal(byBody.headers.get('www-authenticate'), null)
      refused(
        await world.post('/token', world.form(), { authorization: 'Digest x' }),
        'invalid_client',
        'client_auth_failed',
        401,
      )
      const unknown = await world.post('/token', world.form(), {
        authorization: basic('nobody', wrong),
      })
      // Whether the client exists is nobody's business.
      assert.equal(unknown.body['error_description'], byHeader.body['error_description'])
    })

    test('STD-6749-4 the codes of §5.2, and descriptions of the characters it allows', async () => {
      const grant = (name: string) => sts.token(world.form({ grant_type: name }))
      const answers: readonly (readonly [Answer, string, string])[] = [
        [await sts.token(world.form({ subject_token: 'x' })), 'invalid_request', 'malformed_token'],
        [await grant('password'), 'unsupported_grant_type', 'unsupported_grant'],
        [await grant('client_credentials'), 'unsupported_grant_type', 'unsupported_grant'],
        [await sts.token(world.form({ scope: 'root' })), 'invalid_scope', 'scope_not_allowed'],
        [
          await sts.token(world.form({ 'weird"\\\n': ['a', 'b'] })),
          'invalid_request',
          'malformed_request',
        ],
        [
          await sts.token(world.form({ subject_token: 'é"\\\u0000😀' })),
          'invalid_request',
          'malformed_token',
        ],
        [await sts.token(world.form({ scope: '"\\' })), 'invalid_request', 'malformed_request'],
        [await sts.token(world.form({ audience: '"\\é' })), 'invalid_target', 'target_not_allowed'],
      ]
      for (const [answer, error, code] of answers) {
        refused(answer, error, code)
        assert.match(String(answer.body['error_description']), /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
        assert.equal(answer.body['error_uri'], undefined)
      }
    })

    test('STD-6750-5 a bearer challenge names an error only where a token was sent (§3)', async () => {
      const url = `${sts.adminUrl}/admin/v1/status`
      const none = await ask(url)
      assert.equal(none.status, 401)
      assert.equal(none.headers.get('www-authenticate'), 'Bearer realm="rolemint-admin"')
      const wrong = await ask(url, { headers: { authorization: 'Bearer rma_wrong' } })
      assert.equal(wrong.status, 401)
      assert.match(wrong.headers.get('www-authenticate') ?? '', /error="invalid_token"/)
    })

    test('STD-6750-5 a token in the query is never taken (§2.3)', async () => {
      const token = sts.subjectToken()
      for (const path of ['/token', '/introspect', '/v1/token/exchange']) {
        const answer = await ask(`${sts.url}${path}?access_token=${token}&subject_token=${token}`, {
          method: 'POST',
          headers: {
            authorization: basic(CLIENT, sts.clientSecret),
            'content-type': path.startsWith('/v1')
              ? 'application/json'
              : 'application/x-www-form-urlencoded',
          },
          body: path.startsWith('/v1')
            ? '{}'
            : encode({ grant_type: EXCHANGE, subject_token_type: JWT_TYPE }),
        })
        refused(answer, 'invalid_request', 'malformed_request')
      }
      const admin = await ask(`${sts.adminUrl}/admin/v1/status?access_token=rma_x`)
      assert.equal(admin.status, 401)
    })
  })

  suite('RFC 7517 to 7519, 8037, 9111', () => {
    test('STD-7517-3 our key set has its media type and no private member', async () => {
      for (const path of ['/jwks', '/.well-known/jwks.json']) {
        const { headers, body } = await ask(`${sts.url}${path}`)
        assert.equal(headers.get('content-type'), 'application/jwk-set+json')
        const published = body['keys'] as Readonly<Record<string, unknown>>[]
        assert.ok(published.length >= 1)
        for (const key of published) {
          for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'])
            assert.ok(!(member in key), member)
          assert.equal(key['use'], 'sig')
          assert.equal(typeof key['alg'], 'string')
        }
        assert.equal(new Set(published.map(({ kid }) => kid)).size, published.length)
      }
    })

    test('STD-9111-1 the key set may be kept, has an entity tag and answers 304 (RFC 9110 §13)', async () => {
      const first = await ask(`${sts.url}/jwks`)
      assert.match(
        first.headers.get('cache-control') ?? '',
        /public, max-age=300, stale-if-error=\d+/,
      )
      const tag = first.headers.get('etag') ?? assert.fail('no etag')
      assert.match(tag, /^"/)
      for (const value of [tag, `W/${tag}`, `"x", ${tag}`, '*']) {
        const again = await ask(`${sts.url}/jwks`, { headers: { 'if-none-match': value } })
        assert.deepEqual([again.status, again.text], [304, ''], value)
        assert.equal(again.headers.get('etag'), tag)
      }
      const changed = await ask(`${sts.url}/jwks`, { headers: { 'if-none-match': '"x"' } })
      assert.equal(changed.status, 200)
      const head = await ask(`${sts.url}/jwks`, { method: 'HEAD' })
      assert.deepEqual([head.status, head.text, head.headers.get('etag')], [200, '', tag])
    })

    test('STD-7518-4 our signature is R and S of fixed length, by a published key', async () => {
      const { keys } = (await ask(`${sts.url}/jwks`)).body as { keys: Record<string, string>[] }
      for (let round = 0; round < 20; round++) {
        const token = await sts.exchange()
        const end = token.lastIndexOf('.')
        const signature = Buffer.from(token.slice(end + 1), 'base64url')
        assert.equal(signature.length, 64)
        const jwk = keys.find(({ kid }) => kid === read(token)[0]?.['kid'])
        assert.ok(jwk)
        const key = createPublicKey({ key: jwk, format: 'jwk' })
        const input = Buffer.from(token.slice(0, end))
        assert.ok(verify('sha256', input, { key, dsaEncoding: 'ieee-p1363' }, signature))
      }
    })

    test('STD-7519-5 aud as text or list, times with fractions', async () => {
      const now = Math.floor(Date.now() / 1000)
      for (const claims of [
        { aud: 'rolemint' },
        { aud: ['rolemint'] },
        { aud: ['other', 'rolemint'] },
        { exp: now + 100.5, iat: now - 0.5, nbf: now - 0.25 },
      ])
        assert.equal(
          (await sts.token(world.form({ subject_token: sts.subjectToken(claims) }))).status,
          200,
        )
    })

    test('STD-8037-6 EdDSA and Ed25519 both name the algorithm of an Ed25519 key (RFC 9864)', async () => {
      for (const alg of ['EdDSA', 'Ed25519']) {
        const token = sts.subjectToken({}, { key: world.edKey, header: { alg } })
        const answer = await sts.token(world.form({ subject_token: token }))
        assert.equal(answer.status, 200, answer.text)
      }
    })
  })

  suite('RFC 9068', () => {
    test('STD-9068-1 and -2: typ at+jwt, the required claims, and nothing the IdP did not say', async () => {
      const [header = {}, payload = {}] = read(await sts.exchange())
      assert.deepEqual(Object.keys(header).toSorted(), ['alg', 'kid', 'typ'])
      assert.equal(header['typ'], 'at+jwt')
      for (const name of ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'])
        assert.ok(payload[name] !== undefined, name)
      assert.equal(payload['iss'], ISSUER)
      assert.equal(payload['client_id'], CLIENT)
      // ASVS 11.5.1: 128 bits of randomness at least; ours are 160.
      assert.match(String(payload['jti']), /^[A-Za-z0-9_-]{27}$/)
      for (const name of ['auth_time', 'acr', 'amr', 'scope', 'act', 'cnf'])
        assert.ok(!(name in payload), name)
      const said = { auth_time: 1_700_000_000, acr: 'gold', amr: ['pwd', 'otp'] }
      const subject = sts.subjectToken({ ...said, email: 'ada@acme.example', groups: ['root'] })
      const [, passed = {}] = read(await sts.exchange({ subject_token: subject }))
      for (const [name, value] of Object.entries(said)) assert.deepEqual(passed[name], value)
      assert.ok(!('email' in passed) && !('groups' in passed))
    })

    test('STD-9068-2 scope travels as it was granted (§2.2.3)', async () => {
      const answer = await sts.token(world.form({ scope: 'read write' }))
      assert.equal(answer.body['scope'], 'read write')
      assert.equal(read(answer.body['access_token'])[1]?.['scope'], 'read write')
    })

    test('STD-9068-3 roles are a list (§2.2.3.1)', async () => {
      const [, payload = {}] = read(await sts.exchange())
      assert.deepEqual(payload['roles'], ['orders.read', 'orders.write'])
    })

    test('STD-9068-4 aud is what was asked for, else the default of the client; a text when there is one (§3)', async () => {
      assert.equal(await audOf({}), API)
      assert.equal(await audOf({ audience: OTHER_API }), OTHER_API)
      assert.equal(await audOf({ resource: OTHER_API }), OTHER_API)
      assert.deepEqual(await audOf({ audience: [API, OTHER_API] }), [API, OTHER_API])
      assert.equal(await audOf({ audience: API, resource: API }), API)
    })

    test('STD-9068-1 RS256, PS256, ES384 and EdDSA are there for those who need them (§2.1)', async () => {
      for (const algorithm of ['RS256', 'PS256', 'ES384', 'EdDSA']) {
        const other = await startSts({
          configure: (config) => void Object.assign(at(config, 'keys'), { algorithm }),
        })
        try {
          const token = await other.exchange()
          assert.equal(read(token)[0]?.['alg'], algorithm)
          assert.equal((await other.introspect(token)).body['active'], true)
          const { keys } = (await ask(`${other.url}/jwks`)).body as {
            keys: Record<string, string>[]
          }
          for (const { n } of keys.filter(({ kty }) => kty === 'RSA'))
            assert.ok(Buffer.from(n ?? '', 'base64url').length >= 384, 'RSA of 3072 bits')
        } finally {
          await other.close()
        }
      }
    })
  })

  suite('RFC 7662', () => {
    test('STD-7662-1 POST of a form by an authenticated caller; the hint is a hint (§2.1)', async () => {
      const token = await sts.exchange()
      const header = { authorization: basic(CLIENT, sts.clientSecret) }
      for (const hint of ['access_token', 'refresh_token', 'nonsense'])
        assert.equal(
          (await world.post('/introspect', { token, token_type_hint: hint }, header)).body[
            'active'
          ],
          true,
        )
      const get = await ask(`${sts.url}/introspect`, { headers: header })
      assert.equal(get.status, 405)
      refused(await world.post('/introspect', {}, header), 'invalid_request', 'malformed_request')
      refused(
        await world.post('/introspect', { token }),
        'invalid_client',
        'client_auth_failed',
        401,
      )
    })

    test('STD-7662-1 every way to authenticate works, and an assertion once', async () => {
      const token = await sts.exchange()
      const inBody = { token, client_id: CLIENT, client_secret: sts.clientSecret }
      assert.equal((await world.post('/introspect', inBody)).body['active'], true)
      const asserted = {
        token,
        client_assertion_type: JWT_BEARER,
        client_assertion: world.assertion(),
      }
      assert.equal((await world.post('/introspect', asserted)).body['active'], true)
      refused(
        await world.post('/introspect', asserted),
        'invalid_client',
        'client_auth_failed',
        401,
      )
      // Spent at one endpoint, it is spent at the other.
      refused(
        await world.present(asserted.client_assertion),
        'invalid_client',
        'client_auth_failed',
        401,
      )
    })

    test('STD-7662-2 inactive is one member and not a word more (§2.2)', async () => {
      for (const token of ['x', 'a.b.c', sts.subjectToken(), `${await sts.exchange()}x`])
        assert.equal((await sts.introspect(token)).text, '{"active":false}')
    })

    test('STD-7662-3 a caller that the token is not for learns nothing (§4)', async () => {
      const token = await sts.exchange()
      const header = { authorization: basic('bystander', sts.clientSecret) }
      const answer = await world.post('/introspect', { token }, header)
      assert.equal(answer.text, '{"active":false}')
      const theirs = await sts.exchange({ audience: OTHER_API })
      assert.equal(
        (await world.post('/introspect', { token: theirs }, header)).body['active'],
        true,
      )
    })

    test('STD-7662-4 no answer is stored', async () => {
      for (const token of ['x', await sts.exchange()])
        assert.equal((await sts.introspect(token)).headers.get('cache-control'), 'no-store')
    })
  })

  suite('RFC 8414', () => {
    const PATHS = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

    test('STD-8414-1 metadata with the issuer byte for byte (§3)', async () => {
      for (const path of PATHS) {
        const { status, headers, body } = await ask(`${sts.url}${path}`)
        assert.equal(status, 200)
        assert.equal(headers.get('content-type'), 'application/json')
        assert.equal(body['issuer'], ISSUER)
      }
    })

    test('STD-8414-1 the well-known path goes before the path of an issuer, and the OpenID one also behind (§3.1)', async () => {
      const issuer = `${ISSUER}/eu/acme`
      const other = await startSts({
        configure: (config) => void Object.assign(at(config, 'tenants.acme'), { issuer }),
      })
      try {
        for (const path of [
          '/.well-known/oauth-authorization-server/eu/acme',
          '/.well-known/openid-configuration/eu/acme',
          '/eu/acme/.well-known/openid-configuration',
        ])
          assert.equal((await ask(`${other.url}${path}`)).body['issuer'], issuer, path)
        for (const path of [
          '/.well-known/oauth-authorization-server',
          '/.well-known/oauth-authorization-server/eu',
          '/token',
          '/jwks',
        ])
          assert.equal((await ask(`${other.url}${path}`)).status, 404, path)
        assert.equal((await ask(`${other.url}/eu/acme/jwks`)).status, 200)
      } finally {
        await other.close()
      }
    })

    test('STD-8414-2 and -3: the members, no empty list, no endpoint that is not there (§2, §3.2)', async () => {
      const { body } = await ask(`${sts.url}${PATHS[0] ?? ''}`)
      assert.deepEqual(body['response_types_supported'], ['none'])
      assert.deepEqual(body['grant_types_supported'], [EXCHANGE])
      for (const [name, value] of Object.entries(body)) {
        if (Array.isArray(value)) assert.ok(value.length > 0, name)
        assert.ok(
          !JSON.stringify(value).includes('"none"') || name === 'response_types_supported',
          name,
        )
      }
      for (const name of ['authorization_endpoint', 'revocation_endpoint', 'registration_endpoint'])
        assert.ok(!(name in body), name)
    })

    test('STD-8414-4 the alias has the same endpoints and what its readers require', async () => {
      const [ours = {}, alias = {}] = await Promise.all(
        PATHS.map(async (path) => (await ask(`${sts.url}${path}`)).body),
      )
      for (const name of ['issuer', 'jwks_uri', 'token_endpoint', 'introspection_endpoint'])
        assert.equal(alias[name], ours[name])
      assert.deepEqual(alias['response_types_supported'], ['id_token'])
      assert.deepEqual(alias['subject_types_supported'], ['public'])
      assert.deepEqual(alias['id_token_signing_alg_values_supported'], ['ES256'])
    })

    test('STD-8414-5 what is advertised works, every endpoint, method and algorithm of it', async () => {
      const { body } = await ask(`${sts.url}${PATHS[0] ?? ''}`)
      const algorithms = body['token_endpoint_auth_signing_alg_values_supported'] as AlgorithmName[]
      assert.deepEqual(algorithms.toSorted(), ALGORITHMS.toSorted())
      const methods: Readonly<Record<string, () => readonly [Form, Record<string, string>]>> = {
        client_secret_basic: () => [{}, { authorization: basic(CLIENT, sts.clientSecret) }],
        client_secret_post: () => [{ client_id: CLIENT, client_secret: sts.clientSecret }, {}],
        private_key_jwt: () => [
          { client_assertion_type: JWT_BEARER, client_assertion: world.assertion() },
          {},
        ],
      }
      const token = await sts.exchange()
      for (const [endpoint, parameters] of [
        ['token', world.form()],
        ['introspection', { token }],
      ] as const) {
        const advertised = body[`${endpoint}_endpoint_auth_methods_supported`] as string[]
        assert.deepEqual(advertised.toSorted(), Object.keys(methods).toSorted())
        for (const method of advertised) {
          const [over, headers] = methods[method]?.() ?? assert.fail(method)
          const answer = await ask(local(body[`${endpoint}_endpoint`]), {
            method: 'POST',
            headers,
            body: encode({ ...parameters, ...over }),
          })
          assert.equal(answer.status, 200, `${endpoint} ${method}: ${answer.text}`)
        }
      }
      for (const alg of algorithms) {
        const key = world.keys.get(alg) ?? assert.fail(alg)
        const answer = await world.present(world.assertion({}, { key }))
        assert.equal(answer.status, 200, `${alg}: ${answer.text}`)
      }
      assert.equal((await ask(local(body['jwks_uri']))).status, 200)
    })

    test('STD-8414-5 what is not advertised does not work', async () => {
      for (const path of ['/authorize', '/revoke', '/userinfo', '/register', '/device', '/par'])
        assert.equal((await ask(`${sts.url}${path}`, { method: 'POST' })).status, 404, path)
      for (const grant of ['authorization_code', 'refresh_token', 'client_credentials'])
        refused(
          await sts.token(world.form({ grant_type: grant })),
          'unsupported_grant_type',
          'unsupported_grant',
        )
    })
  })

  suite('RFC 7523 and 10070', () => {
    test('STD-7523-1 iss and sub are the client, as is client_id where it is sent (§3)', async () => {
      assert.equal((await world.present(world.assertion())).status, 200)
      assert.equal((await world.present(world.assertion(), { client_id: ASSERTER })).status, 200)
      failed(await world.present(world.assertion(), { client_id: CLIENT }))
      failed(await world.present(world.assertion({ iss: CLIENT })))
      failed(await world.present(world.assertion({ sub: CLIENT })))
      failed(await world.present(world.assertion({ iss: CLIENT, sub: CLIENT })))
      failed(await world.present(world.assertion({ exp: undefined })))
      const type = {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer',
      }
      failed(await world.present(world.assertion(), type))
    })

    test('STD-10070-2 aud is our issuer, as one text', async () => {
      for (const aud of [
        [ISSUER],
        [ISSUER, 'https://other.example'],
        `${ISSUER}/token`,
        `${ISSUER}/`,
        ISSUER.toUpperCase(),
        sts.url,
        'https://other.example',
        undefined,
        '',
      ])
        failed(await world.present(world.assertion({ aud })))
    })

    test('STD-10070-3 typ is absent, JWT, or the one made for it', async () => {
      for (const typ of [
        undefined,
        'JWT',
        'jwt',
        'client-authentication+jwt',
        'application/client-authentication+jwt',
      ])
        assert.equal((await world.present(world.assertion({}, { header: { typ } }))).status, 200)
      for (const typ of ['at+jwt', 'dpop+jwt', 'logout+jwt', 'secevent+jwt', '', 'JOSE'])
        failed(await world.present(world.assertion({}, { header: { typ } })))
    })

    test('STD-7523-4 jti once, at most 300 s of life, and one sentence whatever was wrong', async () => {
      const now = Math.floor(Date.now() / 1000)
      const once = world.assertion()
      assert.equal((await world.present(once)).status, 200)
      const sentences = new Set<unknown>()
      for (const bad of [
        once,
        world.assertion({ jti: undefined }),
        world.assertion({ jti: '' }),
        world.assertion({ jti: 7 }),
        world.assertion({ jti: 'x'.repeat(129) }),
        world.assertion({ iat: now, exp: now + 301 }),
        world.assertion({ exp: now + 31_536_000 }),
        world.assertion({ iat: undefined }),
        world.assertion({ iat: now - 120, exp: now - 60 }),
        world.assertion({ iat: now + 120, exp: now + 180 }),
        world.assertion({}, { key: newTestKey('ES256', 'client-ES256') }),
        'garbage',
      ]) {
        const answer = await world.present(bad)
        failed(answer)
        sentences.add(answer.body['error_description'])
      }
      const asked = { token: 'x', client_assertion_type: JWT_BEARER, client_assertion: once }
      sentences.add((await world.post('/introspect', asked)).body['error_description'])
      assert.equal(sentences.size, 1, [...sentences].join(' | '))
      assert.equal((await world.present(world.assertion({ iat: now, exp: now + 300 }))).status, 200)
    })

    test('STD-7523-4 of fifty parallel uses of one assertion exactly one succeeds', async () => {
      const once = world.assertion()
      const answers = await Promise.all(Array.from({ length: 50 }, () => world.present(once)))
      assert.equal(answers.filter(({ status }) => status === 200).length, 1)
      for (const answer of answers) if (answer.status !== 200) failed(answer)
    })

    test('STD-7523-4 an assertion is spent by a refused request too', async () => {
      const once = world.assertion()
      refused(
        await world.present(once, { subject_token: 'a.b.c' }),
        'invalid_request',
        'malformed_token',
      )
      failed(await world.present(once))
    })
  })

  suite('RFC 8707, 9396, 9457', () => {
    test('STD-8707-1 resource is an absolute URI without fragment that the client may ask for (§2)', async () => {
      assert.equal((await withResource(OTHER_API)).status, 200)
      for (const resource of ['/api', 'api', `${API}#x`, 'https://elsewhere.example', '*', ISSUER])
        refused(await withResource(resource), 'invalid_target', 'target_not_allowed')
    })

    test('STD-9396-2 authorization_details are refused, not dropped', async () => {
      refused(
        await sts.token(world.form({ authorization_details: '[{"type":"x"}]' })),
        'invalid_request',
        'malformed_request',
      )
      const answer = await ask(`${sts.url}/v1/token/exchange`, {
        method: 'POST',
        headers: {
          authorization: basic(CLIENT, sts.clientSecret),
          'content-type': 'application/json',
        },
        body: JSON.stringify({ subject_token: sts.subjectToken(), authorization_details: [] }),
      })
      refused(answer, 'invalid_request', 'malformed_request')
    })

    test('STD-9457-1 one object for both kinds of readers; a problem only for who asks for it', async () => {
      for (const accept of [
        undefined,
        '*/*',
        'application/json',
        'application/json, application/problem+json',
        'application/problem+json;q=0.5, application/json',
      ]) {
        const { headers } = await badToken(accept)
        assert.equal(headers.get('content-type'), 'application/json', accept)
      }
      const problem = await badToken('application/problem+json, application/json;q=0.5')
      assert.equal(problem.headers.get('content-type'), 'application/problem+json')
      assert.match(problem.headers.get('vary') ?? '', /Accept/)
      for (const name of [
        'error',
        'error_description',
        'type',
        'title',
        'status',
        'detail',
        'error_code',
        'request_id',
      ])
        assert.ok(problem.body[name] !== undefined, name)
      assert.equal(problem.body['status'], problem.status)
      assert.equal(problem.headers.get('x-request-id'), problem.body['request_id'])
    })

    test('STD-9457-2 our own APIs always answer problems, and their type leads to a page', async () => {
      const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }
      for (const answer of [
        await ask(`${sts.url}/v1/token/exchange`, json),
        await sts.admin('GET', '/keys?tenant=nobody'),
        await ask(`${sts.adminUrl}/admin/v1/status`),
      ]) {
        assert.ok(answer.status >= 400)
        assert.equal(answer.headers.get('content-type'), 'application/problem+json')
        assert.equal(answer.body['status'], answer.status)
        const page = await ask(`${sts.url}/errors/${String(answer.body['error_code'])}`)
        assert.equal(page.status, 200)
        assert.equal(page.body['error_code'], answer.body['error_code'])
      }
      const [type] = [(await sts.token({})).body['type']]
      assert.equal((await ask(String(type).replace(ISSUER, sts.url))).status, 200)
    })

    test('STD-9457-2 errors name neither the IdP, nor an upstream, nor a stack', async () => {
      sts.api.behave({ status: 500 })
      const subject = sts.subjectToken({ sub: 'new', upn: 'new@acme.example' })
      const answer = await sts.token(world.form({ subject_token: subject }))
      sts.api.behave({ status: undefined })
      refused(answer, 'temporarily_unavailable', 'entitlements_unavailable', 503)
      assert.ok(Number(answer.headers.get('retry-after')) >= 1)
      for (const word of [sts.api.origin, '127.0.0.1', IDP_ISSUER, ' at ', 'Error', 'node:'])
        assert.ok(!answer.text.includes(word), word)
    })
  })
})
