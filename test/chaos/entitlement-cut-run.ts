/** A deployment whose entitlement source is cut at every byte of three pages: its tokens must carry all roles, those of before, or not exist. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type EntitlementWire,
  startEntitlementWire,
  type WirePlan,
} from '../fakes/entitlement-wire.ts'
import {
  at,
  CLIENT,
  type ConfigTree,
  EXCHANGE,
  JWT_TYPE,
  type Sts,
  startSts,
} from '../fakes/sts.ts'

/** What the tenant wants when its source fails. */
export type Policy = 'deny' | 'stale' | 'limited'

/** What is to be done. */
export interface CutRun {
  /** Every how many bytes; 1 is all of them. */
  readonly step: number
  readonly log: (line: string) => void
  /** Makes the source leave roles out without a sign of it: then there has to be something partial, or a run without proves nothing. */
  readonly fault?: 'short-list'
}

/** What became of the exchanges. */
export interface CutReport {
  /** Exchanges whose look-up was on the wire when it was cut or changed. */
  readonly cuts: number
  /** Tokens with all roles. */
  readonly complete: number
  /** Tokens with all roles of before, marked `stale`. */
  readonly stale: number
  /** Tokens with the listed roles, marked `limited`. */
  readonly limited: number
  /** 503 `entitlements_unavailable`. */
  readonly refused: number
  /** Tokens with any other roles, and answers nobody planned for: there must be none. */
  readonly partial: number
  /** Refusals for another reason, as a slow disk; these cuts were made again and are counted as what they came to then. */
  readonly disturbed: number
  /** The first few of those. */
  readonly examples: readonly string[]
  /** Bytes of one look-up, by how its bodies end. */
  readonly bytes: Readonly<Record<string, number>>
  readonly seconds: number
}

type Outcome = 'complete' | 'stale' | 'limited' | 'refused' | 'partial'

const ROLES = ['a.read', 'a.write', 'b.read', 'b.write', 'admin']
const FORMER = ['old.one', 'old.two', 'old.three']
const LIMITED = ['guest']

const FRAMINGS: Readonly<Record<string, WirePlan>> = {
  'length, kept alive': { framing: 'length', keepAlive: true },
  length: { framing: 'length', keepAlive: false },
  'chunked, kept alive': { framing: 'chunked', keepAlive: true },
  chunked: { framing: 'chunked', keepAlive: false },
  close: { framing: 'close', keepAlive: false },
}

/** What happens at a byte. A crumbled answer comes byte by byte; one that heals is whole when it is asked for again. */
const WAYS: Readonly<Record<string, (at: number) => Partial<WirePlan>>> = {
  'ends politely': (cutAt) => ({ cutAt, ending: 'fin' }),
  'is reset': (cutAt) => ({ cutAt, ending: 'reset' }),
  'ends once': (cutAt) => ({ cutAt, ending: 'fin', heals: true }),
  'ends, crumbled': (cutAt) => ({ cutAt, ending: 'fin', crumbled: true }),
  // Without a digest and without TLS nothing could notice a changed letter of a role.
  'is changed': (corruptAt) => ({ corruptAt, digest: true }),
}

const DIGESTED = ', with a digest'

const POLICIES: readonly Policy[] = ['deny', 'stale', 'limited']
const GROUP = 24
/** Longer than an answer is fresh. */
const OUTDATED_MILLISECONDS = 120
const ATTEMPTS = 20

interface Cell {
  readonly plan: WirePlan
  readonly what: string
}

interface World {
  readonly sts: Sts
  readonly wire: EntitlementWire
  readonly policy: Policy
}

