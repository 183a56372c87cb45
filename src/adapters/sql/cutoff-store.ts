import { type Compilable, type Kysely, sql } from 'kysely'
import type { CutoffRule, CutoffStore, NewCutoff } from '../../cutoff/store.ts'
import type { SqlDatabase } from './database.ts'
import type { Engine, Schema } from './schema.ts'

const MOST_AT_ONCE = 1000

/** Cut-off rules, numbered without a gap. */
export function createSqlCutoffStore(database: SqlDatabase, engine: Engine): CutoffStore {
  const { build } = database

  async function find(
    { tenant, kind, id }: NewCutoff,
    signal: AbortSignal,
  ): Promise<CutoffRule | undefined> {
    const query = build
      .selectFrom('cutoffs')
      .selectAll()
      .where('tenant', '=', tenant)
      .where('kind', '=', kind)
      .where('id', '=', id)
    const [row] = await database.read(query, signal)
    return row && ruleOf(row)
  }

  return {
    async add(cutoff, signal) {
      const write = () => database.write(insertion(build, engine, cutoff), signal)
      await write().catch((error: unknown) => {
        // Two replicas cut off the same thing at once: the later one broke the unique constraint, gave its number back with that,
        // and now meets the rule of the other. No other failure may pass for success, even if the rule can be read by then:
        // it might be on one disk only.
        if (isDuplicate(error)) return write()
        throw error
      })
      const rule = await find(cutoff, signal)
      if (rule === undefined) throw new Error('The cut-off rule was written but cannot be read.')
      return rule
    },

    async since(seq, signal) {
      const query = build
        .selectFrom('cutoffs')
        .selectAll()
        .where('seq', '>', seq)
        .orderBy('seq')
        .limit(MOST_AT_ONCE)
      return (await database.read(query, signal)).map(ruleOf)
    },
  }
}

/** Takes the next number and writes the rule in one statement, unless there is one for the same thing. */
function insertion(build: Kysely<Schema>, engine: Engine, cutoff: NewCutoff): Compilable {
  const { tenant, kind, id, notBefore, reason, by, at } = cutoff
  const columns = sql`seq, tenant, kind, id, not_before, reason, "by", at`
  const isNew = sql`not exists (select 1 from cutoffs where tenant = ${tenant} and kind = ${kind} and id = ${id})`
  const rest = sql`${tenant}, ${kind}, ${id}, cast(${notBefore} as bigint), ${reason}, ${by}, cast(${at} as bigint)`
  const query =
    engine === 'sqlite'
      ? // One writer at a time, and no rule is ever deleted: the greatest number is the last that was committed.
        sql`insert into cutoffs (${columns}) select (select coalesce(max(seq), 0) + 1 from cutoffs), ${rest} where ${isNew}`
      : // The row of the counter stays locked until the commit, so numbers are seen in their order and none is skipped. It is
        // written even when the rule is there: a commit that writes nothing would not wait for the standby to have the rule.
        sql`with taken as (
              update counters set value = value + case when ${isNew} then 1 else 0 end where name = 'cutoffs' returning value
            )
            insert into cutoffs (${columns}) select value, ${rest} from taken where ${isNew}`
  return { compile: () => query.compile(build) }
}

/** SQLSTATE 23505, unique_violation. */
function isDuplicate(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '23505'
}

function ruleOf(row: Schema['cutoffs']): CutoffRule {
  const { seq, tenant, kind, id, not_before: notBefore, reason, by, at } = row
  return { seq, tenant, kind, id, notBefore, reason, by, at }
}
