import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { InjectOptions } from 'fastify'
import {
  aClient,
  aTenant,
  CANARY,
  jsonOf,
  publicDeps,
  publicOptions,
  tenantsOf,
} from '../../../test/fakes/http-edge.ts'
import { Refusal } from '../../lib/refusal.ts'
import type { PublicDeps } from './deps.ts'
import { createPublicServer } from './server.ts'

const FORM = 'application/x-www-form-urlencoded'
const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'

const PARAMETERS = {
  grant_type: GRANT,
  subject_token: CANARY,
  subject_token_type: JWT,
  client_id: 'orders-web',
  client_secret: 'hush',
}

/** A listener and a way to ask it as a client of the tenant would. */
function listening(changes: Partial<PublicDeps> = {}) {
  const kept = publicDeps(changes)
  const app = createPublicServer(kept.deps, publicOptions())
  const ask = (request: InjectOptions) =>
    app.inject({ ...request, headers: { host: 'sts.acme.example', ...request.headers } })
  const post = (url: string, payload: string, headers: Record<string, string> = {}) =>
    ask({ method: 'POST', url, payload, headers: { 'content-type': FORM, ...headers } })
  const postToken = (changed: Record<string, string | undefined> = {}, headers = {}) =>
    post('/token', form({ ...PARAMETERS, ...changed }), headers)
  const postJson = (body: unknown, headers = {}) =>
    ask({
      method: 'POST',
      url: '/v1/token/exchange',
      payload: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    })
  return { ...kept, app, ask, post, postToken, postJson }
}

const form = (members: Record<string, string | undefined>) => {
  const written = new URLSearchParams()
  for (const [name, value] of Object.entries(members))
    if (value !== undefined) written.append(name, value)
  return written.toString()
}

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

