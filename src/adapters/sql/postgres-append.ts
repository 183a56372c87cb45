import type pg from 'pg'
import type { ClaimRow, NewRow } from './ledger-row.ts'

/** One append of a batch. */
export interface Append {
  readonly entry: NewRow | undefined
  readonly claims: readonly ClaimRow[]
}

/** Index of the first claim that conflicts, or `RECORDED`. */
export type AppendOutcome = number
export const RECORDED = -1

// Rows travel as one JSON text: the statement stays the same for every size of batch, and so stays prepared.
const CLAIM_ONCE = `
  insert into claims (kind, tenant, key, expires_at)
  select kind, tenant, key, expires_at
  from json_to_recordset($1::json) as wanted(kind text, tenant text, key text, expires_at bigint)
  on conflict (kind, tenant, key) do update set expires_at = excluded.expires_at
    where claims.expires_at < $2
  returning kind, tenant, key`

const FIND_PINS = `
  select claims.tenant, claims.key, claims.owner
  from json_to_recordset($1::json) as wanted(tenant text, key text)
  join claims on claims.kind = 'pin' and claims.tenant = wanted.tenant and claims.key = wanted.key`

// The empty update makes a row that another transaction has just inserted come back: `do nothing` would hide it.
const CLAIM_PINS = `
  insert into claims (kind, tenant, key, owner)
  select 'pin', tenant, key, owner
  from json_to_recordset($1::json) as wanted(tenant text, key text, owner text)
  on conflict (kind, tenant, key) do update set owner = claims.owner
  returning tenant, key, owner`

const INSERT_ENTRIES = `
  insert into ledger (tenant, id, event, at, digest, kid, client, sub, upn, exp, code, trace_id, details)
  select tenant, id, event, at, decode(digest, 'hex'), kid, client, sub, upn, exp, code, trace_id, details
  from json_to_recordset($1::json) as entry(tenant text, id text, event text, at bigint, digest text, kid text,
    client text, sub text, upn text, exp bigint, code text, trace_id text, details text)
  on conflict do nothing
  returning tenant, id`

const nameOf = (...parts: readonly string[]) => JSON.stringify(parts)

/** The same order in every transaction of every replica, so that two of them never wait for each other. */
function sorted<T>(named: ReadonlyMap<string, T>): T[] {
  return [...named].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value)
}

async function query<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  name: string,
  text: string,
  values: unknown[],
): Promise<Row[]> {
  return (await client.query<Row>({ name, text, values })).rows
}

interface Pin {
  readonly tenant: string
  readonly key: string
  readonly owner: string
}

type Once = Exclude<ClaimRow, { kind: 'pin' }>

const onceName = (claim: Pick<Once, 'kind' | 'tenant' | 'key'>) =>
  nameOf(claim.kind, claim.tenant, claim.key)
const pinName = (claim: Omit<Pin, 'owner'>) => nameOf(claim.tenant, claim.key)

/**
 * Claims each key once for the whole batch and returns the claims that were made. Within the batch the first comes first; a later
 * one wins only over a claim that is past its expiry already.
 */
async function claimOnce(
  client: pg.ClientBase,
  claims: readonly Once[],
  now: number,
): Promise<ReadonlySet<Once>> {
  const lasts = new Map<string, Once>()
  const candidates = new Map<Once, string>()
  for (const claim of claims) {
    const name = onceName(claim)
    const last = lasts.get(name)
    if (last !== undefined && last.expiresAt >= now) continue
    lasts.set(name, claim)
    candidates.set(claim, name)
  }
  if (lasts.size === 0) return new Set()
  const wanted = sorted(lasts).map(({ kind, tenant, key, expiresAt }) => ({
    kind,
    tenant,
    key,
    expires_at: expiresAt,
  }))
  const made = new Set(
    (await query<Once>(client, 'claim_once', CLAIM_ONCE, [JSON.stringify(wanted), now])).map(
      onceName,
    ),
  )
  return new Set([...candidates].filter(([, name]) => made.has(name)).map(([claim]) => claim))
}

/** Who owns each pinned name after the batch; the first of the batch gets a name that was free. */
async function claimPins(
  client: pg.ClientBase,
  claims: readonly Pin[],
): Promise<ReadonlyMap<string, string>> {
  const firsts = new Map<string, Pin>()
  for (const claim of claims) {
    const name = pinName(claim)
    if (!firsts.has(name)) firsts.set(name, claim)
  }
  const owners = new Map<string, string>()
  const learn = (pins: readonly Pin[]) => {
    for (const pin of pins) {
      owners.set(pinName(pin), pin.owner)
      firsts.delete(pinName(pin))
    }
  }
  // Read first: a pin is made once and met again with every exchange, and reading costs no write.
  if (firsts.size > 0)
    learn(await query<Pin>(client, 'find_pins', FIND_PINS, [JSON.stringify(sorted(firsts))]))
  if (firsts.size > 0)
    learn(await query<Pin>(client, 'claim_pins', CLAIM_PINS, [JSON.stringify(sorted(firsts))]))
  return owners
}

/** Writes the entries and returns those that were written: one whose id or digest exists already is left out. */
async function insertEntries(
  client: pg.ClientBase,
  entries: readonly NewRow[],
): Promise<ReadonlySet<NewRow>> {
  if (entries.length === 0) return new Set()
  const rows = entries.map((entry) => ({
    ...entry,
    digest: entry.digest === null ? null : entry.digest.toString('hex'),
  }))
  const written = new Set(
    (
      await query<{ tenant: string; id: string }>(client, 'insert_entries', INSERT_ENTRIES, [
        JSON.stringify(rows),
      ])
    ).map(({ tenant, id }) => nameOf(tenant, id)),
  )
  // delete() is true for the first entry of an id only: of two with the same id in one batch the second was left out.
  return new Set(entries.filter(({ tenant, id }) => written.delete(nameOf(tenant, id))))
}

/** Makes the claims and writes the entries of a batch inside the transaction of `client`. */
export async function appendBatch(
  client: pg.ClientBase,
  appends: readonly Append[],
  now: number,
): Promise<readonly (AppendOutcome | Error)[]> {
  const claims = appends.flatMap((append) => append.claims)
  const made = await claimOnce(
    client,
    claims.filter((claim) => claim.kind !== 'pin'),
    now,
  )
  const owners = await claimPins(
    client,
    claims.filter((claim) => claim.kind === 'pin'),
  )
  const conflicts = appends.map((append) =>
    append.claims.findIndex((claim) =>
      claim.kind === 'pin' ? owners.get(pinName(claim)) !== claim.owner : !made.has(claim),
    ),
  )
  const entries = appends.flatMap(({ entry }, index) =>
    entry !== undefined && conflicts[index] === RECORDED ? [entry] : [],
  )
  const written = await insertEntries(client, entries)
  return appends.map(({ entry }, index) => {
    const conflict = conflicts[index] ?? RECORDED
    if (conflict !== RECORDED || entry === undefined || written.has(entry)) return conflict
    return new Error('The entry was not recorded: its id or digest is recorded already.')
  })
}
