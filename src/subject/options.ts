import Type, { type Static } from 'typebox'
import { bytes, duration, flag, group, seconds, size, text, texts, url } from '../lib/option.ts'

/** Signature algorithms we accept from outside (RFC 7518 §3.1, RFC 8037). Never HS*, never `none`. */
export const ALGORITHM_NAMES = [
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
] as const

/** A JWS algorithm name we can verify. */
export type AlgorithmName = (typeof ALGORITHM_NAMES)[number]

/** RS256 before PS256: a key that names no algorithm gets the first that fits it, and such keys are nearly always RS256. */
const DEFAULT_ALGORITHMS: AlgorithmName[] = ['ES256', 'ES384', 'RS256', 'PS256', 'PS384', 'EdDSA']

/** One trusted upstream issuer, under `tenants.<tenant>.idps.<name>`. */
export const idpSchema = group(
  {
    issuer: url({
      description:
        'The `iss` of its tokens, compared byte for byte (RFC 7519 §4.1.1). Keys come from its discovery document unless `jwksUri` or `jwks` is given.',
      reload: 'hot',
    }),
    audience: Type.Union(
      [
        text({ description: 'The audience.', reload: 'hot' }),
        texts({ description: 'Several audiences.', reload: 'hot', minItems: 1 }),
      ],
      {
        description:
          'Our name at this IdP: a token is accepted only if its `aud` holds one of these (RFC 7519 §4.1.3).',
        'x-reload': 'hot',
      },
    ),
    algorithms: Type.Optional(
      Type.Array(Type.Enum([...ALGORITHM_NAMES]), {
        description: 'Signature algorithms accepted from this IdP (RFC 8725 §3.1).',
        'x-reload': 'hot',
        default: DEFAULT_ALGORITHMS,
        minItems: 1,
        uniqueItems: true,
      }),
    ),
    jwksUri: Type.Optional(
      url({ description: "Where this IdP's keys are, instead of discovery.", reload: 'hot' }),
    ),
    jwks: Type.Optional(
      Type.Object(
        { keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) },
        {
          description: "This IdP's public keys, written here: no request is ever made.",
          'x-reload': 'hot',
        },
      ),
    ),
    user: Type.Optional(
      text({
        description:
          'The claim that names the user at the entitlement source. Unless it is `sub`, its value is the user principal name (`upn`) and must look like one.',
        reload: 'hot',
        default: 'sub',
      }),
    ),
    upnDomains: Type.Optional(
      texts({
        description:
          'Domains whose UPNs this IdP may present. Required from the second IdP of a tenant on.',
        reload: 'hot',
        minItems: 1,
      }),
    ),
    subjectPrefix: Type.Optional(
      text({
        description:
          "Put before the IdP's `sub` to make ours. Required from the second IdP of a tenant on, so that two IdPs never share a subject.",
        reload: 'hot',
        maxLength: 64,
      }),
    ),
    presenters: Type.Optional(
      texts({
        description:
          "`azp`/`client_id` values that may bring this IdP's tokens. Left out: only the client's own id. `[any]` accepts any presenter.",
        reload: 'hot',
        minItems: 1,
      }),
    ),
    requiredClaims: Type.Optional(
      texts({
        description: 'Claims that must be present besides `iss sub aud exp iat`.',
        reload: 'hot',
        default: [],
      }),
    ),
    onceOnly: Type.Optional(
      flag({
        description: 'Accept each token of this IdP once only, by its `jti` (else by its digest).',
        reload: 'hot',
        default: false,
      }),
    ),
    maxAge: Type.Optional(
      duration({
        description: 'How old a token may be (`iat`) when it is brought here.',
        reload: 'hot',
        default: '1h',
      }),
    ),
    disabled: Type.Optional(
      flag({ description: 'Refuse every token of this IdP.', reload: 'hot', default: false }),
    ),
  },
  { description: 'A trusted identity provider.' },
)

/** Where the keys of an IdP come from; exactly one per IdP, never from the token. */
export type KeySource =
  | { readonly kind: 'discovery'; readonly issuer: string }
  | { readonly kind: 'jwksUri'; readonly uri: string }
  | { readonly kind: 'inline'; readonly jwks: unknown }

/** A trusted identity provider, as the subject room uses it. */
export interface Idp {
  readonly name: string
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly algorithms: readonly AlgorithmName[]
  readonly keySource: KeySource
  /** Claim that names the user at the entitlement source. */
  readonly userClaim: string
  /** Lower-case domains whose UPNs it may present; undefined means any. */
  readonly upnDomains: readonly string[] | undefined
  readonly subjectPrefix: string
  /** Allowed presenters; undefined means the requesting client's own id; `any` means no binding. */
  readonly presenters: readonly string[] | 'any' | undefined
  readonly requiredClaims: readonly string[]
  readonly onceOnly: boolean
  readonly maxAgeSeconds: number
  readonly disabled: boolean
}

/** Turns a checked configuration section into an {@link Idp}. */
export function toIdp(name: string, config: Static<typeof idpSchema>): Idp {
  const presenters = config.presenters
  return {
    name,
    issuer: config.issuer,
    audiences: typeof config.audience === 'string' ? [config.audience] : config.audience,
    algorithms: config.algorithms ?? DEFAULT_ALGORITHMS,
    keySource: toKeySource(config),
    userClaim: config.user ?? 'sub',
    upnDomains: config.upnDomains?.map((domain) => domain.toLowerCase()),
    subjectPrefix: config.subjectPrefix ?? '',
    presenters: presenters?.length === 1 && presenters[0] === 'any' ? 'any' : presenters,
    requiredClaims: config.requiredClaims ?? [],
    onceOnly: config.onceOnly ?? false,
    maxAgeSeconds: seconds(config.maxAge ?? '1h'),
    disabled: config.disabled ?? false,
  }
}

function toKeySource(config: Static<typeof idpSchema>): KeySource {
  if (config.jwks) return { kind: 'inline', jwks: config.jwks }
  if (config.jwksUri) return { kind: 'jwksUri', uri: config.jwksUri }
  return { kind: 'discovery', issuer: config.issuer }
}

/** The part of `limits` that concerns incoming tokens. */
export const tokenLimitsSchema = {
  tokenBytes: Type.Optional(
    size({
      description: 'Longest token or assertion accepted, in bytes of its compact form.',
      reload: 'hot',
      default: '16KiB',
    }),
  ),
  skew: Type.Optional(
    duration({
      description: 'Clock difference tolerated in `exp`, `nbf`, `iat` (at most 60s).',
      reload: 'hot',
      default: '30s',
    }),
  ),
}

/** Bounds on incoming tokens. */
export interface TokenLimits {
  readonly tokenBytes: number
  readonly skewSeconds: number
}

/** Turns the checked `limits` section into {@link TokenLimits}. */
export function toTokenLimits(config: { tokenBytes?: string; skew?: string }): TokenLimits {
  return {
    tokenBytes: bytes(config.tokenBytes ?? '16KiB'),
    skewSeconds: seconds(config.skew ?? '30s'),
  }
}