suite('POST /token', () => {
  test('answers as RFC 8693 §2.2.1 says, and may not be stored', async () => {
    const { postToken, exchanged } = listening()
    const answer = await postToken({ audience: 'https://api.acme.example', expires_in: '60' })
    assert.equal(answer.statusCode, 200)
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(answer.headers['cache-control'], 'no-store')
    assert.equal(answer.headers['pragma'], 'no-cache')
    assert.deepEqual(jsonOf(answer), {
      access_token: 'issued.access.token',
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 300,
    })
    const [request] = exchanged
    assert.equal(request?.subject.token.reveal(), CANARY)
    assert.equal(request?.credentials.clientId, 'orders-web')
    assert.deepEqual(request?.wanted.targets, ['https://api.acme.example'])
    assert.equal(request?.wanted.expiresIn, 60)
    assert.equal(request?.traceId, answer.headers['x-request-id'])
  })

  test('row 59: a missing grant is a malformed request, any other grant is unsupported', async () => {
    const { postToken } = listening()
    const missing = await postToken({ grant_type: undefined })
    assert.equal(missing.statusCode, 400)
    assert.equal(jsonOf(missing)['error'], 'invalid_request')
    for (const grant of [
      'password',
      'client_credentials',
      'authorization_code',
      GRANT.toUpperCase(),
    ]) {
      const answer = await postToken({ grant_type: grant })
      assert.equal(answer.statusCode, 400)
      assert.equal(jsonOf(answer)['error'], 'unsupported_grant_type', grant)
      assert.equal(jsonOf(answer)['error_code'], 'unsupported_grant')
    }
  })

  test('row 57: a repeated subject_token or grant_type never reaches the exchange', async () => {
    const { post, exchanged } = listening()
    for (const name of ['subject_token', 'grant_type']) {
      const answer = await post('/token', `${form(PARAMETERS)}&${name}=other`)
      assert.equal(answer.statusCode, 400)
      assert.deepEqual(
        [jsonOf(answer)['error'], jsonOf(answer)['error_code'], jsonOf(answer)['param']],
        ['invalid_request', 'malformed_request', name],
      )
    }
    assert.equal(exchanged.length, 0)
  })

  test('rows 57 and 58: parameters in the URL are refused and not logged', async () => {
    const { post, log, exchanged } = listening()
    for (const name of ['subject_token', 'client_secret', 'client_assertion', 'audience']) {
      const answer = await post(`/token?${name}=${CANARY}`, form(PARAMETERS))
      assert.equal(answer.statusCode, 400, name)
      assert.equal(jsonOf(answer)['error'], 'invalid_request')
      assert.doesNotMatch(answer.body, /eyJ/)
    }
    assert.equal(exchanged.length, 0)
    assert.doesNotMatch(JSON.stringify(log.lines), /eyJ|hush/)
  })

  test('row 58: GET and every other method is 405 with Allow: POST', async () => {
    const { ask } = listening()
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const) {
      const answer = await ask({ method, url: `/token?subject_token=${CANARY}` })
      assert.equal(answer.statusCode, 405, method)
      assert.equal(answer.headers['allow'], 'POST')
      assert.equal(answer.headers['cache-control'], 'no-store')
      assert.doesNotMatch(answer.body, /eyJ/)
    }
  })

  test('row 58: JSON, multipart, a wrong charset, no type and a broken type are 400 invalid_request', async () => {
    const { ask, exchanged } = listening()
    for (const type of [
      'application/json',
      'multipart/form-data; boundary=x',
      `${FORM}; charset=latin1`,
      'nonsense',
      undefined,
    ]) {
      const answer = await ask({
        method: 'POST',
        url: '/token',
        payload: Buffer.from(form(PARAMETERS)),
        headers: type === undefined ? {} : { 'content-type': type },
      })
      assert.equal(answer.statusCode, 400, type)
      assert.equal(jsonOf(answer)['error'], 'invalid_request')
      assert.equal(jsonOf(answer)['error_code'], 'unsupported_media_type')
    }
    assert.equal(exchanged.length, 0)
  })

  test('row 6: a body over 64 KiB is 413, and the exchange never sees it', async () => {
    const { postToken, exchanged } = listening()
    assert.equal((await postToken({ filler: 'x'.repeat(60_000) })).statusCode, 200)
    const answer = await postToken({ filler: 'x'.repeat(65_536) })
    assert.equal(answer.statusCode, 413)
    assert.equal(jsonOf(answer)['error_code'], 'body_too_large')
    assert.equal(exchanged.length, 1)
  })

  test('row 5: a token of a thousand dots is handed to the exchange unread', async () => {
    const { postToken, exchanged } = listening()
    await postToken({ subject_token: '.'.repeat(1000) })
    assert.equal(exchanged[0]?.subject.token.reveal().length, 1000)
  })

  test('row 50: a relative, fragmented or dressed-up resource is invalid_target', async () => {
    const { postToken, exchanged } = listening()
    for (const resource of ['/api', 'api', 'https://api.acme.example/#x', 'https://a@b.example/']) {
      const answer = await postToken({ resource })
      assert.equal(answer.statusCode, 400)
      assert.equal(jsonOf(answer)['error'], 'invalid_target', resource)
    }
    assert.equal(exchanged.length, 0)
  })

  test('rows 49, 60 and 61: what the exchange refuses is answered with its code, status and parameter', async () => {
    const refusals = [
      [new Refusal('target_not_allowed', 'x', { param: 'audience' }), 400, 'invalid_target'],
      [new Refusal('grant_not_allowed', 'x'), 400, 'unauthorized_client'],
      [new Refusal('client_auth_failed', 'x'), 401, 'invalid_client'],
      [new Refusal('ledger_unavailable', 'x'), 503, 'temporarily_unavailable'],
    ] as const
    for (const [refusal, status, error] of refusals) {
      const { postToken } = listening({ exchange: () => Promise.reject(refusal) })
      const answer = await postToken()
      assert.equal(answer.statusCode, status)
      assert.equal(jsonOf(answer)['error'], error)
      assert.equal(jsonOf(answer)['error_code'], refusal.code)
      assert.equal(jsonOf(answer)['request_id'], answer.headers['x-request-id'])
      assert.equal(answer.headers['retry-after'], status === 503 ? '1' : undefined)
    }
  })

  test('row 61: Basic and a secret in the body are both shown to the client room, which refuses two methods', async () => {
    const { postToken, exchanged } = listening()
    await postToken({}, { authorization: basic('orders-web:hush') })
    assert.deepEqual(Object.keys(exchanged[0]?.credentials ?? {}), [
      'basic',
      'clientId',
      'clientSecret',
      'from',
    ])
  })

  test('401 challenges whoever used Basic or sent nothing, not whoever sent a secret in the body', async () => {
    const { postToken } = listening({
      exchange: () => Promise.reject(new Refusal('client_auth_failed', 'x')),
    })
    const challengeOf = async (changed: object, headers = {}) =>
      (await postToken({ ...changed }, headers)).headers['www-authenticate']
    const none = { client_secret: undefined }
    assert.equal(await challengeOf({}), undefined)
    assert.equal(await challengeOf(none), 'Basic realm="rolemint"')
    assert.equal(
      await challengeOf(none, { authorization: basic('orders-web:x') }),
      'Basic realm="rolemint"',
    )
    assert.equal(await challengeOf(none, { authorization: 'Basic !' }), 'Basic realm="rolemint"')
  })

  test('an exception with a token in its message shows nothing of it, and the log keeps the error under the request id', async () => {
    const { postToken, log } = listening({
      exchange: () => Promise.reject(new Error(`cannot parse ${CANARY}`)),
    })
    const answer = await postToken()
    assert.equal(answer.statusCode, 500)
    assert.equal(jsonOf(answer)['error'], 'server_error')
    assert.doesNotMatch(`${answer.body}${JSON.stringify(answer.headers)}`, /eyJ|parse/)
    const bug = log.lines.find(({ message }) => message === 'request failed on a bug')
    assert.ok(bug?.['err'] instanceof Error)
    assert.equal(bug?.['requestId'], answer.headers['x-request-id'])
  })

  test('the exchange is given a signal that gives up after the budget', async () => {
    const signals: AbortSignal[] = []
    const { deps } = publicDeps({
      exchange: (_tenant, _request, signal) => {
        signals.push(signal)
        return new Promise((_resolve, reject) => {
          const awake = setTimeout(() => undefined, 60_000)
          signal.addEventListener('abort', () => {
            clearTimeout(awake)
            reject(signal.reason as Error)
          })
        })
      },
    })
    const app = createPublicServer(deps, { ...publicOptions(), requestBudgetMilliseconds: 1 })
    const answer = await app.inject({
      method: 'POST',
      url: '/token',
      payload: form(PARAMETERS),
      headers: { host: 'sts.acme.example', 'content-type': FORM },
    })
    assert.equal(answer.statusCode, 503)
    assert.equal(jsonOf(answer)['error_code'], 'overloaded')
    assert.equal(signals.length, 1)
  })
})