/** Runs all cells under all policies. */
export async function runCuts(run: CutRun): Promise<CutReport> {
  const began = performance.now()
  const counts = { complete: 0, stale: 0, limited: 0, refused: 0, partial: 0 }
  const examples: string[] = []
  let disturbed = 0
  let bytes: Readonly<Record<string, number>> = {}
  for (const policy of POLICIES) {
    const wire = await startEntitlementWire(ROLES)
    const sts = await startSts({ configure: (tree) => configure(tree, wire, policy) })
    try {
      const world = { sts, wire, policy }
      bytes = await measure(world)
      const cells = cellsOf(bytes, run)
      run.log(`${policy}: ${cells.length} cuts`)
      const all = await tryAll(world, cells, run.log)
      disturbed += all.disturbed
      for (const { outcome, example } of all.tried) {
        counts[outcome] += 1
        if (outcome === 'partial' && examples.length < 5) examples.push(`${policy}, ${example}`)
      }
    } finally {
      await sts.close()
      await wire.close()
    }
  }
  const cuts = Object.values(counts).reduce((all, count) => all + count, 0)
  return {
    cuts,
    ...counts,
    disturbed,
    examples,
    bytes,
    seconds: Math.round(performance.now() - began) / 1000,
  }
}

/** Why a report is no proof; nothing when it is one. */
export function faultsOf(report: CutReport): readonly string[] {
  const { partial, complete, stale, limited, refused, examples } = report
  const never = Object.entries({ complete, stale, limited, refused }).filter(([, n]) => n === 0)
  return [
    ...(partial > 0 ? [`${partial} partial, the first: ${examples[0]}`] : []),
    ...never.map(([outcome]) => `nothing was ${outcome}`),
  ]
}

function configure(tree: ConfigTree, wire: EntitlementWire, onFailure: Policy): void {
  const all = [...ROLES, ...FORMER, ...LIMITED]
  tree['limits'] = { perClient: '100000/s', perSubject: '100000/s' }
  const tenant = at(tree, 'tenants.acme')
  tenant['roles'] = { unmapped: 'keep' }
  at(tenant, 'sources.hr')['url'] = wire.url
  Object.assign(at(tenant, 'sources.hr'), {
    onFailure,
    timeout: { connect: '5s', read: '1s', total: '10s' },
    cache: { fresh: '100ms', ...(onFailure === 'stale' && { staleIfError: '10m' }) },
    ...(onFailure === 'limited' && { limited: { roles: LIMITED } }),
  })
  at(tenant, `clients.${CLIENT}`)['roles'] = all
}

const userOf = (index: number, attempt: number): string =>
  `c${String(index).padStart(6, '0')}t${String(attempt).padStart(2, '0')}@acme.example`

/** How many bytes a look-up has, by framing. */
async function measure({ sts, wire }: World): Promise<Record<string, number>> {
  const bytes: Record<string, number> = {}
  const digested = Object.entries(FRAMINGS).map(([name, plan]) => [
    name + DIGESTED,
    { ...plan, digest: true },
  ])
  const plans: Readonly<Record<string, WirePlan>> = { ...FRAMINGS, ...Object.fromEntries(digested) }
  for (const [index, [name, plan]] of Object.entries(plans).entries()) {
    const user = userOf(900_000 + index, 0)
    wire.plan(plan, user)
    const { status, text } = await exchange(sts, user)
    if (status !== 200) throw new Error(`${name} does not work uncut: ${text}`)
    bytes[name] = wire.written(user)
  }
  return bytes
}

function cellsOf(bytes: Readonly<Record<string, number>>, { step, fault }: CutRun): Cell[] {
  const short = fault && { roles: ROLES.slice(0, 3) }
  return Object.entries(FRAMINGS).flatMap(([name, framing]) =>
    Object.entries(WAYS).flatMap(([way, plan]) => {
      const whole = bytes[plan(0).digest ? name + DIGESTED : name] ?? 0
      return Array.from({ length: Math.ceil(whole / step) }, (_, index) => ({
        plan: { ...framing, ...plan(index * step), ...short },
        what: `${name}, ${way} at byte ${index * step}`,
      }))
    }),
  )
}

interface Tried {
  readonly outcome: Outcome
  readonly example: string
}

/**
 * Group by group. Whoever did not reach the wire, as the breaker was open, or was refused for a reason that is none of the source's, comes
 * again: a cell counts when it was cut.
 */
