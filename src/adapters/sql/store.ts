import type { Ledger } from '../../audit/ledger.ts'
import type { AdminTokenStore } from '../../http/admin-tokens.ts'
import type { PrivateKeyStore, RingStore } from '../../keys/store.ts'
import type { Random } from '../../lib/id.ts'
import type { Secret } from '../../lib/secret.ts'
import { createSqlAdminTokenStore } from './admin-token-store.ts'
import type { SqlDatabase } from './database.ts'
import { createSqlPrivateKeyStore } from './private-key-store.ts'
import { createSqlRingStore } from './ring-store.ts'
import { createSeal } from './seal.ts'

/** All durable state of a deployment, in one database. */
export interface SqlStore {
  readonly ledger: Ledger
  readonly rings: RingStore
  readonly adminTokens: AdminTokenStore
  /** Private keys sealed under `kek` (see `parseKek`); a deployment with its keys in Vault never calls it. */
  privateKeys(kek: Secret<Buffer>): PrivateKeyStore
  /** Lets what was begun finish and closes the database. */
  close(): Promise<void>
}

/** The stores of one database. */
export function createSqlStore(
  {
    ledger,
    database,
    random,
  }: { readonly ledger: Ledger; readonly database: SqlDatabase; readonly random: Random },
  close: () => Promise<void>,
): SqlStore {
  return {
    ledger,
    rings: createSqlRingStore(database),
    adminTokens: createSqlAdminTokenStore(database),
    privateKeys: (kek) => createSqlPrivateKeyStore(database, createSeal({ kek, random })),
    close,
  }
}