suite('POST /v1/token/exchange', () => {
  const BODY = { subject_token: CANARY, client_id: 'orders-web', client_secret: 'hush' }

  test('is the same use case: a subject token without type is a JWT, lists and numbers are welcome', async () => {
    const { postJson, exchanged } = listening()
    const answer = await postJson({ ...BODY, audience: ['a', 'b'], expires_in: 60, scope: '' })
    assert.equal(answer.statusCode, 200)
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(answer.headers['cache-control'], 'no-store')
    const [request] = exchanged
    assert.equal(request?.subject.type, 'jwt')
    assert.deepEqual(request?.wanted.targets, ['a', 'b'])
    assert.deepEqual(request?.wanted.scopes, [])
    assert.equal(request?.wanted.expiresIn, 60)
  })

  test('takes the subject token as Bearer, and the client as Basic', async () => {
    const { postJson, exchanged } = listening()
    assert.equal((await postJson({}, { authorization: `Bearer ${CANARY}` })).statusCode, 200)
    assert.equal(
      (await postJson({ subject_token: CANARY }, { authorization: basic('orders-web:x') }))
        .statusCode,
      200,
    )
    assert.equal(exchanged[0]?.subject.token.reveal(), CANARY)
    assert.deepEqual(Object.keys(exchanged[0]?.credentials ?? {}), ['from'])
    assert.equal(exchanged[1]?.credentials.basic?.id, 'orders-web')
  })

  test('a subject token in both places is refused', async () => {
    const { postJson } = listening()
    const answer = await postJson(BODY, { authorization: `Bearer ${CANARY}` })
    assert.equal(answer.statusCode, 400)
    assert.equal(jsonOf(answer)['param'], 'subject_token')
    assert.doesNotMatch(answer.body, /eyJ/)
  })

  test('errors are problems whatever Accept says', async () => {
    const { postJson } = listening()
    const answer = await postJson({}, { accept: 'application/json' })
    assert.equal(answer.statusCode, 400)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(jsonOf(answer)['error_code'], 'malformed_request')
  })

  test('another media type is 415', async () => {
    const { ask } = listening()
    for (const type of [FORM, 'text/plain', 'application/json; charset=utf-16', 'nonsense']) {
      const answer = await ask({
        method: 'POST',
        url: '/v1/token/exchange',
        payload: JSON.stringify(BODY),
        headers: { 'content-type': type },
      })
      assert.equal(answer.statusCode, 415, type)
      assert.equal(jsonOf(answer)['error_code'], 'unsupported_media_type')
    }
  })

  test('unknown members are ignored, authorization_details is refused however it is written', async () => {
    const { postJson } = listening()
    assert.equal((await postJson({ ...BODY, unheard_of: { of: [1] } })).statusCode, 200)
    for (const details of [[{ type: 'x' }], '', null, 1]) {
      const answer = await postJson({ ...BODY, authorization_details: details })
      assert.equal(answer.statusCode, 400)
      assert.equal(jsonOf(answer)['param'], 'authorization_details')
    }
  })

  test('a body that parsers could read differently, or that is no object, is refused', async () => {
    const { postJson, exchanged } = listening()
    for (const body of [
      '',
      'x',
      '[]',
      '"a"',
      'null',
      `{"subject_token":"${CANARY}","subject_token":"other"}`,
      `{"subject_token":"${CANARY}","subject\\u005ftoken":"other"}`,
      `{"a":${'['.repeat(20)}${']'.repeat(20)}}`,
      `\uFEFF${JSON.stringify(BODY)}`,
    ]) {
      const answer = await postJson(body)
      assert.equal(answer.statusCode, 400, body)
      assert.doesNotMatch(answer.body, /eyJ/)
    }
    assert.equal(exchanged.length, 0)
  })

  test('bytes that are no UTF-8 are refused, and so is anything in the URL', async () => {
    const { ask, exchanged } = listening()
    const payload = Buffer.from(JSON.stringify({ ...BODY, client_id: 'é' }), 'latin1')
    for (const [url, body] of [
      ['/v1/token/exchange', payload],
      [`/v1/token/exchange?subject_token=${CANARY}`, Buffer.from(JSON.stringify(BODY))],
    ] as const) {
      const headers = { 'content-type': 'application/json' }
      const answer = await ask({ method: 'POST', url, payload: body, headers })
      assert.equal(answer.statusCode, 400)
      assert.doesNotMatch(answer.body, /eyJ/)
    }
    assert.equal(exchanged.length, 0)
  })

  test('a member of the wrong kind is refused by name', async () => {
    const { postJson } = listening()
    for (const [name, value] of Object.entries({
      subject_token: 1,
      client_id: null,
      scope: ['a'],
      audience: { a: 1 },
      resource: [1],
      expires_in: true,
    })) {
      const answer = await postJson({ ...BODY, [name]: value })
      assert.equal(answer.statusCode, 400, name)
      assert.equal(jsonOf(answer)['param'], name)
    }
    for (const expiresIn of [1.5, -1, 0, 1e30])
      assert.equal((await postJson({ ...BODY, expires_in: expiresIn })).statusCode, 400)
  })
})

