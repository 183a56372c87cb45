import type { DatabaseSync } from 'node:sqlite'
import type { Ledger } from '../../audit/ledger.ts'
import { createQueryBuilder, refuseAborted, textOf } from './database.ts'
import type { GroupCommit } from './group-commit.ts'
import { claimRowOf, entryOf, type LedgerRow, type NewRow, rowOf } from './ledger-row.ts'
import { readRows } from './sqlite-file.ts'
import { RECORDED, type Write, type WriterStatements } from './sqlite-protocol.ts'

/** Claims forgotten in one commit, so that appends get their turn in between. */
const EXPIRE_AT_ONCE = 1000

// Kysely spells the statements once; the values given here only stand for their places.
const NO_ROW = {
  tenant: '',
  id: '',
  event: 'issued',
  at: 0,
  digest: null,
  kid: null,
  client: null,
  sub: null,
  upn: null,
  exp: null,
  code: null,
  trace_id: null,
  details: '',
} satisfies NewRow

/** The statements of the writer thread. */
export function writerStatements(): WriterStatements {
  const build = createQueryBuilder('sqlite')
  return {
    claimOnce: textOf(
      build
        .insertInto('claims')
        .values({ kind: '', tenant: '', key: '', expires_at: 0 })
        .onConflict((conflict) =>
          conflict
            .columns(['kind', 'tenant', 'key'])
            .doUpdateSet((eb) => ({ expires_at: eb.ref('excluded.expires_at') }))
            .where('claims.expires_at', '<', 0),
        ),
    ),
    findPin: textOf(
      build
        .selectFrom('claims')
        .select('owner')
        .where('kind', '=', '')
        .where('tenant', '=', '')
        .where('key', '=', ''),
    ),
    insertPin: textOf(
      build.insertInto('claims').values({ kind: '', tenant: '', key: '', owner: '' }),
    ),
    insertEntry: textOf(build.insertInto('ledger').values(NO_ROW)),
  }
}

function prepareReads(reader: DatabaseSync) {
  const build = createQueryBuilder('sqlite')
  const ofTenant = build.selectFrom('ledger').where('tenant', '=', '')
  return {
    holds: reader.prepare(
      textOf(ofTenant.select('position').where('digest', '=', Buffer.alloc(0))),
    ),
    find: reader.prepare(textOf(ofTenant.selectAll().where('id', '=', ''))),
    recent: reader.prepare(
      textOf(ofTenant.selectAll().where('position', '<', 0).orderBy('position', 'desc').limit(0)),
    ),
    expireClaims: textOf(
      build
        .deleteFrom('claims')
        .where((eb) =>
          eb(
            eb.refTuple('kind', 'tenant', 'key'),
            'in',
            eb
              .selectFrom('claims')
              .select(['kind', 'tenant', 'key'])
              .where('expires_at', '<', 0)
              .limit(EXPIRE_AT_ONCE)
              .$asTuple('kind', 'tenant', 'key'),
          ),
        ),
    ),
  }
}

/**
 * The ledger on SQLite: appends go to the writer thread, reads are answered here at once from a connection that only
 * reads (`holds` is asked with every introspection and takes some 15 us, less than a message to a thread).
 */
export function createSqliteLedger({
  reader,
  writes,
}: {
  readonly reader: DatabaseSync
  readonly writes: GroupCommit<Write, number | string>
}): Ledger {
  const reads = prepareReads(reader)
  const recent = createRecentDigests()

  return {
    async append(entry, claims, signal) {
      if (entry === undefined && claims.length === 0) return { recorded: true }
      const write: Write = {
        kind: 'append',
        entry: entry === undefined ? undefined : rowOf(entry),
        claims: claims.map(claimRowOf),
      }
      const outcome = await writes.submit(write, signal)
      if (outcome === RECORDED) {
        if (entry?.digest !== undefined) recent.add(entry.tenant, entry.digest)
        return { recorded: true }
      }
      const conflict = typeof outcome === 'number' ? claims[outcome] : undefined
      if (conflict === undefined) throw new Error(`The entry was not recorded: ${outcome}.`)
      return { recorded: false, conflict }
    },

    async holds(tenant, digest, signal) {
      refuseAborted(signal)
      return recent.has(tenant, digest) || reads.holds.get(tenant, digest) !== undefined
    },

    async find(tenant, id, signal) {
      refuseAborted(signal)
      const [row]: readonly LedgerRow[] = readRows(reads.find, [tenant, id])
      return row === undefined ? undefined : entryOf(row)
    },

    async recent(tenant, limit, before, signal) {
      refuseAborted(signal)
      const values = [tenant, before ?? Number.MAX_SAFE_INTEGER, limit]
      return readRows(reads.recent, values).map(entryOf)
    },

    async expireClaims(now, signal) {
      let forgotten = 0
      for (;;) {
        const write = {
          kind: 'run',
          sql: reads.expireClaims,
          parameters: [now, EXPIRE_AT_ONCE],
        } as const
        const outcome = await writes.submit(write, signal)
        if (typeof outcome === 'string') throw new Error(`No claim was forgotten: ${outcome}.`)
        forgotten += outcome
        if (outcome < EXPIRE_AT_ONCE) return forgotten
      }
    },
  }
}

const RECENT = 32_768
const DIGEST_BYTES = 32

/**
 * Digests of what this process recorded last. What was recorded once is recorded for good, so a yes needs no look into the
 * file; whatever is not here is asked of the file, also what another process has just recorded.
 *
 * Whole digests, each in the one place that its first bits name, where the newest wins: bounded, and of no interest to the
 * garbage collector. The tenant is compared too: one tenant's record proves nothing to another.
 */
function createRecentDigests() {
  const digests = Buffer.alloc(RECENT * DIGEST_BYTES)
  const tenants = Array.from<string | undefined>({ length: RECENT })
  const placeOf = (digest: Buffer) => digest.readUInt16LE(0) % RECENT

  return {
    add(tenant: string, digest: Buffer): void {
      if (digest.length !== DIGEST_BYTES) return
      const place = placeOf(digest)
      digest.copy(digests, place * DIGEST_BYTES)
      tenants[place] = tenant
    },
    has(tenant: string, digest: Buffer): boolean {
      if (digest.length !== DIGEST_BYTES) return false
      const place = placeOf(digest)
      const from = place * DIGEST_BYTES
      return tenants[place] === tenant && digest.compare(digests, from, from + DIGEST_BYTES) === 0
    },
  }
}
