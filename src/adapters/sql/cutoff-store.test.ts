import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type Postgres, startPostgres } from '../../../test/fakes/postgres.ts'
import { postgres as postgresPart, suiteNeeding } from '../../../test/skip.ts'
import type { NewCutoff } from '../../cutoff/store.ts'
import { systemClock } from '../../lib/clock.ts'
import { createSystemRandom } from '../../lib/id.ts'
import { createSqlCutoffStore } from './cutoff-store.ts'
import { createQueryBuilder, type SqlDatabase } from './database.ts'
import { createPostgresStore } from './postgres-store.ts'

const soon = () => AbortSignal.timeout(20_000)

function cutoff(id: string): NewCutoff {
  const times = { notBefore: 1_800_000_000_000, at: 1_800_000_000_000 }
  return { tenant: 'acme', kind: 'kid', id, reason: 'test', by: 'ops', ...times }
}

const ROW = { seq: 1, tenant: 'acme', kind: 'kid', id: 'k1', not_before: 1, reason: 'r', by: 'b' }

/** A database that holds one rule, whatever becomes of writes. */
function holding(write: () => Promise<number>): SqlDatabase {
  return {
    build: createQueryBuilder('postgres'),
    // What a row is like depends on the query; this one is asked for cut-offs only.
    read: <Row>() => Promise.resolve([{ ...ROW, at: 1 }] as unknown as readonly Row[]),
    write,
    scrub: () => Promise.resolve(),
  }
}

test('a rule whose write failed is not passed off as written because it can be read', async () => {
  // As when the wait for the standby was cancelled: the row is there, on one disk.
  const failing = holding(() => Promise.reject(new Error('not confirmed by the standby')))
  const store = createSqlCutoffStore(failing, 'postgres')
  await assert.rejects(store.add(cutoff('k1'), soon()), /not confirmed by the standby/)
})

test('a rule that another replica wrote at the same moment is confirmed by a write of our own', async () => {
  let writes = 0
  const duplicate = Object.assign(new Error('refused'), { code: '23505' })
  const racing = holding(async () => {
    writes += 1
    if (writes === 1) throw duplicate
    return 0
  })
  const store = createSqlCutoffStore(racing, 'postgres')
  assert.equal((await store.add(cutoff('k1'), soon())).seq, 1)
  assert.equal(writes, 2)
  const always = createSqlCutoffStore(
    holding(() => Promise.reject(duplicate)),
    'postgres',
  )
  await assert.rejects(always.add(cutoff('k1'), soon()), duplicate)
})

/** Ends when `attempt` rejects three times in a row (once may be a slow moment): a setting arrives some time after the reload. */
async function untilRejects(attempt: () => Promise<unknown>): Promise<void> {
  let inRow = 0
  for (let tries = 0; tries < 200; tries += 1) {
    const rejected = await attempt().then(
      () => false,
      () => true,
    )
    inRow = rejected ? inRow + 1 : 0
    if (inRow === 3) return
    await setTimeout(50)
  }
  throw new Error('It never rejected.')
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

suiteNeeding('postgres', postgresPart, (native) => {
  describe('with a synchronous standby that is away', () => {
    let postgres: Postgres | undefined
    before(async () => {
      postgres = await startPostgres(native, { fsync: false })
    })
    after(() => postgres?.stop())

    test('a rule that is there is not confirmed either: the standby may lack it', async () => {
      assert.ok(postgres)
      const url = await postgres.createDatabase()
      const deps = { clock: systemClock, random: createSystemRandom() }
      const store = await createPostgresStore(deps, { url, statementMilliseconds: 200 })
      const rule = await untilWorks(() => store.cutoffs.add(cutoff('k1'), soon()))
      await postgres.execute(`alter system set synchronous_standby_names = 'nobody'`)
      await postgres.execute('select pg_reload_conf()')
      try {
        await untilRejects(() => store.cutoffs.add(cutoff('k1'), soon()))
      } finally {
        await postgres.execute('alter system reset synchronous_standby_names')
        await postgres.execute('select pg_reload_conf()')
      }
      assert.deepEqual(await untilWorks(() => store.cutoffs.add(cutoff('k1'), soon())), rule)
      assert.equal((await untilWorks(() => store.cutoffs.add(cutoff('k2'), soon()))).seq, 2)
      await store.close()
    })
  })
})