suite('POST /introspect', () => {
  test('hands token and credentials on and answers what it is told', async () => {
    const { post, introspected } = listening()
    const answer = await post('/introspect', form({ token: CANARY, token_type_hint: 'x' }), {
      authorization: basic('orders-web:hush'),
    })
    assert.equal(answer.statusCode, 200)
    assert.deepEqual(jsonOf(answer), { active: false })
    assert.equal(answer.headers['cache-control'], 'no-store')
    assert.deepEqual(introspected, [{ token: CANARY, clientId: 'orders-web' }])
  })

  test('needs a token, a POST and a form, and never reads a token from the URL', async () => {
    const { ask, post, introspected } = listening()
    assert.equal(jsonOf(await post('/introspect', 'a=b'))['param'], 'token')
    assert.equal((await post(`/introspect?token=${CANARY}`, 'a=b')).statusCode, 400)
    assert.equal((await ask({ method: 'GET', url: '/introspect' })).statusCode, 405)
    assert.equal(
      (await post('/introspect', '{}', { 'content-type': 'application/json' })).statusCode,
      400,
    )
    assert.equal(introspected.length, 0)
  })
})

suite('GET /jwks', () => {
  test('both paths answer the set with its media type, tag and cache rules, HEAD without body', async () => {
    const { ask } = listening()
    for (const url of ['/jwks', '/.well-known/jwks.json', '/jwks?consumer=orders-api']) {
      const answer = await ask({ method: 'GET', url })
      assert.equal(answer.statusCode, 200)
      assert.equal(answer.headers['content-type'], 'application/jwk-set+json')
      assert.equal(answer.headers['etag'], '"v1"')
      assert.equal(answer.headers['cache-control'], 'public, max-age=300, stale-if-error=43200')
      assert.equal(answer.headers['cross-origin-resource-policy'], 'cross-origin')
      assert.equal(answer.body, '{"keys":[]}')
      const head = await ask({ method: 'HEAD', url })
      assert.equal(head.statusCode, 200)
      assert.equal(head.headers['content-length'], '11')
      assert.equal(head.body, '')
    }
  })

  test('whoever has the current set gets 304 without body', async () => {
    const { ask } = listening()
    for (const tag of ['"v1"', 'W/"v1"', '"v0", "v1"', '*']) {
      const answer = await ask({ method: 'GET', url: '/jwks', headers: { 'if-none-match': tag } })
      assert.equal(answer.statusCode, 304, tag)
      assert.equal(answer.body, '')
      assert.equal(answer.headers['etag'], '"v1"')
    }
  })

  test('a ring that was never read is 503 and may not be cached', async () => {
    const { ask } = listening({
      jwks: () => {
        throw new Refusal('signer_unavailable', 'x')
      },
    })
    const answer = await ask({ method: 'GET', url: '/jwks' })
    assert.equal(answer.statusCode, 503)
    assert.equal(answer.headers['cache-control'], 'no-store')
  })
})

