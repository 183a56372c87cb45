import type { Random } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import { waitUnder } from '../resilience/deadline.ts'
import { type Kept, LoadFailed } from '../resilience/swr.ts'
import { createSwrCache } from '../resilience/swr-cache.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type Answer, limitedEvidence, markedStale, merged, sizeOfAnswer } from './answer.ts'
import { type AskDeps, createAsk, failureOf } from './ask.ts'
import type { Source } from './options.ts'
import { type PlannedSource, planSources, type SourcePlan } from './plan.ts'
import { createSharedLevel, READ_MILLISECONDS } from './second-level.ts'
import type { Purge, SharedAnswers } from './shared-answers.ts'

/** Answers kept, over all tenants and sources; the least recently used are forgotten first. */
const MAX_ANSWERS = 100_000
/** Bound on what they hold together: many users with long role lists must not fill the memory. */
const MAX_BYTES = 64 * 1024 * 1024
/** A load may take this much longer than the source, for the shared answers before it. */
const GRACE_MILLISECONDS = READ_MILLISECONDS + 50
/** When callers may try again, at least: a storm of retries must not be what keeps a source down. */
const LEAST_RETRY_SECONDS = 2

/** A user as the sources know them, and the IdP that vouches for them. */
export interface EntitledUser {
  readonly idp: string
  readonly user: string
}

/** What one look-up at one source came to. `loaded` and `shared` were waited for; `fresh` came from memory. */
export type LookupOutcome =
  | 'fresh'
  | 'stale'
  | 'limited'
  | 'loaded'
  | 'shared'
  | 'unknown-user'
  | 'failed'

/** What the look-up is given. */
export interface EntitlementLookupDeps extends AskDeps {
  readonly random: Random
  /** Answers that replicas share; left out where there are none. */
  readonly shared?: SharedAnswers | undefined
  /** Told of every call of the shared answers that failed or was too slow. */
  readonly sharedFailed?: (error: unknown) => void
  /** Told once for each look-up and source, from memory too: it must cost next to nothing. */
  readonly outcome?: (tenant: string, source: string, outcome: LookupOutcome) => void
  /** Told of a bug in a look-up that nobody waited for. */
  readonly unexpected?: (error: unknown) => void
}

/**
 * What all sources that serve this IdP say about the user, merged by union.
 *
 * All of them or none: one source that fails refuses the look-up, unless its own failure policy has something to stand in, as a union
 * without it would be a set of roles that nobody decided on. The wait ends with `signal`; the calls go on for whoever else waits.
 *
 * @throws {Refusal} `entitlements_unavailable` when a source fails, none serves the IdP, or `signal` fires first; if its reason is a
 *   refusal, that one.
 */
export type LookupEntitlements = (
  tenant: Tenant,
  who: EntitledUser,
  signal: AbortSignal,
) => Promise<EntitlementEvidence>

/** What a purge came to. */
export interface Purged {
  /** Answers forgotten by this replica. */
  readonly entries: number
  /** Whether the shared answers, and so the other replicas, have heard of it; undefined when there are none. */
  readonly shared: boolean | undefined
}

/** What the cache of entitlements holds, for metrics and operators. */
export interface EntitlementCacheFacts {
  readonly entries: number
  readonly bytes: number
  readonly maxBytes: number
  readonly loading: number
  readonly hits: number
  readonly loads: number
  readonly sources: readonly {
    readonly tenant: string
    readonly source: string
    readonly entries: number
    readonly bytes: number
  }[]
}

/** The look-up of entitlements with what operators do to its cache. */
export interface EntitlementLookup {
  readonly lookup: LookupEntitlements
  /**
   * Forgets answers, here and in every replica that shares them. A load under way is answered to whoever waits for it, and not kept.
   * Never rejects: that the others could not be told is in the result.
   */
  purge(what: Purge, signal: AbortSignal): Promise<Purged>
  facts(): EntitlementCacheFacts
  /** Stops listening for the purges of others. */
  close(): void
}

/**
 * Looks entitlements up, with each source under its own cache windows and failure policy:
 *
 * 1. Until `cache.fresh` an answer is used as it is. In the last fifth of that, at a moment drawn for each answer, a new one is fetched
 *    meanwhile, so that users who came together do not come back together, and nobody waits.
 * 2. For `cache.stale` longer it is used at once, marked `stale`, while a new one is fetched. The operator asked for that by setting it,
 *    so it holds under every policy; but `deny` means that a failure is never bridged, so under `deny` it ends with the first failure.
 * 3. After that the source is asked, and waited for. When that fails, `stale` and `limited` use the last answer, marked `stale`, until
 *    the larger of `cache.stale` and `cache.staleIfError` after `fresh`. That limit is hard.
 * 4. Where no answer may be used, `limited` grants the roles of `limited`, in a token of a short life. Not to somebody whom the source
 *    did not know when it last answered, however long ago: a person without an entry has left or never came, and an outage must not be
 *    the way to get roles. Of somebody never asked about, nothing of the kind is known.
 * 5. Else the look-up is refused. A failed look-up is never "no roles", and "no such user" is used for `cache.unknownUser` and no longer.
 *
 * A failure is remembered for half a second, twice as long after each further one, up to 5 s, so that a dead source is not asked at every
 * request. An answer from the future, which is one from before the clock was set back, is not used at all.
 */
