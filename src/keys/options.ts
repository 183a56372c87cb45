import Type, { type Static } from 'typebox'
import {
  choice,
  count,
  duration,
  group,
  milliseconds,
  named,
  oneOf,
  seconds,
  secret,
  text,
} from '../lib/option.ts'
import type { Secret } from '../lib/secret.ts'
import {
  toVaultOptions,
  type VaultOptions,
  vaultStoreSchema,
  vaultTransitSchema,
} from './vault-options.ts'

export type { VaultOptions } from './vault-options.ts'

/** Algorithms we sign with. ES256 is what nearly every verifier accepts (RFC 7518 §3.4). */
export const SIGNING_ALGORITHMS = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const

/** An algorithm we can sign with. */
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/** What counts when a key is left out; the rules of `config/rules/keys.ts` look at the same values. */
export const KEY_DEFAULTS = {
  rotateEvery: '30d',
  publishAhead: '24h',
  jwksMaxAge: '5m',
  jwksStaleIfError: '12h',
  cacheMaxAge: '72h',
} as const

const storeSchema = oneOf(
  {
    sealed: group(
      {
        kek: secret({
          description: 'Key-encryption key: 32 bytes, base64, base64url or hex.',
          reload: 'restart',
        }),
      },
      {
        description:
          'Private halves in the SQL store, sealed with AES-256-GCM under one data key per kid.',
      },
    ),
    vault: vaultStoreSchema,
  },
  { description: 'Where the private halves of signing keys are kept.' },
)

const signerSchema = Type.Union(
  [
    choice({ description: 'In this process.', reload: 'restart' }, ['local']),
    oneOf(
      {
        vaultTransit: vaultTransitSchema,
      },
      { description: 'A remote signer; `keys.store` is then left out.' },
    ),
  ],
  {
    description: 'Who computes signatures.',
    'x-reload': 'restart',
    default: 'local',
  },
)

const cacheSchema = group(
  {
    file: text({
      description: "The file; a relative path starts at this file's folder.",
      reload: 'restart',
    }),
    kek: secret({
      description:
        'Key-encryption key of that file: 32 bytes, base64, base64url or hex; none that is used elsewhere.',
      reload: 'restart',
    }),
    maxAge: Type.Optional(
      duration({
        description: 'How long after Vault last confirmed a key its copy may be used.',
        reload: 'restart',
        default: KEY_DEFAULTS.cacheMaxAge,
      }),
    ),
  },
  {
    description:
      'A sealed copy of the private halves in a file, so that a replica can start while Vault is down. Left out: no copy.',
  },
)

const jwksSchema = group(
  {
    maxAge: Type.Optional(
      duration({
        description: '`max-age` of our JWK Set (RFC 9111 §5.2.2.1), 1 s to 24 h.',
        reload: 'restart',
        default: KEY_DEFAULTS.jwksMaxAge,
      }),
    ),
    staleIfError: Type.Optional(
      duration({
        description: '`stale-if-error` of our JWK Set (RFC 5861 §4).',
        reload: 'restart',
        default: KEY_DEFAULTS.jwksStaleIfError,
      }),
    ),
  },
  { description: 'How long verifiers may keep our public keys.' },
)

/** The `keys` section. */
export const keysSchema = group(
  {
    store: Type.Optional(storeSchema),
    signer: Type.Optional(signerSchema),
    cache: Type.Optional(cacheSchema),
    algorithm: Type.Optional(
      choice(
        { description: 'Algorithm of the tokens we issue.', reload: 'restart', default: 'ES256' },
        [...SIGNING_ALGORITHMS],
      ),
    ),
    perTarget: Type.Optional(
      named(
        choice({ description: 'Algorithm of tokens for this audience.', reload: 'restart' }, [
          ...SIGNING_ALGORITHMS,
        ]),
        {
          description: 'Another algorithm for single audiences, by audience.',
          pattern: '^\\S{1,512}$',
        },
      ),
    ),
    rotateEvery: Type.Optional(
      duration({
        description:
          'How long a key signs before its successor takes over: at least 6 × the longest `tokens.ttl`, at most 400d.',
        reload: 'restart',
        default: KEY_DEFAULTS.rotateEvery,
      }),
    ),
    publishAhead: Type.Optional(
      duration({
        description:
          'How long a key is in JWKS before it may sign: at least 2 × `jwks.maxAge` + `jwks.staleIfError` + `limits.skew` + 2s (for the replicas to hear of it), at least what the longest `caches` of a consumer says, and in profile `production` at least 24h.',
        reload: 'restart',
        default: KEY_DEFAULTS.publishAhead,
      }),
    ),
    successors: Type.Optional(
      count({
        description:
          'Published keys kept ready to take over. Left out: 2 in profile `production`, which takes no fewer, and 1 in `dev`.',
        reload: 'restart',
        minimum: 1,
        maximum: 5,
      }),
    ),
    jwks: Type.Optional(jwksSchema),
  },
  { description: 'Our signing keys.' },
)