suite('metadata', () => {
  const PATHS = ['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration']

  test('every endpoint that is advertised exists, and every grant and method that is advertised is let through', async () => {
    for (const path of PATHS) {
      const { ask, post, postToken, exchanged } = listening()
      const metadata = jsonOf(await ask({ method: 'GET', url: path }))
      assert.equal(metadata['issuer'], 'https://sts.acme.example')
      const pathOf = (name: string) => new URL(String(metadata[name])).pathname
      assert.equal((await ask({ method: 'GET', url: pathOf('jwks_uri') })).statusCode, 200)
      assert.equal((await post(pathOf('introspection_endpoint'), 'token=x')).statusCode, 200)
      for (const grant of metadata['grant_types_supported'] as string[])
        assert.equal((await postToken({ grant_type: grant })).statusCode, 200, grant)
      const none = { client_secret: undefined, client_id: undefined }
      const methods: Record<string, () => Promise<unknown>> = {
        client_secret_basic: () => postToken(none, { authorization: basic('orders-web:hush') }),
        client_secret_post: () => postToken(),
        private_key_jwt: () => postToken({ ...none, client_assertion: 'a.b.c' }),
        none: () => postToken(none),
      }
      for (const method of metadata['token_endpoint_auth_methods_supported'] as string[]) {
        exchanged.length = 0
        assert.ok(methods[method], method)
        await methods[method]()
        assert.equal(exchanged.length, 1, method)
      }
      const endpoints = Object.keys(metadata).filter((name) => /_endpoint$|_uri$/.test(name))
      assert.deepEqual(endpoints.toSorted(), [
        'introspection_endpoint',
        'jwks_uri',
        'token_endpoint',
      ])
    }
  })

  test('the members are those of RFC 8414 and OpenID discovery, with nothing that does not work', async () => {
    const { ask } = listening()
    const [oauth, openid] = await Promise.all(
      PATHS.map(async (url) => jsonOf(await ask({ method: 'GET', url }))),
    )
    const methods = ['client_secret_basic', 'client_secret_post', 'private_key_jwt']
    const shared = {
      issuer: 'https://sts.acme.example',
      token_endpoint: 'https://sts.acme.example/token',
      jwks_uri: 'https://sts.acme.example/jwks',
      introspection_endpoint: 'https://sts.acme.example/introspect',
      grant_types_supported: [GRANT],
      response_types_supported: ['none'],
      token_endpoint_auth_methods_supported: methods,
      token_endpoint_auth_signing_alg_values_supported: ['ES256', 'RS256'],
      introspection_endpoint_auth_methods_supported: methods,
      introspection_endpoint_auth_signing_alg_values_supported: ['ES256', 'RS256'],
    }
    assert.deepEqual(oauth, shared)
    assert.deepEqual(openid, {
      ...shared,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
    })
  })

  test('none is advertised only where a public client exists, and never for introspection', async () => {
    const clients = new Map([['spa', aClient('spa', { method: 'public' })]])
    const { ask } = listening({ tenants: tenantsOf(aTenant({ clients })) })
    const metadata = jsonOf(await ask({ method: 'GET', url: PATHS[0] ?? '' }))
    const methods = (name: string) => metadata[name] as string[]
    assert.ok(methods('token_endpoint_auth_methods_supported').includes('none'))
    assert.ok(!methods('introspection_endpoint_auth_methods_supported').includes('none'))
  })

  test('may be cached and asked for again by tag', async () => {
    const { ask } = listening()
    const first = await ask({ method: 'GET', url: PATHS[0] ?? '' })
    assert.match(String(first.headers['cache-control']), /^public, max-age=300/)
    const again = await ask({
      method: 'GET',
      url: PATHS[0] ?? '',
      headers: { 'if-none-match': String(first.headers['etag']) },
    })
    assert.equal(again.statusCode, 304)
  })
})

