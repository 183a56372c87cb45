import { generateKeyPair, type KeyObject, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import {
  type AccessToken,
  type AdapterFactory,
  type BackchannelAuthenticationRequest,
  type CIBAConfiguration,
  type ClientCredentials,
  errors,
  type JWK,
  type KoaContextWithOIDC,
  Provider,
  type ResourceServer,
  type TokenEndpointGrantContext,
} from 'oidc-provider'
import { jsonObject } from './json.ts'
import type { DemoUser } from './users.ts'

export const CIBA_GRANT = 'urn:openid:params:grant-type:ciba'
/** A grant of our own: one call, any claims. For tests; real IdPs have nothing like it. */
export const MINT_GRANT = 'urn:rolemint:demo:mint'

/** Algorithms the demo IdP has a key for. */
export type IdpAlgorithm = 'ES256' | 'RS256'

/** What the demo IdP is made of; see `startDemoIdp` for what each means. */
export interface IdpSettings {
  readonly issuer: string
  readonly audience: string
  readonly clientId: string
  readonly clientSecret: string
  readonly users: ReadonlyMap<string, DemoUser>
  readonly tokenSeconds: number
  readonly adapter: AdapterFactory
  /** Signing keys, newest first; the others are only published. */
  readonly keys: readonly JWK[]
  readonly onError: (error: Error) => void
}

/**
 * The resource indicator (RFC 8707) that selects the signing algorithm of an access token. It must be an absolute
 * URI, while the `aud` it leads to may be a plain name.
 */
export function resourceFor(algorithm: IdpAlgorithm): string {
  return `urn:rolemint:demo:${algorithm}`
}

/** A fresh key pair for each algorithm. RSA takes long, so both are made on the thread pool at once. */
export async function generateIdpKeys(): Promise<JWK[]> {
  const generate = promisify(generateKeyPair)
  const pairs = await Promise.all([
    generate('ec', { namedCurve: 'P-256' }),
    generate('rsa', { modulusLength: 2048 }),
  ])
  return [toJwk(pairs[0].privateKey, 'ES256'), toJwk(pairs[1].privateKey, 'RS256')]
}

function toJwk(key: KeyObject, alg: IdpAlgorithm): JWK {
  const kid = `demo-${alg.toLowerCase()}-${randomBytes(6).toString('hex')}`
  const { kty = '', ...members } = key.export({ format: 'jwk' })
  return { ...members, kty, alg, use: 'sig', kid }
}

/** An oidc-provider with one confidential client that gets users' tokens by CIBA poll: a standard flow that needs no browser. */
export function createIdpProvider(settings: IdpSettings): Provider {
  // Claims that replace what the provider computed, by the token they are for.
  const overrides = new WeakMap<object, Record<string, unknown>>()
  const provider = new Provider(settings.issuer, {
    adapter: settings.adapter,
    jwks: { keys: [...settings.keys] },
    clients: [
      {
        client_id: settings.clientId,
        client_secret: settings.clientSecret,
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: [CIBA_GRANT, MINT_GRANT],
        response_types: [],
        redirect_uris: [],
        id_token_signed_response_alg: 'ES256',
        backchannel_token_delivery_mode: 'poll',
      },
    ],
    findAccount: (_ctx, name) => toAccount(settings.users.get(name)),
    claims: { openid: ['sub', 'upn', 'email'] },
    // The ID token carries `upn` itself: a token service does not call a userinfo endpoint.
    conformIdTokenClaims: false,
    extraTokenClaims: (ctx, token) => extraClaims(settings.users, ctx, token),
    formats: {
      customizers: {
        jwt: (_ctx, token, parts) => {
          Object.assign(parts.payload, overrides.get(token))
          for (const [name, value] of Object.entries(parts.payload))
            if (value === null) delete parts.payload[name]
        },
      },
    },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resourceFor('ES256'),
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, indicator) => resourceServer(settings, indicator),
      },
      ciba: createCiba(settings, () => provider),
    },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    clientBasedCORS: () => false,
    renderError: (ctx, out) => {
      ctx.type = 'json'
      ctx.body = out
    },
    ttl: {
      AccessToken: settings.tokenSeconds,
      IdToken: settings.tokenSeconds,
      BackchannelAuthenticationRequest: 60,
      Grant: settings.tokenSeconds,
      Interaction: 60,
      Session: 60,
    },
  })
  provider.registerGrantType<MintParameters>(
    MINT_GRANT,
    (ctx) => mintToken(settings, provider, overrides, ctx),
    ['user', 'claims', 'resource'],
  )
  provider.on('server_error', (_ctx, error) => settings.onError(error))
  return provider
}

