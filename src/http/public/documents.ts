import Type from 'typebox'
import type { Tenant } from '../../tenant/tenant.ts'
import { conditional, type TaggedDocument, tagged } from '../conditional.ts'
import type { ParameterFacts } from '../operation.ts'
import { tenantOf } from '../request-scope.ts'
import { CROSS_ORIGIN } from '../security-headers.ts'
import type { PublicDeps } from './deps.ts'
import { type MetadataOptions, openidConfiguration, serverMetadata } from './metadata.ts'
import type { PublicRoute } from './route.ts'
import { JWKS, METADATA } from './schemas.ts'

/** Metadata changes with a deployment only. */
const CACHED = { 'cache-control': 'public, max-age=300, stale-if-error=43200' } as const

const IF_NONE_MATCH: ParameterFacts = {
  name: 'If-None-Match',
  in: 'header',
  description: 'Entity tag of the copy at hand.',
  schema: Type.String(),
}

const CONSUMER: ParameterFacts = {
  name: 'consumer',
  in: 'query',
  description: 'The configured name of the verifier that asks, for the census of key sets.',
  schema: Type.String(),
}

/** GET /jwks and its alias (RFC 7517 §5). */
export function jwksRoutes({
  jwks,
  jwksFetched,
}: Pick<PublicDeps, 'jwks' | 'jwksFetched'>): readonly PublicRoute[] {
  const type = 'application/jwk-set+json'
  return ['/jwks', '/.well-known/jwks.json'].map((path) => ({
    method: 'GET',
    path,
    errors: 'oauth',
    cors: true,
    operation: {
      id: path === '/jwks' ? 'jwks' : 'jwksAlias',
      summary: 'Public keys of the tokens issued here (RFC 7517)',
      security: [],
      parameters: [IF_NONE_MATCH, CONSUMER],
      answers: {
        200: { type, schema: JWKS },
        304: { description: 'The copy at hand is current.' },
      },
      refusals: [404, 405, 500, 503],
    },
    async handle({ scope, headers }) {
      const tenant = tenantOf(scope)
      const set = await jwks(tenant)
      const consumer = new URLSearchParams(scope.query).get('consumer')
      if (consumer !== null) jwksFetched(tenant, consumer, set)
      const { maxAgeSeconds, staleIfErrorSeconds } = set
      return conditional(set, headers['if-none-match'], {
        'content-type': type,
        // RFC 9111 §5.2.2.1 and RFC 5861 §4; publishAhead of the key ring covers both.
        'cache-control': `public, max-age=${maxAgeSeconds}, stale-if-error=${staleIfErrorSeconds}`,
        ...CROSS_ORIGIN,
      })
    },
  }))
}

/** Both metadata documents; a tenant's are written once, as a changed configuration brings a new tenant object. */
export function metadataRoutes(options: MetadataOptions): readonly PublicRoute[] {
  return [
    metadataRoute(
      '/.well-known/oauth-authorization-server',
      'serverMetadata',
      'Metadata of the issuer (RFC 8414)',
      (tenant) => serverMetadata(tenant, options),
    ),
    metadataRoute(
      '/.well-known/openid-configuration',
      'openidConfiguration',
      'The same for readers of OpenID discovery',
      (tenant) => openidConfiguration(tenant, options),
    ),
  ]
}

function metadataRoute(
  path: string,
  id: string,
  summary: string,
  write: (tenant: Tenant) => object,
): PublicRoute {
  const written = new WeakMap<Tenant, TaggedDocument>()
  const documentOf = (tenant: Tenant): TaggedDocument => {
    const document = written.get(tenant) ?? tagged(JSON.stringify(write(tenant)))
    written.set(tenant, document)
    return document
  }
  return {
    method: 'GET',
    path,
    errors: 'oauth',
    cors: true,
    operation: {
      id,
      summary,
      security: [],
      parameters: [IF_NONE_MATCH],
      answers: {
        200: { type: 'application/json', schema: METADATA },
        304: { description: 'The copy at hand is current.' },
      },
      refusals: [404, 405, 500],
    },
    handle: ({ scope, headers }) =>
      conditional(documentOf(tenantOf(scope)), headers['if-none-match'], {
        'content-type': 'application/json',
        ...CACHED,
        ...CROSS_ORIGIN,
      }),
  }
}
