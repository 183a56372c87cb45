import Type, { type Static } from 'typebox'
import { duration, group, milliseconds, named } from '../lib/option.ts'

/** Most named consumers of a tenant: each is a row that every fetch of a key set may touch. */
export const MOST_CONSUMERS = 200

/** `consumers` of a tenant. */
export const consumersSchema = named(
  group(
    {
      caches: Type.Optional(
        duration({
          description:
            'How long it keeps a copy of our JWK Set, where it is known to keep one whatever `max-age` says; `keys.publishAhead` is at least as long.',
          reload: 'restart',
        }),
      ),
    },
    { description: 'A verifier that fetches our JWK Set as `?consumer=` and its name.' },
  ),
  {
    description:
      'Verifiers that say who they are when they fetch our JWK Set; at most 200. Evidence of who knows which key, never a proof.',
    pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
  },
)

/** A named verifier. */
export interface ConsumerOptions {
  /** How long it is known to keep a copy of the key set; undefined: for as long as the cache headers allow. */
  readonly cachesMilliseconds: number | undefined
}

/** Turns the checked section into {@link ConsumerOptions} by name. */
export function toConsumers(
  config: Static<typeof consumersSchema> = {},
): ReadonlyMap<string, ConsumerOptions> {
  return new Map(
    Object.entries(config).map(([name, { caches }]) => [
      name,
      { cachesMilliseconds: caches === undefined ? undefined : milliseconds(caches) },
    ]),
  )
}
