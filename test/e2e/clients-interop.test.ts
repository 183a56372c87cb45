/** Clients and verifiers that others wrote, unmodified, against the whole deployment and a real OpenID provider. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, type webcrypto } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { createVerifier } from 'fast-jwt'
import { createRemoteJWKSet, exportJWK, jwtVerify } from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'
import { type DemoIdp, startDemoIdp } from '../../demo/idp.ts'
import type { SigningAlgorithm } from '../../src/keys/options.ts'
import { freePort } from '../fakes/free-port.ts'
import { API, at, CLIENT, EXCHANGE, JWT_TYPE, type Sts, startSts } from '../fakes/sts.ts'
import { pythonWithPyJwt, suiteNeeding } from '../skip.ts'

const ASSERTING = 'orders-batch'
const insecure = { [oauth.allowInsecureRequests]: true }

interface World {
  readonly idp: DemoIdp
  readonly sts: Sts
  readonly issuer: string
  readonly assertionKey: webcrypto.CryptoKey
}

/** A deployment that trusts a real oidc-provider, with one client by secret and one by key. */
async function openWorld(algorithm: SigningAlgorithm = 'ES256'): Promise<World> {
  const idp = await startDemoIdp({ clientId: CLIENT })
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = {
    ...pair.publicKey.export({ format: 'jwk' }),
    kid: 'batch-1',
    alg: 'ES256',
    use: 'sig',
  }
  const starting = startSts({
    configure(config, { api }) {
      at(config, 'listen')['public'] = `127.0.0.1:${port}`
      at(config, 'keys')['algorithm'] = algorithm
      const acme = at(config, 'tenants.acme')
      acme['issuer'] = issuer
      acme['idps'] = {
        login: { issuer: idp.issuer, audience: 'rolemint', user: 'upn', presenters: [CLIENT] },
      }
      const clients = at(config, 'tenants.acme.clients')
      clients[ASSERTING] = {
        ...at(clients, CLIENT),
        auth: { privateKeyJwt: { jwks: { keys: [jwk] } } },
      }
      api.users.set('alice@demo.example', ['SAP_ORD_R', 'SAP_ORD_W'])
    },
  })
  const sts = await starting.catch(async (error: unknown) => {
    await idp.close()
    throw error
  })
  const { crypto } = globalThis
  const assertionKey = await crypto.subtle.importKey(
    'jwk',
    pair.privateKey.export({ format: 'jwk' }),
    { name: 'ECDSA', namedCurve: 'P-256' },
    false,
    ['sign'],
  )
  return { idp, sts, issuer, assertionKey }
}

async function closeWorld({ idp, sts }: World): Promise<void> {
  await sts.close()
  await idp.close()
}

