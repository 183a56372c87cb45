import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import pg from 'pg'
import {
  createPostgresStore,
  type PostgresStoreDeps,
  type PostgresStoreOptions,
} from '../../src/adapters/sql/postgres-store.ts'
import type { Ledger } from '../../src/audit/ledger.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import { issued, once as onceOnly } from '../contracts/ledger.ts'
import { ledgerFollowsModel } from '../contracts/ledger-model.ts'
import { type Postgres, startPostgres } from '../fakes/postgres.ts'
import { postgres as postgresPart, suiteNeeding } from '../skip.ts'

const soon = () => AbortSignal.timeout(20_000)

const brief = () => AbortSignal.timeout(50)

const open = (options: PostgresStoreOptions, deps: Partial<PostgresStoreDeps> = {}) =>
  createPostgresStore({ clock: systemClock, random: createSystemRandom(), ...deps }, options)

/** Does it again until it takes longer than an append that waits for nobody: the new setting arrives some time after the reload. */
async function firstThatWaits<T>(
  work: () => Promise<T>,
): Promise<{ readonly outcome: Promise<T> }> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const outcome = work()
    const settled = await Promise.race([outcome.then(() => true), setTimeout(250, false)])
    if (!settled) return { outcome }
  }
  throw new Error('Every append was confirmed at once.')
}

/** Ends when `attempt` does not reject any more. */
async function untilWorks<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (tries === 100) throw error
      await setTimeout(100)
    }
  }
}

const appendOne = (ledger: Ledger, signal = soon()) => ledger.append(issued(), [], signal)

