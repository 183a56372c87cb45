import Type, { type Static } from 'typebox'
import { choice, count, duration, group, seconds, text } from '../lib/option.ts'

/** How source roles become ours, under `tenants.<tenant>.roles`. */
export const rolesSchema = group(
  {
    map: Type.Optional(
      Type.Array(
        group(
          {
            from: text({ description: 'Role as the source names it.', reload: 'hot' }),
            to: text({ description: 'Role as our tokens name it.', reload: 'hot', maxLength: 128 }),
          },
          { description: 'One translation.' },
        ),
        {
          description:
            'Translations; one source role may become several of ours and the other way round.',
          'x-reload': 'hot',
          default: [],
        },
      ),
    ),
    unmapped: Type.Optional(
      choice(
        {
          description:
            'What happens to a source role without a translation: dropped, kept under its own name, or the exchange is refused.',
          reload: 'hot',
          default: 'drop',
        },
        ['drop', 'keep', 'deny'],
      ),
    ),
    empty: Type.Optional(
      choice(
        {
          description: 'Whether a token without any role is refused (`no_roles`) or issued.',
          reload: 'hot',
          default: 'deny',
        },
        ['deny', 'allow'],
      ),
    ),
    unknownUser: Type.Optional(
      choice(
        {
          description:
            'Whether a user whom no source knows is refused (`unknown_user`) or treated as having no roles.',
          reload: 'hot',
          default: 'deny',
        },
        ['deny', 'empty'],
      ),
    ),
    max: Type.Optional(
      count({
        description:
          'Most roles a source may return for one user; more is a failure of the source, never a cut list.',
        reload: 'hot',
        default: 200,
        minimum: 1,
        maximum: 100_000,
      }),
    ),
  },
  { description: 'How roles of the sources become roles of our tokens.', default: {} },
)

/** How long our tokens live, under `tenants.<tenant>.tokens`. */
export const tokensSchema = group(
  {
    ttl: Type.Optional(
      duration({
        description: 'Life of an issued token and of the session it starts (at most 12h).',
        reload: 'hot',
        default: '12h',
      }),
    ),
    refresh: Type.Optional(
      Type.Union([choice({ description: 'Refresh tokens are off.', reload: 'hot' }, ['off'])], {
        description: 'Refresh tokens; not available yet.',
        'x-reload': 'hot',
        default: 'off',
      }),
    ),
  },
  { description: 'How long issued tokens live.', default: {} },
)

/** The longest life any token may have, in seconds: 12 hours. */
export const TOKEN_TTL_CAP_SECONDS = 12 * 3600

/** What a tenant grants: the rules that {@link decide} applies. */
export interface GrantRules {
  readonly map: readonly { readonly from: string; readonly to: string }[]
  readonly unmapped: 'drop' | 'keep' | 'deny'
  readonly empty: 'deny' | 'allow'
  readonly unknownUser: 'deny' | 'empty'
  readonly maxSourceRoles: number
  readonly ttlSeconds: number
}

/** Turns the checked `roles` and `tokens` sections into {@link GrantRules}. */
export function toGrantRules(
  roles: Static<typeof rolesSchema> | undefined,
  tokens: Static<typeof tokensSchema> | undefined,
): GrantRules {
  return {
    map: roles?.map ?? [],
    unmapped: roles?.unmapped ?? 'drop',
    empty: roles?.empty ?? 'deny',
    unknownUser: roles?.unknownUser ?? 'deny',
    maxSourceRoles: roles?.max ?? 200,
    ttlSeconds: seconds(tokens?.ttl ?? '12h'),
  }
}
