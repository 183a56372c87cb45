import Type, { type Static } from 'typebox'
import { flag, group, oneOf, text, texts, url } from '../lib/option.ts'

/** What a client may be allowed to do besides exchanging. */
export const GRANT_NAMES = [
  'exchange',
  'refresh',
  'introspect',
  'introspect-any',
  'revoke',
  'feed',
] as const

/** One permission of a client. */
export type GrantName = (typeof GRANT_NAMES)[number]

/** One client, under `tenants.<tenant>.clients.<id>`. */
export const clientSchema = group(
  {
    auth: Type.Union(
      [
        Type.Literal('public', {
          description:
            'No credential: the client is named by the `azp` of the subject token it brings.',
        }),
        oneOf(
          {
            privateKeyJwt: oneOf(
              {
                jwksUri: url({ description: "Where the client's public keys are.", reload: 'hot' }),
                jwks: Type.Object(
                  { keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) },
                  { description: "The client's public keys, written here.", 'x-reload': 'hot' },
                ),
              },
              { description: 'Signed assertions (RFC 7523 §2.2, RFC 10070).' },
            ),
            clientSecret: group(
              {
                sha256: Type.Array(Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }), {
                  description:
                    'SHA-256 of each live secret, base64url, as printed by `rolemint client secret new`. Two, so that one can be rotated.',
                  'x-reload': 'hot',
                  minItems: 1,
                  maxItems: 2,
                  uniqueItems: true,
                }),
              },
              {
                description:
                  'A secret made by rolemint (RFC 6749 §2.3.1), by Basic or in the body.',
              },
            ),
            mtls: group(
              {
                subjectDn: Type.Optional(
                  text({ description: 'Subject DN of its certificate.', reload: 'hot' }),
                ),
              },
              { description: 'Mutual TLS (RFC 8705).' },
            ),
          },
          { description: 'How it proves who it is; exactly one way.' },
        ),
      ],
      { description: 'How the client proves who it is.', 'x-reload': 'hot' },
    ),
    idps: Type.Optional(
      texts({
        description: 'IdPs whose tokens it may bring. Left out: none.',
        reload: 'hot',
        default: [],
      }),
    ),
    grants: Type.Optional(
      Type.Array(Type.Enum([...GRANT_NAMES]), {
        description:
          'What it may do. `introspect` is limited to tokens for its `resourceFor`; `introspect-any` is not.',
        'x-reload': 'hot',
        default: ['exchange'],
        uniqueItems: true,
      }),
    ),
    exchangeOwn: Type.Optional(
      flag({
        description: 'It may exchange tokens that we issued, for narrower ones.',
        reload: 'hot',
        default: false,
      }),
    ),
    audiences: Type.Optional(
      texts({
        description:
          'Targets it may ask for; the first is used when it asks for none (RFC 9068 §3).',
        reload: 'hot',
        default: [],
      }),
    ),
    scopes: Type.Optional(
      texts({
        description: 'Scopes it may ask for (RFC 8693 §2.1). Left out: none.',
        reload: 'hot',
        default: [],
      }),
    ),
    roles: Type.Optional(
      texts({
        description: 'Ceiling: its tokens never carry a role outside this list. Left out: none.',
        reload: 'hot',
        default: [],
      }),
    ),
    actors: Type.Optional(
      texts({
        description:
          'Subjects that may act for others through this client although the subject token has no `may_act` (RFC 8693 §4.4).',
        reload: 'hot',
        default: [],
      }),
    ),
    resourceFor: Type.Optional(
      texts({
        description: 'Audiences it serves as resource server, for `introspect`.',
        reload: 'hot',
        default: [],
      }),
    ),
    disabled: Type.Optional(
      flag({ description: 'Refuse everything it asks.', reload: 'hot', default: false }),
    ),
  },
  { description: 'Who may call the token endpoint, how, and for what.' },
)

/** Where a client's assertion keys come from. */
export type AssertionKeys =
  | { readonly kind: 'jwksUri'; readonly uri: string }
  | { readonly kind: 'inline'; readonly jwks: unknown }

/** How a client authenticates. */
export type ClientAuth =
  | { readonly method: 'private_key_jwt'; readonly keys: AssertionKeys }
  | { readonly method: 'client_secret'; readonly sha256: readonly Buffer[] }
  | { readonly method: 'public' }

/** A registered client. */
export interface Client {
  readonly id: string
  readonly auth: ClientAuth
  readonly idps: readonly string[]
  readonly grants: ReadonlySet<GrantName>
  readonly exchangeOwn: boolean
  /** Targets it may ask for; the first is the default. */
  readonly audiences: readonly string[]
  readonly scopes: readonly string[]
  /** Role ceiling. */
  readonly roles: readonly string[]
  readonly actors: readonly string[]
  readonly resourceFor: readonly string[]
  readonly disabled: boolean
}

/** Turns a checked configuration section into a {@link Client}. @throws {TypeError} for `mtls`, which the loader refuses first. */
export function toClient(id: string, config: Static<typeof clientSchema>): Client {
  return {
    id,
    auth: toAuth(config.auth),
    idps: config.idps ?? [],
    grants: new Set(config.grants ?? ['exchange']),
    exchangeOwn: config.exchangeOwn ?? false,
    audiences: config.audiences ?? [],
    scopes: config.scopes ?? [],
    roles: config.roles ?? [],
    actors: config.actors ?? [],
    resourceFor: config.resourceFor ?? [],
    disabled: config.disabled ?? false,
  }
}

function toAuth(auth: Static<typeof clientSchema>['auth']): ClientAuth {
  if (auth === 'public') return { method: 'public' }
  if (auth.clientSecret) {
    return {
      method: 'client_secret',
      sha256: auth.clientSecret.sha256.map((digest) => Buffer.from(digest, 'base64url')),
    }
  }
  if (auth.privateKeyJwt?.jwksUri)
    return { method: 'private_key_jwt', keys: { kind: 'jwksUri', uri: auth.privateKeyJwt.jwksUri } }
  if (auth.privateKeyJwt?.jwks)
    return { method: 'private_key_jwt', keys: { kind: 'inline', jwks: auth.privateKeyJwt.jwks } }
  throw new TypeError('client authentication by mTLS is not available in this version')
}
