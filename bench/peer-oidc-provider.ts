/**
 * The peer: panva's oidc-provider, as somebody would make a token service of it. A registered token-exchange grant
 * verifies the subject token with jose, takes roles from memory and issues a JWT access token; introspection is for
 * opaque tokens, because it refuses JWTs. Its stores are in memory and it records nothing, which flatters it.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { createLocalJWKSet, type JWTPayload, jwtVerify } from 'jose'
import {
  errors,
  Provider,
  type ResourceServer,
  type TokenEndpointGrantContext,
} from 'oidc-provider'
import { createIdpStore } from '../demo/idp-store.ts'
import { jsonObject, textIn } from '../demo/json.ts'
import {
  BENCH_AUDIENCE,
  BENCH_CLIENT,
  BENCH_ISSUER,
  BENCH_TARGET,
  upnOf,
} from './subject-tokens.ts'
import { BENCH_ROLES, EXCHANGE_GRANT, JWT_TYPE, OPAQUE_GRANT } from './vocabulary.ts'

const TOKEN_SECONDS = 12 * 3600
const TARGET: ResourceServer = {
  audience: BENCH_TARGET,
  scope: '',
  accessTokenFormat: 'jwt',
  accessTokenTTL: TOKEN_SECONDS,
  jwt: { sign: { alg: 'ES256' } },
}

const settings = jsonObject(JSON.parse(process.env['BENCH_PEER'] ?? 'null'))
const port = Number(settings['port'])
const users = Number(settings['users'])
const idpKeys = createLocalJWKSet({
  keys: [{ kty: 'EC', ...jsonObject(settings['idpPublicJwk']) }],
})
const rolesByUpn = new Map(
  Array.from({ length: users }, (_, user) => [upnOf(user), BENCH_ROLES] as const),
)
const grantedClaims = new WeakMap<object, Record<string, unknown>>()

const provider = new Provider(`http://127.0.0.1:${port}`, {
  adapter: createIdpStore(),
  jwks: {
    keys: [generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })],
  },
  clients: [
    {
      client_id: BENCH_CLIENT,
      client_secret: textIn(settings, 'clientSecret'),
      token_endpoint_auth_method: 'client_secret_post',
      grant_types: [EXCHANGE_GRANT, OPAQUE_GRANT],
      response_types: [],
      redirect_uris: [],
      id_token_signed_response_alg: 'ES256',
    },
  ],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  extraTokenClaims: (_ctx, token) => grantedClaims.get(token),
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: { enabled: true, getResourceServerInfo: () => TARGET },
  },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  ttl: { AccessToken: TOKEN_SECONDS },
})

interface ExchangeParameters {
  subject_token?: string
  subject_token_type?: string
  resource?: string
}

provider.registerGrantType<ExchangeParameters>(EXCHANGE_GRANT, exchange, [
  'subject_token',
  'subject_token_type',
  'resource',
])
provider.registerGrantType(OPAQUE_GRANT, issueOpaque, [])

async function exchange(ctx: TokenEndpointGrantContext<ExchangeParameters>): Promise<void> {
  const { subject_token = '', subject_token_type, resource } = ctx.oidc.params
  if (subject_token_type !== JWT_TYPE) throw new errors.InvalidRequest('wrong subject_token_type')
  if (resource !== BENCH_TARGET) throw new errors.InvalidTarget()
  const claims = await verifySubject(subject_token)
  const { sub = '', upn } = claims
  const roles = typeof upn === 'string' ? rolesByUpn.get(upn) : undefined
  if (claims['azp'] !== ctx.oidc.client.clientId || !roles)
    throw new errors.InvalidRequest('the subject token cannot be exchanged')

  const token = new provider.AccessToken({
    accountId: sub,
    client: ctx.oidc.client,
    grantId: 'exchange',
    gty: EXCHANGE_GRANT,
  })
  token.resourceServer = new provider.ResourceServer(resource, TARGET)
  grantedClaims.set(token, { upn, roles, idp: claims.iss, auth_time: claims['auth_time'] })
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: TOKEN_SECONDS,
  }
}

async function verifySubject(token: string): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, idpKeys, {
      issuer: BENCH_ISSUER,
      audience: BENCH_AUDIENCE,
      algorithms: ['ES256'],
      requiredClaims: ['sub', 'exp', 'iat'],
      clockTolerance: 30,
    })
    return payload
  } catch {
    throw new errors.InvalidRequest('the subject token is not valid')
  }
}

/** An access token the peer is able to introspect. */
async function issueOpaque(ctx: TokenEndpointGrantContext): Promise<void> {
  const token = new provider.AccessToken({
    accountId: 'u-1',
    client: ctx.oidc.client,
    grantId: '',
    gty: OPAQUE_GRANT,
    aud: BENCH_TARGET,
  })
  grantedClaims.set(token, { upn: upnOf(1), roles: BENCH_ROLES })
  ctx.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: TOKEN_SECONDS }
}

const answer = provider.callback()
createServer((request, response) => void answer(request, response)).listen(port, '127.0.0.1', () =>
  process.send?.('ready'),
)
