import type { Ledger } from '../../audit/ledger.ts'
import type { CutoffStore } from '../../cutoff/store.ts'
import type { AdminTokenStore } from '../../http/admin-tokens.ts'
import type { ConsumerStore, PrivateKeyStore, RingStore, UsageStore } from '../../keys/store.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import { createSqlAdminTokenStore } from './admin-token-store.ts'
import { createSqlConsumerStore } from './consumer-store.ts'
import { createSqlCutoffStore } from './cutoff-store.ts'
import type { SqlDatabase } from './database.ts'
import { createSqlPrivateKeyStore } from './private-key-store.ts'
import { createSqlRingStore } from './ring-store.ts'
import type { Engine } from './schema.ts'
import { createSeal } from './seal.ts'
import { createSqlUsageStore } from './usage-store.ts'

/** All durable state of a deployment, in one database. */
export interface SqlStore {
  readonly ledger: Ledger
  readonly rings: RingStore
  readonly cutoffs: CutoffStore
  readonly usage: UsageStore
  readonly consumers: ConsumerStore
  readonly adminTokens: AdminTokenStore
  /** Private keys sealed under `kek` (see `parseKek`); a deployment with its keys in Vault never calls it. */
  privateKeys(kek: Secret<Buffer>): PrivateKeyStore
  /** What time it is at the server; absent where the database is a file of this machine. Milliseconds since the epoch. */
  readonly time?: (signal: AbortSignal) => Promise<number>
  /** Lets what was begun finish and closes the database. */
  close(): Promise<void>
}

/** The stores of one database. */
export function createSqlStore(
  {
    ledger,
    database,
    random,
    engine,
    time,
  }: {
    readonly ledger: Ledger
    readonly database: SqlDatabase
    readonly random: Random
    readonly engine: Engine
    readonly time?: (signal: AbortSignal) => Promise<number>
  },
  close: () => Promise<void>,
): SqlStore {
  return {
    ledger,
    rings: createSqlRingStore(database),
    cutoffs: createSqlCutoffStore(database, engine),
    usage: createSqlUsageStore(database),
    consumers: createSqlConsumerStore(database),
    adminTokens: createSqlAdminTokenStore(database),
    privateKeys: (kek) => createSqlPrivateKeyStore(database, createSeal({ kek, random })),
    ...(time && { time }),
    close,
  }
}
