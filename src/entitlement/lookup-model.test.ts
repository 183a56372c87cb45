import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sourceOf } from '../../test/fakes/entitlement-source.ts'
import { anIdp, aTenant } from '../../test/fakes/policy.ts'
import { createMemorySharedAnswers } from '../adapters/memory/shared-answers.ts'
import { isRefusal } from '../lib/refusal.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import { createUpstreams } from '../resilience/upstreams.ts'
import { createEntitlementLookup } from './lookup.ts'
import type { Source } from './options.ts'
import { type EntitlementSource, SourceFailure } from './source.ts'

const START = 1_790_000_000_000
const NAMES = ['hr', 'crm'] as const
const ROLES_EACH = 3
/** Longest time that a failure keeps anybody from asking: the backoff, then the breaker, each once. */
const RECOVERY_MILLISECONDS = 12_000

type Name = (typeof NAMES)[number]
type User = 'ada' | 'bob'
type Health = 'well' | 'status' | 'contract'

/** What happens next in a history. */
type Step =
  | { readonly do: 'ask'; readonly replica: 0 | 1; readonly user: User }
  | { readonly do: 'pass'; readonly milliseconds: number }
  | { readonly do: 'change'; readonly source: Name; readonly user: User; readonly known: boolean }
  | { readonly do: 'health'; readonly source: Name; readonly health: Health }
  | {
      readonly do: 'purge'
      readonly replica: 0 | 1
      readonly source: Name | undefined
      readonly user: User | undefined
    }

/** One answer that a source gave: the only thing that roles may come from. */
interface Given {
  readonly source: Name
  readonly user: User
  readonly at: number
  /** Undefined when it did not know the user. */
  readonly version: number | undefined
}

const name = fc.constantFrom(...NAMES)
// Mostly one user at one replica: histories that never come back to what they asked before prove little.
const user = fc.constantFrom<User>('ada', 'ada', 'ada', 'bob')
const replica = fc.constantFrom<0 | 1>(0, 0, 1)
const span = fc.oneof(
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 5000, max: 70_000 }),
  fc.constantFrom(9_999, 10_000, 10_001, 30_000, 39_999, 59_999, 60_000, 69_999, 70_000, 120_000),
)

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const), replica, user }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), milliseconds: span }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('change' as const),
      source: name,
      user,
      known: fc.constantFrom(true, true, false),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('health' as const),
      source: name,
      health: fc.constantFrom<Health>('well', 'status', 'contract'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('purge' as const),
      replica,
      source: fc.option(name, { nil: undefined }),
      user: fc.option(user, { nil: undefined }),
    }),
  },
)

const source = (own: Name) =>
  fc
    .record({
      freshMilliseconds: fc.constantFrom(10_000, 60_000),
      staleMilliseconds: fc.constantFrom(0, 30_000),
      staleIfErrorMilliseconds: fc.constantFrom(0, 60_000),
      unknownUserMilliseconds: fc.constantFrom(0, 10_000, 30_000),
      onFailure: fc.constantFrom<Source['onFailure']>('deny', 'stale', 'limited'),
    })
    .map((lives) =>
      sourceOf({ name: own, ...lives, limited: { roles: [`${own}.limited`], ttlSeconds: 900 } }),
    )

/** Sources whose every answer is written down, and two replicas that ask them and share what they hear. */
function createHouse(sources: readonly Source[], isShared: boolean, draw: number) {
  const clock = { milliseconds: START, now: () => clock.milliseconds }
  const random = { bytes: (length: number) => Buffer.alloc(length, draw) }
  const versions = new Map<string, number | undefined>(
    NAMES.flatMap((of) => [
      [`${of}/ada`, 0],
      [`${of}/bob`, 0],
    ]),
  )
  const health = new Map<string, Health>()
  const given: Given[] = []
  const port: EntitlementSource = {
    rolesOf: async ({ name: asked }, who) => {
      const ill = health.get(asked) ?? 'well'
      if (ill !== 'well') throw new SourceFailure(asked, ill, 'made to fail')
      const version = versions.get(`${asked}/${who}`)
      const known = isName(asked) && isUser(who) && { source: asked, user: who }
      if (known) given.push({ ...known, at: clock.now(), version })
      return version === undefined
        ? { known: false }
        : { known: true, roles: rolesOf(asked, version) }
    },
  }
  const connect = createMemorySharedAnswers({ clock })
  const tenant = aTenant({ name: 'acme', idps: new Map([['login', anIdp()]]), sources })
  const replicas = [0, 1].map(() =>
    createEntitlementLookup({
      source: port,
      clock,
      random,
      upstreams: createUpstreams({ random, clock }),
      shared: isShared ? connect() : undefined,
    }),
  )
  return { clock, tenant, replicas, versions, health, given, isShared }
}

const isName = (text: string): text is Name => NAMES.some((known) => known === text)
const isUser = (text: string): text is User => text === 'ada' || text === 'bob'

function rolesOf(of: string, version: number): string[] {
  return Array.from({ length: ROLES_EACH }, (_, i) => `${of}.v${version}.${i}`)
}