/** CIBA Core 1.0 in poll mode. Every user consents at once: what a phone would ask is not what the demo is about. */
function createCiba(settings: IdpSettings, provider: () => Provider): CIBAConfiguration {
  return {
    enabled: true,
    deliveryModes: ['poll'],
    processLoginHint: (_ctx, hint) => settings.users.get(hint ?? '')?.name,
    processLoginHintToken: () => {
      throw new errors.InvalidRequest('login_hint_token is not supported, use login_hint')
    },
    verifyUserCode: () => undefined,
    validateBindingMessage: () => undefined,
    validateRequestContext: () => undefined,
    async triggerAuthenticationDevice(_ctx, request: BackchannelAuthenticationRequest) {
      const { accountId } = request
      const { clientId } = settings
      const grant = new (provider().Grant)({ accountId, clientId })
      grant.addOIDCScope('openid')
      // An unsaved grant leaves the request pending for ever.
      await grant.save()
      const authTime = Math.floor(Date.now() / 1000)
      await provider().backchannelResult(request, grant, { authTime, acr: 'demo', amr: ['demo'] })
    },
  }
}

function resourceServer(settings: IdpSettings, indicator: string): ResourceServer {
  const algorithm = (['ES256', 'RS256'] as const).find((name) => resourceFor(name) === indicator)
  const key = settings.keys.find((candidate) => candidate.alg === algorithm)
  if (!algorithm || key?.kid === undefined) throw new errors.InvalidTarget()
  return {
    audience: settings.audience,
    scope: '',
    accessTokenFormat: 'jwt',
    accessTokenTTL: settings.tokenSeconds,
    jwt: { sign: { alg: algorithm, kid: key.kid } },
  }
}

interface MintParameters {
  user?: string
  /** JSON object; its members replace those of the token, `null` removes one. */
  claims?: string
  resource?: string
}

async function mintToken(
  settings: IdpSettings,
  provider: Provider,
  overrides: WeakMap<object, Record<string, unknown>>,
  ctx: TokenEndpointGrantContext<MintParameters>,
): Promise<void> {
  const { user = '', claims = '{}', resource = resourceFor('ES256') } = ctx.oidc.params
  if (!settings.users.has(user)) throw new errors.InvalidRequest('user is not known here')
  const token = new provider.AccessToken({
    accountId: user,
    client: ctx.oidc.client,
    grantId: 'minted',
    gty: MINT_GRANT,
  })
  token.resourceServer = new provider.ResourceServer(resource, resourceServer(settings, resource))
  overrides.set(token, jsonObject(JSON.parse(claims)))
  ctx.body = { access_token: await token.save(), token_type: 'Bearer' }
}

function toAccount(user: DemoUser | undefined) {
  if (!user) return undefined
  const claims = () => ({ sub: user.name, upn: user.upn, email: user.upn })
  return { accountId: user.name, claims }
}

function extraClaims(
  users: ReadonlyMap<string, DemoUser>,
  ctx: KoaContextWithOIDC,
  token: AccessToken | ClientCredentials,
) {
  const user = token.kind === 'AccessToken' ? users.get(token.accountId) : undefined
  if (!user) return undefined
  const request = ctx.oidc.entities.BackchannelAuthenticationRequest
  return {
    upn: user.upn,
    email: user.upn,
    auth_time: request?.authTime ?? Math.floor(Date.now() / 1000),
    acr: 'demo',
    amr: ['demo'],
  }
}