suite('tenants', () => {
  const acme = aTenant({ corsOrigins: ['https://app.acme.example'] })
  const globex = aTenant({
    name: 'globex',
    issuer: 'https://sts.globex.example',
    clients: new Map(),
  })

  test('the host decides whose rules apply', async () => {
    const asked: string[] = []
    const { post } = listening({
      tenants: tenantsOf(acme, globex),
      introspect: ({ name }) => {
        asked.push(name)
        return Promise.resolve({ active: false })
      },
    })
    for (const host of ['sts.acme.example', 'STS.Globex.example:443'])
      await post('/introspect', 'token=x', { host })
    assert.deepEqual(asked, ['acme', 'globex'])
  })

  test('a host that is no tenant is 404 unknown_tenant on every path but the shared ones', async () => {
    const { ask } = listening()
    for (const url of ['/token', '/jwks', '/.well-known/openid-configuration', '/no-such-path']) {
      const answer = await ask({ method: 'GET', url, headers: { host: 'other.example' } })
      assert.equal(answer.statusCode, 404, url)
      assert.equal(jsonOf(answer)['error_code'], 'unknown_tenant')
      assert.equal(jsonOf(answer)['type'], '/errors/unknown_tenant')
    }
    for (const url of ['/errors/unknown_tenant', '/openapi.json']) {
      const answer = await ask({ method: 'GET', url, headers: { host: 'other.example' } })
      assert.equal(answer.statusCode, 200, url)
    }
  })

  test('a path spelt with escapes is no way around the tenant', async () => {
    const { ask } = listening()
    for (const url of ['/jwk%73', '/%74oken', '/%6Awks']) {
      const answer = await ask({ method: 'GET', url, headers: { host: 'other.example' } })
      assert.equal(answer.statusCode, 404, url)
    }
  })

  test('row 75: without configured origins no answer allows any origin', async () => {
    const { ask, postToken } = listening()
    for (const origin of ['https://evil.example', 'null', 'https://sts.acme.example']) {
      const answers = [
        await postToken({}, { origin }),
        await ask({ method: 'GET', url: '/jwks', headers: { origin } }),
        await ask({
          method: 'OPTIONS',
          url: '/token',
          headers: { origin, 'access-control-request-method': 'POST' },
        }),
      ]
      for (const answer of answers)
        assert.deepEqual(
          Object.keys(answer.headers).filter((name) => name.startsWith('access-control')),
          [],
        )
    }
  })

  test('row 75: a configured origin is allowed at its own tenant, for these paths, without credentials', async () => {
    const { ask } = listening({ tenants: tenantsOf(acme, globex) })
    const allowed = async (url: string, origin: string, host = 'sts.acme.example') =>
      (await ask({ method: 'GET', url, headers: { origin, host } })).headers[
        'access-control-allow-origin'
      ]
    const app = 'https://app.acme.example'
    for (const url of [
      '/jwks',
      '/token',
      '/v1/token/exchange',
      '/.well-known/openid-configuration',
    ])
      assert.equal(await allowed(url, app), app, url)
    assert.equal(await allowed('/introspect', app), undefined)
    assert.equal(await allowed('/jwks', app, 'sts.globex.example'), undefined)
    assert.equal(await allowed('/jwks', 'https://app.acme.example.evil.example'), undefined)
    assert.equal(await allowed('/jwks', 'null'), undefined)
    const answer = await ask({ method: 'GET', url: '/jwks', headers: { origin: app } })
    assert.equal(answer.headers['access-control-allow-credentials'], undefined)
  })

  test('a configured null origin is still nobody', async () => {
    const { ask } = listening({ tenants: tenantsOf(aTenant({ corsOrigins: ['null'] })) })
    const answer = await ask({ method: 'GET', url: '/jwks', headers: { origin: 'null' } })
    assert.equal(answer.headers['access-control-allow-origin'], undefined)
  })

  test('a preflight is answered with the methods of the path', async () => {
    const { ask } = listening({ tenants: tenantsOf(acme) })
    const answer = await ask({
      method: 'OPTIONS',
      url: '/v1/token/exchange',
      headers: { origin: 'https://app.acme.example', 'access-control-request-method': 'POST' },
    })
    assert.equal(answer.statusCode, 204)
    assert.equal(answer.headers['access-control-allow-methods'], 'POST')
    assert.equal(answer.headers['vary'], 'Origin')
  })

  test('answers of a tenant with origins vary by Origin, errors also by Accept', async () => {
    const { ask } = listening({ tenants: tenantsOf(acme) })
    const vary = async (method: 'GET' | 'PUT') =>
      (await ask({ method, url: '/jwks' })).headers['vary']
    assert.equal(await vary('GET'), 'Origin')
    assert.equal(await vary('PUT'), 'Origin, Accept')
  })
})