/** A way to the server that can be cut without a word: connections stay open and nothing comes through. */
async function startProxy(port: number) {
  const sockets = new Set<Socket>()
  let silent = false
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => to.destroy())
      from.on('data', (chunk) => {
        if (!silent) to.write(chunk)
      })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.')
  return {
    port: address.port,
    silence: (on: boolean) => {
      silent = on
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

suiteNeeding('postgres store', postgresPart, (native) => {
  describe('with a server of its own', () => {
    let server: Postgres | undefined
    const running = () => {
      if (server === undefined) throw new Error('PostgreSQL was not started.')
      return server
    }
    before(async () => {
      server = await startPostgres(native, { fsync: false })
    })
    after(() => server?.stop())

    batches(running)
    outages(running)
    durability(running)
    errors(running)
  })
})

function batches(server: () => Postgres): void {
  test('whatever batch an append meets, it ends as it would have ended alone', async () => {
    const url = await server().createDatabase()
    let now = 0
    const store = await open({ url }, { clock: { now: () => now } })
    const admin = new pg.Client({ connectionString: url.reveal() })
    await admin.connect()
    await ledgerFollowsModel(
      async () => {
        await admin.query('truncate ledger, claims')
        return {
          ledger: store.ledger,
          second: store.ledger,
          setTime: (milliseconds) => {
            now = milliseconds
          },
          reopen: async () => store.ledger,
          close: async () => {},
        }
      },
      { runs: 40, inOrder: false },
    )
    await admin.end()
    await store.close()
  })

  test('five replicas that migrate a new database at the same moment all work', async () => {
    const url = await server().createDatabase()
    const stores = await Promise.all(Array.from({ length: 5 }, () => open({ url })))
    await Promise.all(stores.map(({ ledger }) => appendOne(ledger)))
    assert.equal((await stores[0]?.ledger.recent('acme', 10, undefined, soon()))?.length, 5)
    await Promise.all(stores.map((store) => store.close()))
  })

  test('a write that the database refuses for its content spoils no other of its batch', async () => {
    const store = await open({ url: await server().createDatabase() })
    const entries = [issued(), { ...issued(), at: 1.5 }, issued()]
    const ends = await Promise.allSettled(
      entries.map((entry) => store.ledger.append(entry, [onceOnly(entry.id)], soon())),
    )
    assert.deepEqual(
      ends.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    )
    await store.close()
  })

  test('two replicas forgetting and claiming the same keys never deadlock or lose a fresh claim', async () => {
    const url = await server().createDatabase()
    let now = 1000
    const clock = { now: () => now }
    const [one, two] = await Promise.all([open({ url }, { clock }), open({ url }, { clock })])
    const keys = Array.from({ length: 200 }, (_, n) => `k${n}`)
    for (let round = 0; round < 5; round += 1) {
      const claims = (order: readonly string[]) => order.map((key) => onceOnly(key, now + 10))
      const [a, b] = await Promise.all([
        one.ledger.append(undefined, claims(keys), soon()),
        two.ledger.append(undefined, claims(keys.toReversed()), soon()),
        one.ledger.expireClaims(now, soon()),
        two.ledger.expireClaims(now, soon()),
      ])
      assert.equal([a, b].filter(({ recorded }) => recorded).length, 1)
      const replay = await one.ledger.append(undefined, claims(keys), soon())
      assert.equal(replay.recorded, false)
      now += 20
    }
    await Promise.all([one.close(), two.close()])
  })
}

function outages(server: () => Postgres): void {
  test('a crash of the server makes calls reject; afterwards the same store works and has lost nothing', async () => {
    const store = await open({ url: await server().createDatabase() })
    const kept = issued()
    await store.ledger.append(kept, [], soon())
    const calls = Promise.allSettled(Array.from({ length: 20 }, () => appendOne(store.ledger)))
    await setTimeout(0)
    await server().crash()
    await calls
    await assert.rejects(appendOne(store.ledger))
    await assert.rejects(store.ledger.find('acme', kept.id, soon()))
    await server().start()
    await untilWorks(() => appendOne(store.ledger))
    assert.equal((await store.ledger.find('acme', kept.id, soon()))?.id, kept.id)
    await store.close()
  })

  test('a server that falls silent makes every call reject at its signal; when it speaks again the store works', async () => {
    const direct = await server().createDatabase()
    const proxy = await startProxy(server().port)
    const url = direct.map((text) => text.replace(`:${server().port}/`, `:${proxy.port}/`))
    const store = await open({ url, statementMilliseconds: 300, connectMilliseconds: 300 })
    await appendOne(store.ledger)
    proxy.silence(true)
    await assert.rejects(appendOne(store.ledger, brief()))
    await assert.rejects(store.ledger.holds('acme', Buffer.alloc(32), brief()))
    await assert.rejects(store.ledger.find('acme', 'x', brief()))
    await assert.rejects(store.rings.load('acme', brief()))
    await assert.rejects(store.rings.compareAndSet('acme', 0, { version: 1, keys: [] }, brief()))
    await assert.rejects(store.ledger.expireClaims(1, brief()))
    // A caller without patience is one thing; without any deadline it ends as well.
    await assert.rejects(appendOne(store.ledger, new AbortController().signal))
    proxy.silence(false)
    await untilWorks(() => appendOne(store.ledger))
    await store.close()
    proxy.close()
  })
}

function durability(server: () => Postgres): void {
  test('commits wait for the disk even where the database is set to synchronous_commit=off', async () => {
    const url = await server().createDatabase()
    const database = new URL(url.reveal()).pathname.slice(1)
    await server().execute(`alter database ${database} set synchronous_commit = off`)
    const store = await open({ url })
    const admin = new pg.Client({ connectionString: url.reveal() })
    await admin.connect()
    // A trigger that tells with which setting the row was written.
    await admin.query(`
      create table seen (setting text);
      create function note() returns trigger language plpgsql as
        $$ begin insert into seen values (current_setting('synchronous_commit')); return new; end $$;
      create trigger note after insert on ledger for each row execute function note();
      create trigger note after insert on key_rings for each row execute function note();`)
    await appendOne(store.ledger)
    await store.rings.compareAndSet('acme', 0, { version: 1, keys: [] }, soon())
    const { rows } = await admin.query<{ setting: string }>('select setting from seen')
    assert.deepEqual(
      rows.map(({ setting }) => setting),
      ['on', 'on'],
    )
    await admin.end()
    await store.close()
  })

  test('without its synchronous standby no append is confirmed, not even when the wait for it is cancelled', async () => {
    const url = await server().createDatabase()
    const store = await open({ url, statementMilliseconds: 60_000 })
    await appendOne(store.ledger)
    const admin = new pg.Client({ connectionString: url.reveal() })
    await admin.connect()
    await server().execute(`alter system set synchronous_standby_names = 'nobody'`)
    await server().execute('select pg_reload_conf()')
    try {
      const confirmed = await firstThatWaits(() =>
        appendOne(store.ledger).then(
          () => 'confirmed',
          (error: Error) => error.message,
        ),
      )
      // PostgreSQL turns a cancelled wait into a successful COMMIT with a warning.
      const cancelled = await untilWorks(async () => {
        const { rows } = await admin.query(
          `select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()`,
        )
        assert.ok(rows.length > 0)
        return rows.length
      })
      assert.equal(cancelled, 1)
      assert.match(await confirmed.outcome, /not confirmed by the standby/)
    } finally {
      await server().execute(`alter system reset synchronous_standby_names`)
      await server().execute('select pg_reload_conf()')
    }
    await untilWorks(() => appendOne(store.ledger))
    await admin.end()
    await store.close()
  })

  test('a statement timeout shorter than the wait for the standby does not confirm either', async () => {
    const url = await server().createDatabase()
    const store = await open({ url, statementMilliseconds: 200 })
    await appendOne(store.ledger)
    await server().execute(`alter system set synchronous_standby_names = 'nobody'`)
    await server().execute('select pg_reload_conf()')
    try {
      // The new setting reaches the server's processes some time after the reload was asked for.
      await untilWorks(() => assert.rejects(appendOne(store.ledger)))
    } finally {
      await server().execute(`alter system reset synchronous_standby_names`)
      await server().execute('select pg_reload_conf()')
    }
    await store.close()
  })
}

/** True when an error, with all that hangs on it, tells nothing it should not. */
function clean(error: unknown): boolean {
  const text = inspect(error, { depth: 9, showHidden: true })
  return !/pa55word|127\.0\.0\.1|ada@acme|postgres:\/\/sts/.test(text)
}

function errors(server: () => Postgres): void {
  test('no error holds the password, the address or stored data', async () => {
    const url = (await server().createDatabase()).map((text) =>
      text.replace('sts@', 'sts:pa55word@'),
    )
    const store = await open({ url })
    const entry = issued()
    await store.ledger.append(entry, [], soon())
    await assert.rejects(store.ledger.append(entry, [], soon()), clean)
    await assert.rejects(store.ledger.append({ ...issued(), at: 1.5 }, [], soon()), clean)
    await store.close()
    await assert.rejects(store.ledger.find('acme', 'x', soon()), clean)

    const unknown = url.map((text) => text.replace(/t[0-9]+$/, 'absent'))
    await assert.rejects(open({ url: unknown }), (error: Error) => {
      assert.match(error.message, /database "absent" does not exist/)
      return clean(error)
    })
    const nobody = url.map((text) => text.replace(/:[0-9]+\//, ':1/'))
    await assert.rejects(open({ url: nobody }), (error: Error) => {
      assert.match(error.message, /ECONNREFUSED/)
      return clean(error)
    })
    for (const text of ['pa55word', 'postgres://sts:pa55word@127.0.0.1:99999/x', 'postgres://%']) {
      await assert.rejects(open({ url: new Secret(text) }), clean)
    }
  })
}