describe('unmodified clients', () => {
  let world: World
  before(async () => {
    world = await openWorld()
  })
  after(() => closeWorld(world))

  const exchangeForm = async () => ({
    subject_token: await world.idp.tokenFor('alice'),
    subject_token_type: JWT_TYPE,
  })

  async function discover(algorithm: 'oauth2' | 'oidc' = 'oauth2') {
    const issuer = new URL(world.issuer)
    const response = await oauth.discoveryRequest(issuer, { algorithm, ...insecure })
    return oauth.processDiscoveryResponse(issuer, response)
  }

  async function exchange(
    as: oauth.AuthorizationServer,
    party: oauth.Client,
    auth: oauth.ClientAuth,
  ) {
    const response = await oauth.genericTokenEndpointRequest(
      as,
      party,
      auth,
      EXCHANGE,
      await exchangeForm(),
      insecure,
    )
    return oauth.processGenericTokenEndpointResponse(as, party, response)
  }

  for (const algorithm of ['oauth2', 'oidc'] as const) {
    test(`oauth4webapi discovers the server by its ${algorithm} metadata`, async () => {
      const as = await discover(algorithm)
      assert.equal(as.issuer, world.issuer)
      assert.deepEqual(as.grant_types_supported, [EXCHANGE])
    })
  }

  const ways = [
    [
      'client_secret_basic, a secret',
      CLIENT,
      () => oauth.ClientSecretBasic(world.sts.clientSecret),
    ],
    ['client_secret_post, a secret', CLIENT, () => oauth.ClientSecretPost(world.sts.clientSecret)],
    [
      'private_key_jwt',
      ASSERTING,
      () => oauth.PrivateKeyJwt({ key: world.assertionKey, kid: 'batch-1' }),
    ],
  ] as const
  for (const [how, clientId, auth] of ways) {
    test(`oauth4webapi exchanges with ${how}, validates the result as an RFC 9068 access token and introspects it`, async () => {
      const as = await discover()
      const party = { client_id: clientId }
      const result = await exchange(as, party, auth())
      assert.equal(result['issued_token_type'], 'urn:ietf:params:oauth:token-type:access_token')
      assert.equal(result.expires_in, 43_200)

      const request = new Request('https://api.acme.example/orders', {
        headers: { authorization: `Bearer ${result.access_token}` },
      })
      const claims = await oauth.validateJwtAccessToken(as, request, API, insecure)
      assert.equal(claims.client_id, clientId)
      assert.deepEqual(claims['roles'], ['orders.read', 'orders.write'])

      const response = await oauth.introspectionRequest(
        as,
        party,
        auth(),
        result.access_token,
        insecure,
      )
      const introspected = await oauth.processIntrospectionResponse(as, party, response)
      assert.equal(introspected.active, true)
      assert.equal(introspected.sub, 'alice')
    })
  }

  test('oauth4webapi shows the refusal of an expired token as the OAuth error it is', async () => {
    const as = await discover()
    const now = Math.floor(Date.now() / 1000)
    const expired = await world.idp.mint('alice', { iat: now - 1000, exp: now - 500 })
    const response = await oauth.genericTokenEndpointRequest(
      as,
      { client_id: CLIENT },
      oauth.ClientSecretBasic(world.sts.clientSecret),
      EXCHANGE,
      { subject_token: expired, subject_token_type: JWT_TYPE },
      insecure,
    )
    await assert.rejects(
      oauth.processGenericTokenEndpointResponse(as, { client_id: CLIENT }, response),
      (error: unknown) =>
        error instanceof oauth.ResponseBodyError && error.error === 'invalid_request',
    )
  })

  for (const [how, clientId, auth] of [
    ['a secret', CLIENT, () => client.ClientSecretBasic(world.sts.clientSecret)],
    [
      'private_key_jwt',
      ASSERTING,
      () => client.PrivateKeyJwt({ key: world.assertionKey, kid: 'batch-1' }),
    ],
  ] as const) {
    test(`openid-client discovers, exchanges with ${how} and introspects`, async () => {
      const config = await client.discovery(new URL(world.issuer), clientId, undefined, auth(), {
        algorithm: 'oauth2',
        execute: [client.allowInsecureRequests],
      })
      const result = await client.genericGrantRequest(config, EXCHANGE, await exchangeForm())
      const introspected = await client.tokenIntrospection(config, result.access_token)
      assert.equal(introspected.active, true)
      assert.equal(introspected.client_id, clientId)
    })
  }

  test('jose verifies the token with the published keys', async () => {
    const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`))
    const token = await world.sts.exchange(await exchangeForm())
    const { payload } = await jwtVerify(token, keys, {
      issuer: world.issuer,
      audience: API,
      typ: 'at+jwt',
    })
    assert.equal(payload.sub, 'alice')
  })
})

/** Which verifier knows which algorithm: jsonwebtoken has no EdDSA. */
const VERIFIERS = {
  jsonwebtoken: ['ES256', 'ES384', 'RS256', 'PS256'],
  'fast-jwt': ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'],
  PyJWT: ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'],
} as const satisfies Record<string, readonly SigningAlgorithm[]>

describe('tokens of every algorithm in libraries of others', () => {
  for (const algorithm of ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const) {
    describe(algorithm, () => {
      let world: World
      let token: string
      let pem: string
      before(async () => {
        world = await openWorld(algorithm)
        token = await world.sts.exchange({ subject_token: await world.idp.tokenFor('alice') })
        const jwks = await publishedKeys(world.issuer)
        const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString())
        const jwk = jwks.find((key) => key['kid'] === kid)
        assert.ok(jwk, 'the key of the token is published')
        pem = createPublicKey({ key: jwk, format: 'jwk' })
          .export({ type: 'spki', format: 'pem' })
          .toString()
        assert.ok((await exportJWK(createPublicKey(pem))).kty)
      })
      after(() => closeWorld(world))

      test(`jose verifies ${algorithm}`, async () => {
        const { payload } = await jwtVerify(
          token,
          createRemoteJWKSet(new URL(`${world.issuer}/jwks`)),
          { audience: API },
        )
        assert.equal(payload.sub, 'alice')
      })

      test(`jsonwebtoken verifies ${algorithm}, where it knows it`, () => {
        const known = VERIFIERS.jsonwebtoken.find((name) => name === algorithm)
        if (known === undefined) return assert.equal(algorithm, 'EdDSA')
        const payload = jsonwebtoken.verify(token, pem, {
          algorithms: [known],
          audience: API,
          issuer: world.issuer,
        })
        assert.equal(payload.sub, 'alice')
      })

      test(`fast-jwt verifies ${algorithm}`, async () => {
        const verify = createVerifier({
          key: async () => pem,
          algorithms: [algorithm],
          allowedAud: API,
          allowedIss: world.issuer,
        })
        const payload: { sub?: unknown } = await verify(token)
        assert.equal(payload.sub, 'alice')
      })

      suiteNeeding(`PyJWT verifies ${algorithm}`, pythonWithPyJwt, (python) => {
        test(`PyJWT verifies ${algorithm} and refuses a changed token`, () => {
          const script = [
            'import sys, json, jwt',
            'd = json.load(sys.stdin)',
            'ok = jwt.decode(d["token"], d["pem"], algorithms=[d["alg"]], audience=d["aud"], issuer=d["iss"])',
            'changed = d["token"][:-8] + ("A" * 8 if d["token"][-8:] != "A" * 8 else "B" * 8)',
            'try:',
            '    jwt.decode(changed, d["pem"], algorithms=[d["alg"]], audience=d["aud"])',
            '    print("accepted a changed token")',
            'except jwt.InvalidTokenError:',
            '    print(ok["sub"])',
          ].join('\n')
          const input = JSON.stringify({ token, pem, alg: algorithm, aud: API, iss: world.issuer })
          assert.equal(
            execFileSync(python, ['-c', script], { input, encoding: 'utf8' }).trim(),
            'alice',
          )
        })
      })
    })
  }
})

async function publishedKeys(issuer: string): Promise<Record<string, unknown>[]> {
  const document: unknown = await (await fetch(`${issuer}/jwks`)).json()
  assert.ok(
    document !== null &&
      typeof document === 'object' &&
      'keys' in document &&
      Array.isArray(document.keys),
  )
  return document.keys
}