async function tryAll(
  world: World,
  cells: readonly Cell[],
  log: CutRun['log'],
): Promise<{ readonly tried: readonly Tried[]; readonly disturbed: number }> {
  const tried: Tried[] = []
  let disturbed = 0
  let left = cells.map((cell, index) => ({ cell, index, attempt: 0 }))
  while (left.length > 0) {
    const group = left.slice(0, GROUP)
    left = left.slice(GROUP)
    await closeBreaker(world.sts)
    const users = group.map(({ index, attempt }) => userOf(index, attempt))
    if (world.policy === 'stale') await warm(world, users)
    const outcomes = await Promise.all(
      group.map(({ cell }, i) => tryOne(world, cell, users[i] ?? '')),
    )
    for (const [i, each] of group.entries()) {
      const outcome = outcomes[i]
      if (outcome === 'disturbed') disturbed += 1
      if (outcome !== undefined && outcome !== 'disturbed')
        tried.push({ outcome: outcome[0], example: `${each.cell.what}: ${outcome[1]}` })
      else if (each.attempt < ATTEMPTS) left.push({ ...each, attempt: each.attempt + 1 })
      else throw new Error(`never reached the wire: ${each.cell.what}`)
    }
    if (tried.length % (GROUP * 40) < GROUP) log(`  ${tried.length} of ${cells.length}`)
  }
  return { tried, disturbed }
}

async function closeBreaker(sts: Sts): Promise<void> {
  const body = { name: 'source acme/hr', action: 'reset', reason: 'next group of cuts' }
  const { status, text } = await sts.admin('POST', '/breakers', body)
  if (status !== 200) throw new Error(`the breaker was not reset: ${text}`)
}

/** Everybody gets an answer of before, and it is no longer fresh. */
async function warm({ sts, wire }: World, users: readonly string[]): Promise<void> {
  for (const user of users) wire.plan({ framing: 'length', keepAlive: true, roles: FORMER }, user)
  await Promise.all(users.map((user) => exchange(sts, user)))
  await sleep(OUTDATED_MILLISECONDS)
}

/** Undefined when the wire was not asked. */
async function tryOne(
  { sts, wire, policy }: World,
  { plan }: Cell,
  user: string,
): Promise<readonly [Outcome, string] | 'disturbed' | undefined> {
  wire.plan(plan, user)
  const answer = await exchange(sts, user)
  if (wire.written(user) === 0) return undefined
  // No token, and for a reason that is not the source's: this machine is also doing other things.
  if (answer.code === 'ledger_unavailable' || answer.code === 'overloaded') return 'disturbed'
  return [judge(answer, policy), answer.text.slice(0, 200)]
}

function judge(answer: Awaited<ReturnType<typeof exchange>>, policy: Policy): Outcome {
  const { status, code, roles, freshness } = answer
  if (status === 503 && code === 'entitlements_unavailable') return 'refused'
  const is = (wanted: readonly string[], marked: string): boolean =>
    status === 200 && freshness === marked && roles.join() === wanted.toSorted().join()
  // What took longer than an answer is fresh is marked so when it comes.
  if (is(ROLES, 'fresh') || is(ROLES, 'stale')) return 'complete'
  if (policy === 'stale' && is(FORMER, 'stale')) return 'stale'
  if (policy === 'limited' && is(LIMITED, 'limited')) return 'limited'
  return 'partial'
}

async function exchange(sts: Sts, user: string) {
  const { status, text, body } = await sts.token({
    grant_type: EXCHANGE,
    subject_token_type: JWT_TYPE,
    subject_token: sts.subjectToken({ sub: user, upn: user }),
  })
  const token = body['access_token']
  const claims = typeof token === 'string' ? claimsOf(token) : {}
  const roles = (Array.isArray(claims['roles']) ? claims['roles'].map(String) : []).toSorted()
  const { status: freshness } = (claims['entitlements'] ?? {}) as { readonly status?: string }
  const shown = status === 200 ? JSON.stringify({ roles, freshness }) : text
  return { status, code: body['error_code'], roles, freshness, text: shown }
}

function claimsOf(token: string): Record<string, unknown> {
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  return JSON.parse(payload) as Record<string, unknown>
}
