import Type, { type Static } from 'typebox'
import {
  choice,
  duration,
  group,
  milliseconds,
  named,
  oneOf,
  secret,
  text,
  url,
} from '../lib/option.ts'
import type { Secret } from '../lib/secret.ts'

/** Algorithms we sign with. ES256 is what nearly every verifier accepts (RFC 7518 §3.4). */
export const SIGNING_ALGORITHMS = ['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'] as const

/** An algorithm we can sign with. */
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]

/** The `keys` section. */
export const keysSchema = group(
  {
    store: Type.Optional(
      oneOf(
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
          vault: group(
            {
              addr: url({ description: 'Address of Vault or OpenBao.', reload: 'restart' }),
              auth: Type.Optional(
                Type.Unknown({ description: 'How rolemint logs in.', 'x-reload': 'restart' }),
              ),
              mount: Type.Optional(
                text({ description: 'Mount of the KV v2 engine.', reload: 'restart' }),
              ),
              path: Type.Optional(
                text({ description: 'Path below the mount.', reload: 'restart' }),
              ),
              namespace: Type.Optional(
                text({ description: 'Vault namespace.', reload: 'restart' }),
              ),
            },
            { description: 'Private halves in Vault/OpenBao; not available yet.' },
          ),
        },
        { description: 'Where the private halves of signing keys are kept.' },
      ),
    ),
    signer: Type.Optional(
      Type.Union(
        [
          choice({ description: 'In this process.', reload: 'restart' }, ['local']),
          oneOf(
            {
              vaultTransit: group(
                {
                  mount: Type.Optional(
                    text({ description: 'Mount of the Transit engine.', reload: 'restart' }),
                  ),
                },
                { description: 'Vault Transit; not available yet.' },
              ),
            },
            { description: 'A remote signer.' },
          ),
        ],
        { description: 'Who computes signatures.', 'x-reload': 'restart', default: 'local' },
      ),
    ),
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
          'How often the signing key changes (the automatic life is not available yet; `keys rotate` is).',
        reload: 'restart',
        default: '30d',
      }),
    ),
    publishAhead: Type.Optional(
      duration({
        description: 'How long a key is in JWKS before it may sign.',
        reload: 'restart',
        default: '24h',
      }),
    ),
  },
  { description: 'Our signing keys.' },
)

/** Settings of the key ring. */
export interface KeyOptions {
  readonly kek: Secret | undefined
  readonly algorithm: SigningAlgorithm
  /** Algorithm by audience, where it differs. */
  readonly perTarget: Readonly<Record<string, SigningAlgorithm>>
  readonly publishAheadMilliseconds: number
}

/** Turns the checked `keys` section into {@link KeyOptions}. */
export function toKeyOptions(config: Static<typeof keysSchema> | undefined): KeyOptions {
  return {
    kek: config?.store?.sealed?.kek,
    algorithm: config?.algorithm ?? 'ES256',
    perTarget: config?.perTarget ?? {},
    publishAheadMilliseconds: milliseconds(config?.publishAhead ?? '24h'),
  }
}