/** Where private halves are kept. */
export type KeyStoreOptions =
  | { readonly kind: 'sealed'; readonly kek: Secret }
  | {
      readonly kind: 'vault'
      readonly vault: VaultOptions
      /** Of the KV v2 engine. */
      readonly mount: string
      readonly path: string
      /** A Transit key that seals what is kept once more. */
      readonly wrapWith: { readonly mount: string; readonly key: string } | undefined
    }

/** Who signs. */
export type KeySignerOptions =
  | { readonly kind: 'local' }
  | {
      readonly kind: 'vault-transit'
      readonly vault: VaultOptions
      /** Of the Transit engine. */
      readonly mount: string
      /** What the names of our Transit keys begin with. */
      readonly prefix: string
      readonly timeoutMilliseconds: number
    }

/** A sealed copy of private halves. */
export interface KeyCacheOptions {
  readonly file: string
  readonly kek: Secret
  /** Since the store last confirmed a key. */
  readonly maxAgeMilliseconds: number
}

/** Settings of the key ring. */
export interface KeyOptions {
  /** Undefined with a remote signer, and only then. */
  readonly store: KeyStoreOptions | undefined
  readonly signer: KeySignerOptions
  readonly cache: KeyCacheOptions | undefined
  readonly algorithm: SigningAlgorithm
  /** Algorithm by audience, where it differs. */
  readonly perTarget: Readonly<Record<string, SigningAlgorithm>>
  readonly rotateEveryMilliseconds: number
  readonly publishAheadMilliseconds: number
  /** Published keys kept ready for each algorithm. */
  readonly successors: number
  readonly jwksMaxAgeSeconds: number
  readonly jwksStaleIfErrorSeconds: number
}

type KeyValues = Static<typeof keysSchema>

/** Published keys kept ready when nobody says how many: in production one of them may be found compromised, and a key is ready still. */
export function defaultSuccessors(isProduction: boolean): number {
  return isProduction ? 2 : 1
}

/**
 * Turns the checked `keys` section into {@link KeyOptions}. `pathFrom` resolves the path of a file.
 */
export function toKeyOptions(
  config: KeyValues = {},
  isProduction: boolean,
  pathFrom: (path: string) => string,
): KeyOptions {
  return {
    store: toStore(config.store, pathFrom),
    signer: toSigner(config.signer, pathFrom),
    cache: config.cache && {
      file: pathFrom(config.cache.file),
      kek: config.cache.kek,
      maxAgeMilliseconds: milliseconds(config.cache.maxAge ?? KEY_DEFAULTS.cacheMaxAge),
    },
    algorithm: config.algorithm ?? 'ES256',
    perTarget: config.perTarget ?? {},
    rotateEveryMilliseconds: milliseconds(config.rotateEvery ?? KEY_DEFAULTS.rotateEvery),
    publishAheadMilliseconds: milliseconds(config.publishAhead ?? KEY_DEFAULTS.publishAhead),
    successors: config.successors ?? defaultSuccessors(isProduction),
    jwksMaxAgeSeconds: seconds(config.jwks?.maxAge ?? KEY_DEFAULTS.jwksMaxAge),
    jwksStaleIfErrorSeconds: seconds(config.jwks?.staleIfError ?? KEY_DEFAULTS.jwksStaleIfError),
  }
}

function toStore(
  config: KeyValues['store'],
  pathFrom: (path: string) => string,
): KeyStoreOptions | undefined {
  if (config?.sealed) return { kind: 'sealed', kek: config.sealed.kek }
  if (!config?.vault) return undefined
  const { mount = 'rolemint', path = 'keys', wrapWith, ...vault } = config.vault
  return {
    kind: 'vault',
    vault: toVaultOptions(vault, pathFrom),
    mount,
    path,
    wrapWith: wrapWith && { mount: wrapWith.mount ?? 'transit', key: wrapWith.key },
  }
}

function toSigner(
  config: KeyValues['signer'],
  pathFrom: (path: string) => string,
): KeySignerOptions {
  if (typeof config !== 'object' || !config.vaultTransit) return { kind: 'local' }
  const { mount = 'transit', prefix = 'rolemint', timeout = '1s', ...vault } = config.vaultTransit
  return {
    kind: 'vault-transit',
    vault: toVaultOptions(vault, pathFrom),
    mount,
    prefix,
    timeoutMilliseconds: milliseconds(timeout),
  }
}
