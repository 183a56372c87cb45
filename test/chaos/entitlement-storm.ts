/**
 * Clients storm while the entitlement source fails now and then: how many calls does it get, measured against what it gets when it is well?
 *
 * Run by hand: `node test/chaos/entitlement-storm.ts`; prints one JSON object, exit 1 if a bound is broken.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { at, EXCHANGE, JWT_TYPE, type Sts, startSts } from '../fakes/sts.ts'
import { drawFrom } from '../simulation/draw.ts'

/** What is to be done. */
export interface Storm {
  readonly users: number
  /** So many times every user comes back after the roles kept are too old. */
  readonly rounds: number
  /** Requests that each user makes at a time. */
  readonly atOnce: number
  /** How often a client asks again, at once, after a refusal. */
  readonly retries: number
  /** Part of its requests that the source answers with 503. */
  readonly failing: number
  readonly onFailure: 'deny' | 'stale'
  readonly seed: number
}

/** What it came to. */
export interface StormReport {
  readonly exchanges: number
  readonly refused: number
  /** Look-ups that the source had to answer. */
  readonly lookups: number
  /** Requests that it got. */
  readonly calls: number
  /** Requests for each look-up. */
  readonly ratio: number
  readonly seconds: number
}

const CONCURRENCY = 8
const OVERLOADED_MILLISECONDS = 50
const FRESH_MILLISECONDS = 60_000

/** One storm against a deployment of its own; its clock is moved from round to round. */
export async function entitlementStorm(storm: Storm): Promise<StormReport> {
  const clock = { milliseconds: Date.now(), now: () => clock.milliseconds }
  const sts = await startSts({
    parts: { clock },
    configure(config) {
      config['limits'] = { perClient: '100000/s', perSubject: '100000/s' }
      Object.assign(at(config, 'tenants.acme.sources.hr'), {
        cache: { fresh: '60s', staleIfError: storm.onFailure === 'stale' ? '1h' : '0s' },
        onFailure: storm.onFailure,
      })
    },
  })
  try {
    return await blow(sts, storm, (milliseconds) => void (clock.milliseconds += milliseconds))
  } finally {
    await sts.close()
  }
}

async function blow(sts: Sts, storm: Storm, pass: (milliseconds: number) => void) {
  const draw = drawFrom(storm.seed)
  const names = Array.from({ length: storm.users }, (_, i) => `user${i}@acme.example`)
  for (const name of names) sts.api.users.set(name, ['SAP_ORD_R'])
  sts.api.behave({
    before: () => sts.api.behave({ status: draw.chance(storm.failing) ? 503 : undefined }),
  })
  const startedAt = performance.now()
  const done = { exchanges: 0, refused: 0 }
  for (let round = 0; round < storm.rounds; round += 1) {
    const queue = names.values()
    const lanes = Array.from({ length: CONCURRENCY }, async () => {
      for (const name of queue) await comeBack(sts, storm, name, done)
    })
    await Promise.all(lanes)
    pass(FRESH_MILLISECONDS)
  }
  const lookups = storm.users * storm.rounds
  const calls = sts.api.requests.length
  return {
    ...done,
    lookups,
    calls,
    ratio: calls / lookups,
    seconds: Math.round(performance.now() - startedAt) / 1000,
  }
}

async function comeBack(
  sts: Sts,
  { atOnce, retries }: Storm,
  name: string,
  done: { exchanges: number; refused: number },
): Promise<void> {
  const subject = sts.subjectToken({ sub: name, upn: name })
  const once = async (): Promise<boolean> => {
    const { status, body } = await sts.token({
      grant_type: EXCHANGE,
      subject_token_type: JWT_TYPE,
      subject_token: subject,
    })
    if (['overloaded', 'ledger_unavailable'].includes(String(body['error_code']))) {
      // There was no room on this machine or its disk: it is not what is measured here.
      await sleep(OVERLOADED_MILLISECONDS)
      return once()
    }
    done.exchanges += 1
    if (status === 200) return true
    if (body['error_code'] !== 'entitlements_unavailable')
      throw new Error(`refused for another reason: ${JSON.stringify(body)}`)
    done.refused += 1
    return false
  }
  const insistent = async (): Promise<void> => {
    for (let attempt = 0; attempt <= retries; attempt += 1) if (await once()) return
  }
  await Promise.all(Array.from({ length: atOnce }, insistent))
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { users: { type: 'string' }, rounds: { type: 'string' } },
  })
  const usual = {
    users: Number(values.users ?? 200),
    rounds: Number(values.rounds ?? 10),
    atOnce: 3,
    retries: 3,
    seed: 1,
  }
  const well = await entitlementStorm({ ...usual, failing: 0, onFailure: 'deny' })
  const failing = await entitlementStorm({ ...usual, failing: 0.1, onFailure: 'deny' })
  const bridged = await entitlementStorm({ ...usual, failing: 0.1, onFailure: 'stale' })
  const dead = await entitlementStorm({ ...usual, failing: 1, onFailure: 'deny' })
  const ok = well.ratio === 1 && failing.ratio <= 1.1 && bridged.ratio <= 1.1 && dead.ratio <= 1.1
  process.stdout.write(`${JSON.stringify({ ok, well, failing, bridged, dead }, null, 2)}\n`)
  process.exitCode = ok ? 0 : 1
}
