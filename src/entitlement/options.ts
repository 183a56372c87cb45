import Type, { type Static } from 'typebox'
import {
  choice,
  count,
  duration,
  flag,
  group,
  milliseconds,
  oneOf,
  seconds,
  secret,
  text,
  texts,
  url,
} from '../lib/option.ts'
import { Secret } from '../lib/secret.ts'
import { batchSchema, type SourceBatch, toBatch } from './batch-options.ts'

const HEADER_NAME = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"

const limitedSchema = group(
  {
    roles: texts({
      description:
        'Roles, as the source names them, that anybody may have whom the source did not call unknown when it last answered.',
      reload: 'hot',
      minItems: 1,
    }),
    ttl: Type.Optional(
      duration({
        description: 'Longest life of a token with such roles.',
        reload: 'hot',
        default: '15m',
      }),
    ),
  },
  { description: 'What `onFailure: limited` grants.' },
)

/** One entitlement source, under `tenants.<tenant>.sources.<name>`. */
export const sourceSchema = group(
  {
    url: url({
      description: 'Address of the first page; `{user}` is replaced by the percent-encoded user.',
      reload: 'hot',
    }),
    idps: Type.Optional(
      texts({
        description: 'IdPs whose users this source knows. Left out: all of the tenant.',
        reload: 'hot',
        minItems: 1,
      }),
    ),
    auth: Type.Optional(
      oneOf(
        {
          bearer: secret({
            description: 'Sent as `Authorization: Bearer …` (RFC 6750 §2.1).',
            reload: 'hot',
          }),
          header: group(
            {
              name: text({
                description: 'Header name.',
                reload: 'hot',
                pattern: HEADER_NAME,
              }),
              value: secret({ description: 'Header value.', reload: 'hot' }),
            },
            { description: 'A header of your own, e.g. an API key.' },
          ),
        },
        { description: 'How we authenticate to the source.' },
      ),
    ),
    roles: text({
      description:
        'Where the roles are in the answer: member names joined by dots, `[*]` for every element, e.g. `items[*].role`.',
      reload: 'hot',
      pattern:
        '^[A-Za-z_$][\\w$-]*(\\[\\*\\])?(\\.[A-Za-z_$][\\w$-]*(\\[\\*\\])?)*$|^\\[\\*\\](\\.[A-Za-z_$][\\w$-]*(\\[\\*\\])?)*$',
    }),
    nextPage: Type.Optional(
      text({
        description:
          'Where the link to the next page is in the answer; absent, null or empty means last page. Links leave the configured origin never.',
        reload: 'hot',
      }),
    ),
    echo: Type.Optional(
      text({
        description:
          'Where the answer repeats the user; when given, an answer about somebody else is refused.',
        reload: 'hot',
      }),
    ),
    maxPages: Type.Optional(
      count({
        description: 'Most pages read for one user; more is a failure, never a partial answer.',
        reload: 'hot',
        default: 20,
        minimum: 1,
        maximum: 1000,
      }),
    ),
    consistency: Type.Optional(
      oneOf(
        {
          snapshot: text({
            description:
              'Where every page names the state it was read from, e.g. `meta.version`; all pages must name the same.',
            reload: 'hot',
          }),
          header: text({
            description: 'Response header in which every page names the state it was read from.',
            reload: 'hot',
            pattern: HEADER_NAME,
          }),
          recheck: flag({
            description:
              'Ask again, with If-None-Match, for all pages but the last once that was read; needs strong ETags.',
            reload: 'hot',
          }),
        },
        {
          description:
            'How a list that changes while it is read is noticed. It is then read once more, and a second change is a failure.',
        },
      ),
    ),
    batch: Type.Optional(batchSchema),
    concurrency: Type.Optional(
      count({
        description: 'Most connections to the source, and so most requests at a time.',
        reload: 'restart',
        default: 64,
        minimum: 1,
        maximum: 1024,
      }),
    ),
    timeout: Type.Optional(
      group(
        {
          connect: Type.Optional(
            duration({
              description: 'Longest wait for a connection.',
              reload: 'restart',
              default: '200ms',
            }),
          ),
          read: Type.Optional(
            duration({
              description:
                'Longest silence: until the head of an answer is there, and between two pieces of its body. Left out: as `total`.',
              reload: 'hot',
            }),
          ),
          total: Type.Optional(
            duration({
              description: 'Longest wait for all pages together, retries included.',
              reload: 'hot',
              default: '800ms',
            }),
          ),
        },
        { description: 'Deadlines of a look-up.' },
      ),
    ),
    cache: Type.Optional(
      group(
        {
          fresh: Type.Optional(
            duration({
              description:
                'How long an answer is used. In the last fifth of that time, from a moment that differs from user to user, a new one is fetched meanwhile.',
              reload: 'hot',
              default: '60s',
            }),
          ),
          stale: Type.Optional(
            duration({
              description:
                'How long after `fresh` it is still used, marked `stale`, while a new one is fetched; with `onFailure: deny` not once the source has failed.',
              reload: 'hot',
              default: '0s',
            }),
          ),
          staleIfError: Type.Optional(
            duration({
              description:
                'How long after `fresh` it is used, marked `stale`, when the source fails; with `onFailure: deny` not at all.',
              reload: 'hot',
              default: '0s',
            }),
          ),
          unknownUser: Type.Optional(
            duration({
              description: 'How long "no such user" is remembered; never used longer.',
              reload: 'hot',
              default: '30s',
            }),
          ),
        },
        { description: 'How long answers are kept.' },
      ),
    ),
    onFailure: Type.Optional(
      choice(
        {
          description:
            'What an unanswered look-up means: `deny` refuses with 503; `stale` uses the last answer as long as `cache.stale` and `cache.staleIfError` allow, then refuses; `limited` grants the roles of `limited` where no answer may be used any more. Token and ledger say which it was.',
          reload: 'hot',
          default: 'deny',
        },
        ['deny', 'stale', 'limited'],
      ),
    ),
    limited: Type.Optional(limitedSchema),
    webhook: Type.Optional(
      group(
        {
          secret: secret({
            description:
              'What calls are signed with: `whsec_` and at least 24 bytes in base64 (Standard Webhooks).',
            reload: 'hot',
          }),
        },
        {
          description:
            'Lets the source say that roles changed, at `POST {issuer}/v1/sources/{source}/changed`, so that they are asked for anew.',
        },
      ),
    ),
  },
  { description: 'An entitlement source: an HTTP API that knows which roles a user has.' },
)