/** What the history says must be so; independent of how the cache is made. */
function createJudge({ clock, given, health }: ReturnType<typeof createHouse>) {
  const voidBefore: { readonly index: number; readonly source?: Name; readonly user?: User }[] = []
  const lastIllAt = new Map<Name, number>()
  /** The last answer that a source gave about a user and nothing purged, however old. */
  const usable = (of: Source, who: User) =>
    given.filter(
      (each, i) =>
        each.source === of.name &&
        each.user === who &&
        !voidBefore.some(
          (purge) =>
            i < purge.index && (purge.source ?? of.name) === of.name && (purge.user ?? who) === who,
        ),
    )
  return {
    purged(what: { readonly source: Name | undefined; readonly user: User | undefined }) {
      voidBefore.push({
        index: given.length,
        ...(what.source ? { source: what.source } : {}),
        ...(what.user ? { user: what.user } : {}),
      })
    },
    /** Notes who is ill; to be called before and after time passes. */
    look() {
      for (const each of NAMES)
        if ((health.get(each) ?? 'well') !== 'well') lastIllAt.set(each, clock.now())
    },
    /** Whether the source may have failed just now, as far as anybody could know. */
    mayFail: (of: Source) =>
      isName(of.name) &&
      clock.now() - (lastIllAt.get(of.name) ?? Number.NEGATIVE_INFINITY) <= RECOVERY_MILLISECONDS,
    /** Checks the part of one source in an answer; returns its status. */
    part(of: Source, who: User, evidence: EntitlementEvidence): EntitlementEvidence['status'] {
      const mine = evidence.roles.filter((role) => role.startsWith(`${of.name}.`))
      const now = clock.now()
      if (mine.includes(`${of.name}.limited`)) {
        assert.deepEqual(mine, [`${of.name}.limited`], 'limited stands alone')
        assert.equal(of.onFailure, 'limited')
        assert.ok(this.mayFail(of), 'limited while the source is well')
        assert.equal(evidence.maxLifeSeconds, 900)
        return 'limited'
      }
      const from = usable(of, who).filter(({ version }) =>
        version === undefined
          ? mine.length === 0
          : mine.join() === rolesOf(of.name, version).toSorted().join(),
      )
      assert.ok(from.length > 0, `no answer of ${of.name} says ${mine.join()}`)
      const youngest = Math.min(...from.map(({ at }) => now - at))
      if (mine.length === 0) {
        assert.ok(youngest <= 0 || youngest < of.unknownUserMilliseconds, 'unknown for too long')
        return 'fresh'
      }
      if (youngest < of.freshMilliseconds) return 'fresh'
      const ifError = of.onFailure === 'deny' ? 0 : of.staleIfErrorMilliseconds
      const limit = of.freshMilliseconds + Math.max(of.staleMilliseconds, ifError)
      assert.ok(youngest < limit, `${youngest} ms old, ${limit} allowed`)
      return 'stale'
    },
    isRightly(status: EntitlementEvidence['status'], parts: readonly string[]): boolean {
      if (parts.includes('limited')) return status === 'limited'
      // An old version that is the current one too may have been heard again: then fresh is right as well.
      return status === 'stale' ? true : status === 'fresh' && !parts.includes('stale')
    },
  }
}

/** Lets everything that was begun come to its end; nothing in here waits for a timer. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve))
}

async function live(house: ReturnType<typeof createHouse>, history: readonly Step[]) {
  const judge = createJudge(house)
  const seen: string[] = []
  let version = 0
  for (const now of history) {
    judge.look()
    if (now.do === 'pass') house.clock.milliseconds += now.milliseconds
    if (now.do === 'health') house.health.set(now.source, now.health)
    if (now.do === 'change') {
      const next = now.known ? (version += 1) : undefined
      house.versions.set(`${now.source}/${now.user}`, next)
    }
    if (now.do === 'purge') {
      // Without a shared cache a purge reaches one replica, as its answer says: so it is done at both.
      for (const [i, each] of house.replicas.entries()) {
        if (house.isShared && i !== now.replica) continue
        const { source: of, user: who } = now
        const what = {
          tenant: 'acme',
          ...(of ? { source: of } : {}),
          ...(who ? { user: who } : {}),
        }
        await each.purge(what, new AbortController().signal)
      }
      judge.purged(now)
    }
    judge.look()
    if (now.do !== 'ask') continue
    seen.push(await statusOf(house, judge, now.replica, now.user))
    await settle()
  }
  return seen
}

async function statusOf(
  house: ReturnType<typeof createHouse>,
  judge: ReturnType<typeof createJudge>,
  at: 0 | 1,
  who: User,
): Promise<string> {
  const { tenant } = house
  const wanted = house.replicas[at]?.lookup
  assert.ok(wanted)
  try {
    const evidence = await wanted(tenant, { idp: 'login', user: who }, new AbortController().signal)
    const parts = tenant.sources.map((of) => judge.part(of, who, evidence))
    assert.ok(judge.isRightly(evidence.status, parts), `${evidence.status} made of ${parts.join()}`)
    const known = evidence.roles.length > 0
    assert.equal(evidence.unknownUser, !known)
    return evidence.status
  } catch (error) {
    if (!isRefusal(error, 'entitlements_unavailable')) throw error
    assert.ok(tenant.sources.some(judge.mayFail), 'refused though every source is well')
    return 'refused'
  }
}

test('property: whatever fails, changes and is purged when, roles are a complete set that is young enough, the listed ones, or a refusal', async () => {
  const seen = new Map<string, number>()
  const config = fc.record({
    hr: source('hr'),
    crm: source('crm'),
    two: fc.boolean(),
    isShared: fc.boolean(),
    draw: fc.constantFrom(0, 100, 255),
    history: fc.array(step, { minLength: 10, maxLength: 60 }),
  })
  await fc.assert(
    fc.asyncProperty(config, async ({ hr, crm, two, isShared, draw, history }) => {
      const house = createHouse(two ? [hr, crm] : [hr], isShared, draw)
      for (const status of await live(house, history)) seen.set(status, (seen.get(status) ?? 0) + 1)
    }),
    { numRuns: 100 },
  )
  for (const status of ['fresh', 'stale', 'limited', 'refused'])
    assert.ok((seen.get(status) ?? 0) >= 10, `too few answers are ${status} to prove anything`)
})
