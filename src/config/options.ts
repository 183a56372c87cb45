/** What belongs to no room alone: where state is kept, and where calls may go. */
import { dirname, join } from 'node:path'
import Type, { type Static } from 'typebox'
import { choice, count, group, oneOf, secret, text, texts } from '../lib/option.ts'
import type { Secret } from '../lib/secret.ts'

/** The `store` section. */
export const storeSchema = Object.assign(
  oneOf(
    {
      sqlite: text({
        description:
          "A SQLite file, for one replica; a relative path starts at this file's folder.",
        reload: 'restart',
      }),
      postgres: secret({
        description: 'A `postgres://` connection URL, for several replicas.',
        reload: 'restart',
      }),
    },
    { description: 'Where durable state is: ledger, key ring, once-only ids.' },
  ),
  { default: { sqlite: './data/rolemint.db' } },
)

/** The `cache` section. */
export const cacheSchema = Type.Union(
  [
    choice({ description: 'In this process.', reload: 'restart' }, ['memory']),
    group(
      {
        valkey: secret({
          description: 'URL of a Valkey or Redis: `redis://` or `rediss://`.',
          reload: 'restart',
        }),
        seal: Type.Optional(
          secret({
            description:
              'Secret of at least 32 bytes, the same on all replicas, under which answers of entitlement sources are sealed there. Left out: only rate limits are shared.',
            reload: 'restart',
          }),
        ),
        replicas: Type.Optional(
          count({
            description:
              'How many processes share the limits: while Valkey does not answer, each gives out its part of them.',
            reload: 'restart',
            default: 1,
            minimum: 1,
            maximum: 1000,
          }),
        ),
      },
      { description: 'A cache that replicas share.' },
    ),
  ],
  {
    description: 'Where short-lived state is; losing it costs accuracy, never safety.',
    'x-reload': 'restart',
    default: 'memory',
  },
)

/** The `outbound` section. */
export const outboundSchema = group(
  {
    allow: Type.Optional(
      texts({
        description:
          'Private networks where IdPs, key sets of clients and entitlement sources may be, e.g. `10.0.0.0/8`. Other private, loopback and link-local addresses are never called, whatever a name resolves to.',
        reload: 'restart',
        default: [],
      }),
    ),
  },
  { description: 'Where calls to IdPs, key sets and entitlement sources may go.', default: {} },
)

/** The `idpKeys` section. */
export const idpKeysSchema = group(
  {
    snapshots: Type.Optional(
      text({
        description:
          'Folder for the last good key sets of IdPs and clients, so that a restart while an IdP is down knows its keys; `off` for none. Left out: `idp-keys` beside the SQLite file, or none with PostgreSQL.',
        reload: 'restart',
      }),
    ),
  },
  { description: 'How keys of IdPs are kept.', default: {} },
)

/** Where durable state is kept. */
export type StoreOptions =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: Secret }

/** Where short-lived state is kept. */
export type CacheOptions =
  | { readonly kind: 'memory' }
  | {
      readonly kind: 'valkey'
      readonly url: Secret
      /** Undefined: answers of sources are not shared. */
      readonly seal: Secret | undefined
      readonly replicas: number
    }

/** Turns the checked `store` section into {@link StoreOptions}; `found` makes a path absolute. */
export function toStoreOptions(
  store: Static<typeof storeSchema> | undefined,
  found: (path: string) => string,
): StoreOptions {
  if (store?.postgres) return { kind: 'postgres', url: store.postgres }
  return { kind: 'sqlite', path: found(store?.sqlite ?? './data/rolemint.db') }
}

/** Turns the checked `cache` section into {@link CacheOptions}. */
export function toCacheOptions(cache: Static<typeof cacheSchema> | undefined): CacheOptions {
  if (cache === undefined || cache === 'memory') return { kind: 'memory' }
  return { kind: 'valkey', url: cache.valkey, seal: cache.seal, replicas: cache.replicas ?? 1 }
}

/** The folder of key snapshots; undefined means none. */
export function toSnapshotFolder(
  idpKeys: Static<typeof idpKeysSchema> | undefined,
  store: StoreOptions,
  found: (path: string) => string,
): string | undefined {
  const given = idpKeys?.snapshots
  if (given !== undefined) return given === 'off' ? undefined : found(given)
  return store.kind === 'sqlite' ? join(dirname(store.path), 'idp-keys') : undefined
}