/** How we authenticate to a source. */
export type SourceAuth = { readonly header: string; readonly value: Secret }

/** How a change of the list between two pages is noticed. */
export type Consistency =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'snapshot'
      readonly at: { readonly path: string } | { readonly header: string }
    }
  | { readonly kind: 'recheck' }

/** What stands in for the answers of a source that gives none. */
export interface LimitedRoles {
  readonly roles: readonly string[]
  /** Longest life of a token with such roles. */
  readonly ttlSeconds: number
}

/** An entitlement source as the entitlement room uses it. */
export interface Source {
  readonly name: string
  /** URL template; `{user}` stands for the percent-encoded user. */
  readonly url: string
  /** Names of the IdPs it serves; undefined means all of the tenant. */
  readonly idps: readonly string[] | undefined
  readonly auth: SourceAuth | undefined
  readonly rolesPath: string
  readonly nextPagePath: string | undefined
  readonly echoPath: string | undefined
  readonly maxPages: number
  readonly consistency: Consistency
  readonly batch: SourceBatch | undefined
  /** Connections to the source, and so requests under way. */
  readonly concurrency: number
  readonly connectMilliseconds: number
  /** Longest silence: until the head of an answer is there, and between two pieces of its body. */
  readonly readMilliseconds: number
  readonly totalMilliseconds: number
  readonly freshMilliseconds: number
  readonly staleMilliseconds: number
  readonly staleIfErrorMilliseconds: number
  readonly unknownUserMilliseconds: number
  readonly onFailure: 'deny' | 'stale' | 'limited'
  /** Undefined where none are listed: `limited` then refuses like `deny`. */
  readonly limited: LimitedRoles | undefined
  /** What calls of its webhook are signed with; undefined means that it may not call. */
  readonly webhookKey: Secret<Buffer> | undefined
}

/** Turns a checked configuration section into a {@link Source}. */
export function toSource(name: string, config: Static<typeof sourceSchema>): Source {
  const { timeout, cache, limited, webhook } = config
  return {
    name,
    url: config.url,
    idps: config.idps,
    auth: toAuth(config.auth),
    rolesPath: config.roles,
    nextPagePath: config.nextPage,
    echoPath: config.echo,
    maxPages: config.maxPages ?? 20,
    consistency: toConsistency(config.consistency),
    batch: config.batch && toBatch(config.batch),
    concurrency: config.concurrency ?? 64,
    connectMilliseconds: milliseconds(timeout?.connect ?? '200ms'),
    readMilliseconds: milliseconds(timeout?.read ?? timeout?.total ?? '800ms'),
    totalMilliseconds: milliseconds(timeout?.total ?? '800ms'),
    freshMilliseconds: milliseconds(cache?.fresh ?? '60s'),
    staleMilliseconds: milliseconds(cache?.stale ?? '0s'),
    staleIfErrorMilliseconds: milliseconds(cache?.staleIfError ?? '0s'),
    unknownUserMilliseconds: milliseconds(cache?.unknownUser ?? '30s'),
    onFailure: config.onFailure ?? 'deny',
    limited: limited && { roles: limited.roles, ttlSeconds: seconds(limited.ttl ?? '15m') },
    webhookKey: webhook && webhookKey(webhook.secret),
  }
}

function toAuth(auth: Static<typeof sourceSchema>['auth']): SourceAuth | undefined {
  if (auth?.bearer)
    return { header: 'authorization', value: auth.bearer.map((token) => `Bearer ${token}`) }
  if (auth?.header) return { header: auth.header.name.toLowerCase(), value: auth.header.value }
  return undefined
}

function toConsistency(given: Static<typeof sourceSchema>['consistency']): Consistency {
  if (given?.snapshot !== undefined) return { kind: 'snapshot', at: { path: given.snapshot } }
  if (given?.header !== undefined)
    return { kind: 'snapshot', at: { header: given.header.toLowerCase() } }
  return { kind: given?.recheck ? 'recheck' : 'none' }
}

const WEBHOOK_PREFIX = 'whsec_'
/** A shorter key could be guessed offline from one signed call; Standard Webhooks asks for 24 to 64 bytes. */
const FEWEST_KEY_BYTES = 24

/**
 * The key behind a webhook secret, which is `whsec_` and base64; undefined when it has another form or is too short to sign with.
 *
 * @see {@link https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md Standard Webhooks}
 */
export function webhookKey(written: Secret): Secret<Buffer> | undefined {
  const whole = written.reveal().trim()
  if (!whole.startsWith(WEBHOOK_PREFIX)) return undefined
  const encoded = whole.slice(WEBHOOK_PREFIX.length).replace(/=+$/, '')
  const key = Buffer.from(encoded, 'base64')
  // Buffer skips what is no base64: a mistyped secret would be another, shorter one.
  const isWhole = key.toString('base64').replace(/=+$/, '') === encoded
  return isWhole && key.length >= FEWEST_KEY_BYTES ? new Secret(key) : undefined
}
