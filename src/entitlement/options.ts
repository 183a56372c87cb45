import Type, { type Static } from 'typebox'
import {
  choice,
  count,
  duration,
  group,
  milliseconds,
  oneOf,
  secret,
  text,
  texts,
  url,
} from '../lib/option.ts'
import type { Secret } from '../lib/secret.ts'

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
                pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
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
          total: Type.Optional(
            duration({
              description: 'Longest wait for all pages together.',
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
              description: 'How long an answer is used without asking again.',
              reload: 'hot',
              default: '60s',
            }),
          ),
          stale: Type.Optional(
            duration({
              description:
                'How long after that it may still be used while a new one is fetched (with the failure policies).',
              reload: 'hot',
              default: '0s',
            }),
          ),
          staleIfError: Type.Optional(
            duration({
              description:
                'How long it may be used when the source fails (with the failure policies).',
              reload: 'hot',
              default: '0s',
            }),
          ),
          unknownUser: Type.Optional(
            duration({
              description: 'How long "no such user" is remembered.',
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
          description: 'What an unanswered look-up means: `deny` refuses with 503.',
          reload: 'hot',
          default: 'deny',
        },
        ['deny', 'stale', 'limited'],
      ),
    ),
  },
  { description: 'An entitlement source: an HTTP API that knows which roles a user has.' },
)

/** How we authenticate to a source. */
export type SourceAuth = { readonly header: string; readonly value: Secret }

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
  readonly connectMilliseconds: number
  readonly totalMilliseconds: number
  readonly freshMilliseconds: number
  readonly unknownUserMilliseconds: number
}

/** Turns a checked configuration section into a {@link Source}. */
export function toSource(name: string, config: Static<typeof sourceSchema>): Source {
  return {
    name,
    url: config.url,
    idps: config.idps,
    auth: toAuth(config.auth),
    rolesPath: config.roles,
    nextPagePath: config.nextPage,
    echoPath: config.echo,
    maxPages: config.maxPages ?? 20,
    connectMilliseconds: milliseconds(config.timeout?.connect ?? '200ms'),
    totalMilliseconds: milliseconds(config.timeout?.total ?? '800ms'),
    freshMilliseconds: milliseconds(config.cache?.fresh ?? '60s'),
    unknownUserMilliseconds: milliseconds(config.cache?.unknownUser ?? '30s'),
  }
}

function toAuth(auth: Static<typeof sourceSchema>['auth']): SourceAuth | undefined {
  if (auth?.bearer)
    return { header: 'authorization', value: auth.bearer.map((token) => `Bearer ${token}`) }
  if (auth?.header) return { header: auth.header.name.toLowerCase(), value: auth.header.value }
  return undefined
}
