import { type CreateTableBuilder, type Kysely, sql } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import type { Engine } from './schema.ts'

/**
 * Every change the schema ever had, in order; an engine differs only in how it spells a type. A migration that was
 * released is never edited: a new number is added.
 */
function migrationsFor(engine: Engine): Record<string, Migration> {
  const integer = engine === 'sqlite' ? 'integer' : 'bigint'
  const blob = engine === 'sqlite' ? 'blob' : 'bytea'

  // STRICT keeps SQLite from storing a text where a number is due; WITHOUT ROWID stores a row once, in its key's tree.
  const keyed = <T extends string, C extends string>(table: CreateTableBuilder<T, C>) =>
    engine === 'sqlite' ? table.modifyEnd(sql`without rowid, strict`) : table
  const numbered = <T extends string, C extends string>(table: CreateTableBuilder<T, C>) =>
    engine === 'sqlite' ? table.modifyEnd(sql`strict`) : table

  async function createLedger(db: Kysely<unknown>): Promise<void> {
    const ledger = db.schema
      .createTable('ledger')
      .addColumn('position', integer, (column) =>
        engine === 'sqlite'
          ? column.primaryKey().autoIncrement()
          : column.primaryKey().generatedAlwaysAsIdentity(),
      )
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('id', 'text', (column) => column.notNull())
      .addColumn('event', 'text', (column) => column.notNull())
      .addColumn('at', integer, (column) => column.notNull())
      .addColumn('digest', blob)
      .addColumn('kid', 'text')
      .addColumn('client', 'text')
      .addColumn('sub', 'text')
      .addColumn('upn', 'text')
      .addColumn('exp', integer)
      .addColumn('code', 'text')
      .addColumn('trace_id', 'text')
      .addColumn('details', 'text', (column) => column.notNull())
    await numbered(ledger).execute()
    await db.schema
      .createIndex('ledger_id')
      .unique()
      .on('ledger')
      .columns(['tenant', 'id'])
      .execute()
    await db.schema
      .createIndex('ledger_digest')
      .unique()
      .on('ledger')
      .columns(['tenant', 'digest'])
      .where('digest', 'is not', null)
      .execute()
    // Without it, the newest entries of a quiet tenant are found only behind everybody else's.
    await db.schema
      .createIndex('ledger_tenant')
      .on('ledger')
      .columns(['tenant', 'position'])
      .execute()
  }

  async function createClaims(db: Kysely<unknown>): Promise<void> {
    const claims = db.schema
      .createTable('claims')
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('key', 'text', (column) => column.notNull())
      .addColumn('owner', 'text')
      .addColumn('expires_at', integer)
      .addPrimaryKeyConstraint('claims_key', ['kind', 'tenant', 'key'])
    await keyed(claims).execute()
    await db.schema
      .createIndex('claims_expiry')
      .on('claims')
      .column('expires_at')
      .where('expires_at', 'is not', null)
      .execute()
  }

  async function createKeys(db: Kysely<unknown>): Promise<void> {
    const rings = db.schema
      .createTable('key_rings')
      .addColumn('tenant', 'text', (column) => column.primaryKey().notNull())
      .addColumn('version', integer, (column) => column.notNull())
      .addColumn('document', 'text', (column) => column.notNull())
    await keyed(rings).execute()
    const privateKeys = db.schema
      .createTable('private_keys')
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('kid', 'text', (column) => column.notNull())
      .addColumn('sealed', blob, (column) => column.notNull())
      .addColumn('wrapped_key', blob, (column) => column.notNull())
      .addPrimaryKeyConstraint('private_keys_key', ['tenant', 'kid'])
    await keyed(privateKeys).execute()
  }

  async function createAdminTokens(db: Kysely<unknown>): Promise<void> {
    const tokens = db.schema
      .createTable('admin_tokens')
      .addColumn('hash', blob, (column) => column.primaryKey().notNull())
      .addColumn('role', 'text', (column) => column.notNull())
      .addColumn('by', 'text', (column) => column.notNull())
      .addColumn('expires_at', integer, (column) => column.notNull())
    await keyed(tokens).execute()
  }

  async function createCutoffs(db: Kysely<unknown>): Promise<void> {
    const cutoffs = db.schema
      .createTable('cutoffs')
      .addColumn('seq', integer, (column) => column.primaryKey().notNull())
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('id', 'text', (column) => column.notNull())
      .addColumn('not_before', integer, (column) => column.notNull())
      .addColumn('reason', 'text', (column) => column.notNull())
      .addColumn('by', 'text', (column) => column.notNull())
      .addColumn('at', integer, (column) => column.notNull())
      .addUniqueConstraint('cutoffs_id', ['tenant', 'kind', 'id'])
    await numbered(cutoffs).execute()
    const counters = db.schema
      .createTable('counters')
      .addColumn('name', 'text', (column) => column.primaryKey().notNull())
      .addColumn('value', integer, (column) => column.notNull())
    await keyed(counters).execute()
    await sql`insert into counters (name, value) values ('cutoffs', 0)`.execute(db)
  }

  async function createKeyFacts(db: Kysely<unknown>): Promise<void> {
    const usage = db.schema
      .createTable('key_usage')
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('kid', 'text', (column) => column.notNull())
      .addColumn('signatures', integer, (column) => column.notNull())
      .addColumn('last_signed_at', integer, (column) => column.notNull())
      .addPrimaryKeyConstraint('key_usage_key', ['tenant', 'kid'])
    await keyed(usage).execute()
    const consumers = db.schema
      .createTable('consumers')
      .addColumn('tenant', 'text', (column) => column.notNull())
      .addColumn('consumer', 'text', (column) => column.notNull())
      .addColumn('etag', 'text', (column) => column.notNull())
      .addColumn('kids', 'text', (column) => column.notNull())
      .addColumn('first_at', integer, (column) => column.notNull())
      .addColumn('last_at', integer, (column) => column.notNull())
      .addColumn('fetches', integer, (column) => column.notNull())
      .addPrimaryKeyConstraint('consumers_key', ['tenant', 'consumer', 'etag'])
    await keyed(consumers).execute()
  }

  return {
    '0001_state': {
      async up(db) {
        await createLedger(db)
        await createClaims(db)
        await createKeys(db)
        await createAdminTokens(db)
      },
    },
    '0002_key_life': {
      async up(db) {
        await createCutoffs(db)
        await createKeyFacts(db)
      },
    },
  }
}

/**
 * Brings the schema up to date. Several processes may try at once: on PostgreSQL the migrator takes an advisory lock,
 * on SQLite the caller must hold the write lock (`BEGIN IMMEDIATE`).
 * @throws {Error} when a step failed, or when the database was written by a newer version of rolemint.
 */
export async function migrate<S>(db: Kysely<S>, engine: Engine): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve(migrationsFor(engine)) },
  })
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined) throw error
}