suite('every answer of the public listener', () => {
  test('carries the security headers and a request id, and names no server', async () => {
    const { ask, postToken } = listening()
    const answers = [
      await postToken(),
      await postToken({ grant_type: 'password' }),
      await ask({ method: 'GET', url: '/jwks' }),
      await ask({ method: 'GET', url: '/nothing' }),
      await ask({ method: 'GET', url: '/%zz' }),
      await ask({ method: 'DELETE', url: '/token' }),
    ]
    for (const { headers } of answers) {
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['content-security-policy'], "default-src 'none'; frame-ancestors 'none'")
      assert.equal(headers['referrer-policy'], 'no-referrer')
      assert.ok(headers['cross-origin-resource-policy'])
      assert.match(String(headers['x-request-id']), /^[0-9a-f]{32}$/)
      assert.equal(headers['server'], undefined)
      assert.equal(headers['strict-transport-security'], undefined)
    }
  })

  test('row 77: the request id is the trace id of a good traceparent, and never a text of the caller', async () => {
    const { ask, log } = listening()
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    const good = await ask({
      method: 'GET',
      url: '/jwks',
      headers: { traceparent: `00-${trace}-00f067aa0ba902b7-01` },
    })
    assert.equal(good.headers['x-request-id'], trace)
    const bad = await ask({
      method: 'GET',
      url: '/jwks',
      headers: {
        traceparent: 'forged',
        tracestate: 'x'.repeat(10_000),
        'x-request-id': 'evil%0d%0aset-cookie',
        'request-id': 'evil',
      },
    })
    assert.match(String(bad.headers['x-request-id']), /^[0-9a-f]{32}$/)
    assert.doesNotMatch(JSON.stringify(log.lines), /evil|forged|xxx/)
  })

  test('is one log line with names and codes, and nothing of URL, body or headers', async () => {
    const { post, log } = listening()
    await post(`/token?q=${CANARY}`, form(PARAMETERS), { authorization: basic('orders-web:hush') })
    await post('/token', form(PARAMETERS), { authorization: basic('orders-web:hush') })
    await post('/token', form({ ...PARAMETERS, client_id: CANARY }))
    const lines = log.lines.filter(({ message }) => message === 'request')
    assert.deepEqual(
      lines.map(({ tenant, route, status, code, client }) => [tenant, route, status, code, client]),
      [
        ['acme', '/token', 400, 'malformed_request', undefined],
        ['acme', '/token', 200, undefined, 'orders-web'],
        ['acme', '/token', 200, undefined, undefined],
      ],
    )
    assert.doesNotMatch(JSON.stringify(log.lines), /eyJ|hush|q=/)
  })

  test('is counted once, under the pattern of its route', async () => {
    const counted: unknown[] = []
    const { ask } = listening({
      metrics: {
        httpRequest: (listener, route, status) => {
          counted.push([listener, route, status])
        },
      },
    })
    await ask({ method: 'GET', url: '/errors/expired' })
    await ask({ method: 'GET', url: `/${CANARY}` })
    assert.deepEqual(counted, [
      ['public', '/errors/:code', 200],
      ['public', 'unmatched', 404],
    ])
  })

  test('of a path that does not exist is a 404 problem', async () => {
    const { ask } = listening()
    for (const url of [
      '/',
      '/tokens',
      '/token/',
      '/errors/',
      '/errors/a/b',
      '/admin/v1/keys',
      '/livez',
    ]) {
      const answer = await ask({ method: 'GET', url })
      assert.equal(answer.statusCode, 404, url)
      assert.equal(answer.headers['content-type'], 'application/problem+json')
      assert.equal(jsonOf(answer)['error_code'], 'not_found')
    }
  })

  test('of a path with a broken escape is a 400 that does not repeat it', async () => {
    const answer = await listening().ask({ method: 'GET', url: '/%zz-marker' })
    assert.equal(answer.statusCode, 400)
    assert.equal(jsonOf(answer)['error_code'], 'malformed_request')
    assert.doesNotMatch(answer.body, /marker/)
  })
})