export function createEntitlementLookup(deps: EntitlementLookupDeps): EntitlementLookup {
  const { clock, random, shared, outcome = ignore, sharedFailed = ignore } = deps
  const plans = new WeakMap<Tenant, SourcePlan>()
  const cache = createSwrCache<Answer>(
    { clock, random },
    {
      maxEntries: MAX_ANSWERS,
      maxBytes: MAX_BYTES,
      sizeOf: sizeOfAnswer,
      failureOf,
      unexpected: deps.unexpected ?? ignore,
    },
  )
  const level = shared && createSharedLevel({ shared, clock, failed: sharedFailed })
  const stopListening = shared?.onPurge(forget)

  const lookup: LookupEntitlements = async (tenant, { idp, user }, signal) => {
    const planned = planOf(tenant).get(idp) ?? []
    if (planned.length === 0) throw unavailable(new Error(`no source serves the IdP ${idp}`))
    return atHand(tenant, planned, user) ?? (await waitFor(tenant, planned, user, signal))
  }

  function planOf(tenant: Tenant): SourcePlan {
    let plan = plans.get(tenant)
    if (!plan) plans.set(tenant, (plan = planSources(tenant, openShelf)))
    return plan
  }

  function openShelf(tenant: Tenant, source: Source, identity: string) {
    return cache.shelf({
      tags: tagsOf({ tenant: tenant.name, source: source.name }),
      version: identity,
      lives: {
        fresh: source.freshMilliseconds,
        stale: source.staleMilliseconds,
        staleIfError: source.staleIfErrorMilliseconds,
        negative: source.unknownUserMilliseconds,
      },
      bridgesFailure: source.onFailure !== 'deny',
      deadlineMilliseconds: source.totalMilliseconds + GRACE_MILLISECONDS,
      load: createAsk(deps, tenant, source),
      second: level?.of(tenant, source, identity),
    })
  }

  /** What memory says, if it says all. */
  function atHand(tenant: Tenant, planned: readonly PlannedSource[], user: string) {
    const now = clock.now()
    const parts: EntitlementEvidence[] = []
    let first: Answer | undefined
    for (const { source, answers } of planned) {
      const kept = answers.atHand(user, now)
      if (!kept) return undefined
      first ??= kept.value
      parts.push(evidenceOf(kept, source, now))
    }
    for (const [i, { unknownUser, status }] of parts.entries())
      outcome(tenant.name, planned[i]?.source.name ?? '', unknownUser ? 'unknown-user' : status)
    const [only] = parts
    return only && parts.length === 1 ? only : merged(parts, first)
  }

  async function waitFor(
    tenant: Tenant,
    planned: readonly PlannedSource[],
    user: string,
    signal: AbortSignal,
  ): Promise<EntitlementEvidence> {
    try {
      // Nobody would read the answers.
      signal.throwIfAborted()
      const asked = planned.map((each) => answerOf(tenant, each, user))
      return merged(await waitUnder(Promise.all(asked), signal), undefined)
    } catch (error) {
      if (error instanceof Refusal) throw error
      if (signal.aborted) throw unavailable(error)
      throw error
    }
  }

  async function answerOf(
    tenant: Tenant,
    { source, answers }: PlannedSource,
    user: string,
  ): Promise<EntitlementEvidence> {
    const tell = (what: LookupOutcome): void => outcome(tenant.name, source.name, what)
    try {
      const { kept, from } = await answers.get(user)
      const evidence = evidenceOf(kept, source, clock.now())
      if (evidence.unknownUser) tell('unknown-user')
      else if (evidence.status === 'stale') tell('stale')
      else tell(OUTCOME_FROM[from])
      return evidence
    } catch (error) {
      if (!(error instanceof LoadFailed)) throw error
      const { onFailure, limited } = source
      if (onFailure === 'limited' && limited && answers.last(user)?.negative !== true) {
        tell('limited')
        return limitedEvidence(limited, clock.now())
      }
      tell('failed')
      throw unavailable(error.cause, error.retryAfterMilliseconds)
    }
  }

  /** Here alone. */
  function forget(what: Purge): number {
    level?.purged(what)
    return cache.purge({
      tags: tagsOf(what),
      ids: what.user === undefined ? undefined : [what.user],
    })
  }

  return {
    lookup,
    async purge(what, signal) {
      const entries = forget(what)
      if (!shared) return { entries, shared: undefined }
      try {
        await waitUnder(shared.purge(what, signal), signal)
        return { entries, shared: true }
      } catch (error) {
        sharedFailed(error)
        return { entries, shared: false }
      }
    },
    facts() {
      const { shelves, ...facts } = cache.facts()
      const sources = shelves.map(({ tags: [tenant = '', source = ''], entries, bytes }) => ({
        tenant: tenant.slice(TENANT_TAG.length),
        source: source.slice(SOURCE_TAG.length),
        entries,
        bytes,
      }))
      return { ...facts, sources }
    },
    close: () => stopListening?.(),
  }
}

/** What an answer says now: the same as ever, but marked when it is older than fresh. */
function evidenceOf(kept: Kept<Answer>, source: Source, now: number): EntitlementEvidence {
  const { value, askedAt, negative } = kept
  const isMarked = !negative && now - askedAt >= source.freshMilliseconds
  return isMarked ? (value.stale ?? markedStale(value)) : value.evidence
}

const OUTCOME_FROM = { memory: 'fresh', source: 'loaded', shared: 'shared' } as const
const TENANT_TAG = 'tenant '
const SOURCE_TAG = 'source '

function tagsOf({ tenant, source }: Omit<Purge, 'user'>): readonly string[] {
  const all = TENANT_TAG + tenant
  return source === undefined ? [all] : [all, SOURCE_TAG + source]
}

function unavailable(cause: unknown, retryAfterMilliseconds = 0): Refusal {
  return new Refusal(
    'entitlements_unavailable',
    'The roles of the user could not be read. Try again shortly.',
    {
      cause,
      retryAfterSeconds: Math.max(LEAST_RETRY_SECONDS, Math.ceil(retryAfterMilliseconds / 1000)),
    },
  )
}

function ignore(): void {}
