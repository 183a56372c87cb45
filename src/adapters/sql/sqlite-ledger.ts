/**
 * The ledger on SQLite, and the way that its entries and every other write take to the disk: the main thread's end of the writer thread.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { Worker } from 'node:worker_threads'
import type { Ledger } from '../../audit/ledger.ts'
import type { Clock } from '../../lib/clock.ts'
import { createQueryBuilder, refuseAborted, textOf } from './database.ts'
import type { GroupCommit } from './group-commit.ts'
import {
  type ClaimRow,
  claimRowOf,
  entryOf,
  type LedgerRow,
  type NewRow,
  rowOf,
} from './ledger-row.ts'
import { readRows } from './sqlite-file.ts'
import {
  type Answer,
  APPEND,
  type Outcomes,
  RECORDED,
  RUN,
  SCRUB,
  type Value,
  type Write,
  type WriterStatements,
} from './sqlite-protocol.ts'

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

/** The main thread's end of the writer thread. */
export interface WriterLink {
  /** Commits the writes in one transaction; at most one call at a time. Rejects when nothing is known to be durable. */
  readonly commit: (writes: readonly Write[]) => Promise<Outcomes>
  close(): Promise<void>
}

/** How long a crashed writer stays down: a thread that dies at once must not be started in a loop. */
const RESTART_MILLISECONDS = 250

/**
 * Starts the writer thread and starts it again when it dies. What was with it then rejects: it may or may not be durable.
 * Until it is back, batches wait for it, each caller no longer than its own signal.
 */
export function createWriterLink({
  startWriter,
  clock,
}: {
  readonly startWriter: () => Worker
  readonly clock: Clock
}): WriterLink {
  let waiting: { resolve: (outcomes: Outcomes) => void; reject: (error: Error) => void } | undefined
  let unsent: readonly Write[] | undefined
  let restart: NodeJS.Timeout | undefined
  let closing = false
  let worker: Worker | undefined = start()

  function start(): Worker {
    const started = startWriter()
    let crash: unknown
    started.on('message', receive)
    started.on('error', (error) => {
      crash = error
    })
    started.on('exit', () => {
      worker = undefined
      if (closing) return
      waiting?.reject(new Error('The writer thread of the store died.', { cause: crash }))
      waiting = undefined
      restart = setTimeout(() => {
        worker = start()
        if (unsent !== undefined) send(worker, unsent)
      }, RESTART_MILLISECONDS)
    })
    return started
  }

  function receive(answer: Answer): void {
    const caller = waiting
    waiting = undefined
    if (typeof answer === 'string')
      caller?.reject(new Error(`The store did not take the write: ${answer}.`))
    else caller?.resolve(answer)
  }

  function send(to: Worker, writes: readonly Write[]): void {
    unsent = undefined
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    to.postMessage(encodeBatch(writes, clock.now()))
  }

  return {
    commit(writes) {
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        if (worker === undefined) unsent = writes
        else send(worker, writes)
      })
    },

    async close() {
      closing = true
      if (restart !== undefined) clearTimeout(restart)
      waiting?.reject(new Error('The store was closed.'))
      const running = worker
      if (running === undefined) return
      const exited = new Promise((resolve) => running.once('exit', resolve))
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      running.postMessage('close')
      // A writer that hangs in a system call does not read its messages.
      const impatience = setTimeout(() => void running.terminate(), 2000)
      await exited
      clearTimeout(impatience)
    },
  }
}

/**
 * A batch as one flat array: structured cloning of it costs half of what nested objects cost. Digests travel as
 * Latin-1 text, since cloning a small Buffer copies the whole 8 KiB slab it was cut from.
 */
function encodeBatch(writes: readonly Write[], now: number): Value[] {
  const flat: Value[] = [now, writes.length]
  for (const write of writes) {
    if (write.kind === 'append') encodeAppend(flat, write.entry, write.claims)
    else if (write.kind === 'run') {
      flat.push(RUN, write.sql, write.parameters.length)
      for (const value of write.parameters) {
        flat.push(value instanceof Uint8Array ? new Uint8Array(value) : value)
      }
    } else flat.push(SCRUB)
  }
  return flat
}

function encodeAppend(flat: Value[], entry: NewRow | undefined, claims: readonly ClaimRow[]): void {
  flat.push(APPEND, claims.length)
  for (const claim of claims) {
    flat.push(
      claim.kind,
      claim.tenant,
      claim.key,
      claim.kind === 'pin' ? claim.owner : claim.expiresAt,
    )
  }
  if (entry === undefined) {
    flat.push(0)
    return
  }
  flat.push(
    1,
    entry.tenant,
    entry.id,
    entry.event,
    entry.at,
    entry.digest === null ? null : entry.digest.toString('latin1'),
    entry.kid,
    entry.client,
    entry.sub,
    entry.upn,
    entry.exp,
    entry.code,
    entry.trace_id,
    entry.details,
  )
}