suite('GET /errors/{code}', () => {
  test('explains a code as JSON, or as a page where HTML ranks higher', async () => {
    const { ask } = listening()
    const json = await ask({ method: 'GET', url: '/errors/upn_conflict' })
    assert.equal(json.headers['content-type'], 'application/json')
    assert.equal(jsonOf(json)['error_code'], 'upn_conflict')
    assert.equal(jsonOf(json)['status'], 400)
    assert.ok(jsonOf(json)['mend'])
    const page = await ask({
      method: 'GET',
      url: '/errors/upn_conflict',
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    })
    assert.equal(page.headers['content-type'], 'text/html; charset=utf-8')
    assert.equal(page.headers['vary'], 'Accept')
    assert.match(page.body, /<code>upn_conflict<\/code>/)
  })

  test('does not know codes that are none, inherited names included', async () => {
    const { ask } = listening()
    for (const code of ['nope', 'constructor', '__proto__', 'toString', '%3Cscript%3E']) {
      const answer = await ask({ method: 'GET', url: `/errors/${code}` })
      assert.equal(answer.statusCode, 404, code)
      assert.doesNotMatch(answer.body, /<|%3C/)
    }
  })

  test('is where the type of every error leads', async () => {
    const { ask, postToken } = listening()
    const type = String(jsonOf(await postToken({ grant_type: 'password' }))['type'])
    assert.ok(type.startsWith('https://sts.acme.example/'))
    assert.equal((await ask({ method: 'GET', url: new URL(type).pathname })).statusCode, 200)
  })
})
