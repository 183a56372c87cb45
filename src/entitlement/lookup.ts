import { LRUCache } from 'lru-cache'
import { type Clock, numericDate } from '../lib/clock.ts'
import { Refusal } from '../lib/refusal.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import { DeadlineExceeded, waitUnder, withDeadline } from '../resilience/deadline.ts'
import { createSingleFlight } from '../resilience/single-flight.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { normaliseRoles, unionOfRoles } from './normalise.ts'
import { type PlannedSource, planSources, type SourcePlan } from './plan.ts'
import { type EntitlementSource, SourceFailure } from './source.ts'

/** Answers kept, over all tenants and sources; the least recently used are forgotten first. */
const MAX_ANSWERS = 100_000
/** Bound on what they hold together, in characters: many users with long role lists must not fill the memory. */
const MAX_CHARACTERS = 64 * 1024 * 1024
/** What an answer and each of its roles cost besides their characters; a rough figure for the bound above. */
const OVERHEAD_CHARACTERS = 32
/** When to try again after a source failed: long enough to breathe, short enough not to be noticed as an outage. */
const RETRY_AFTER_SECONDS = 5

/** A user as the sources know them, and the IdP that vouches for them. */
export interface EntitledUser {
  readonly idp: string
  readonly user: string
}

/** What the look-up is given. */
export interface EntitlementLookupDeps {
  readonly source: EntitlementSource
  readonly clock: Clock
  /** Told once for each failed call of a source, also when nobody waits for it any more. For the log. */
  readonly onFailure?: (tenant: string, failure: SourceFailure) => void
}

/**
 * What all sources that serve this IdP say about the user, merged by union.
 *
 * All of them or none: one source that fails refuses the look-up, as a union without it would be a set of roles that
 * nobody decided on. The wait ends with `signal`; the calls go on for whoever else waits for the same user.
 *
 * @throws {Refusal} `entitlements_unavailable` when a source fails, none serves the IdP, or `signal` fires first.
 */
export type LookupEntitlements = (
  tenant: Tenant,
  who: EntitledUser,
  signal: AbortSignal,
) => Promise<EntitlementEvidence>

/** One source's word on one user. */
interface Answer {
  readonly askedAt: number
  readonly evidence: EntitlementEvidence
  /** The last union this was the first part of; good for as long as all its parts are the current answers. */
  union?: { readonly parts: readonly Answer[]; readonly evidence: EntitlementEvidence }
}

/** Looks entitlements up, with an answer kept for `fresh`, "no such user" for `unknownUser`, and a failure not at all. */
export function createEntitlementLookup({
  source: port,
  clock,
  onFailure,
}: EntitlementLookupDeps): LookupEntitlements {
  const plans = new WeakMap<Tenant, SourcePlan>()
  const answers = new LRUCache<string, Answer>({
    max: MAX_ANSWERS,
    maxSize: MAX_CHARACTERS,
    sizeCalculation: sizeOf,
  })
  const flights = createSingleFlight<Answer>()

  return async (tenant, { idp, user }, signal) => {
    let plan = plans.get(tenant)
    if (!plan) plans.set(tenant, (plan = planSources(tenant)))
    const planned = plan.get(idp) ?? []
    if (planned.length === 0) throw unavailable(new Error(`no source serves the IdP ${idp}`))

    const now = clock.now()
    const kept = planned.map((each) => current(each, user, now))
    const parts = kept.every((answer) => answer !== undefined)
      ? kept
      : await askMissing(tenant, planned, kept, user, signal)
    return merged(parts)
  }

  function current({ source, keyPrefix }: PlannedSource, user: string, now: number) {
    const answer = answers.get(keyPrefix + user)
    if (!answer) return undefined
    const age = now - answer.askedAt
    const keep = answer.evidence.unknownUser
      ? source.unknownUserMilliseconds
      : source.freshMilliseconds
    // An age below zero means the clock was set back: how old the answer really is nobody knows.
    return age >= 0 && age < keep ? answer : undefined
  }

  async function askMissing(
    tenant: Tenant,
    planned: readonly PlannedSource[],
    kept: readonly (Answer | undefined)[],
    user: string,
    signal: AbortSignal,
  ): Promise<readonly Answer[]> {
    try {
      // Nobody would read the answers.
      signal.throwIfAborted()
      const asked = planned.map(
        async (each, i) =>
          kept[i] ?? flights.run(each.keyPrefix + user, () => ask(tenant, each, user)),
      )
      return await waitUnder(Promise.all(asked), signal)
    } catch (error) {
      if (signal.aborted || error instanceof SourceFailure) throw unavailable(error)
      throw error
    }
  }

  async function ask(
    tenant: Tenant,
    { source, keyPrefix }: PlannedSource,
    user: string,
  ): Promise<Answer> {
    // The age counts from the question: the source may have read its data at once and answered slowly.
    const askedAt = clock.now()
    const maxRoles = tenant.rules.maxSourceRoles
    try {
      const given = await withDeadline(source.totalMilliseconds, (deadline) =>
        port.rolesOf(source, user, maxRoles, deadline),
      )
      if (given.known && given.roles.length > maxRoles) {
        throw new SourceFailure(source.name, 'contract', `more than ${maxRoles} roles`)
      }
      const roles = given.known ? normaliseRoles(source.name, given.roles) : NO_ROLES
      const answer: Answer = { askedAt, evidence: evidence(askedAt, !given.known, roles) }
      answers.set(keyPrefix + user, answer)
      return answer
    } catch (error) {
      const failure =
        error instanceof DeadlineExceeded
          ? new SourceFailure(source.name, 'timeout', error.message, error)
          : error
      if (failure instanceof SourceFailure) onFailure?.(tenant.name, failure)
      throw failure
    }
  }
}

const NO_ROLES: readonly string[] = Object.freeze([])

function evidence(
  askedAt: number,
  unknownUser: boolean,
  roles: readonly string[],
): EntitlementEvidence {
  // Frozen, since every request for this user gets the same object.
  return Object.freeze({ status: 'fresh', at: numericDate(askedAt), unknownUser, roles })
}

/** The union of the answers, kept with the first of them so that a cached look-up neither sorts nor allocates. */
function merged(parts: readonly Answer[]): EntitlementEvidence {
  const [first] = parts
  if (first && parts.length === 1) return first.evidence
  if (first?.union && sameParts(first.union.parts, parts)) return first.union.evidence
  const union = evidence(
    Math.min(...parts.map((part) => part.askedAt)),
    // One source that knows the user is enough to know them.
    parts.every((part) => part.evidence.unknownUser),
    unionOfRoles(parts.map((part) => part.evidence.roles)),
  )
  if (first) first.union = { parts, evidence: union }
  return union
}

// The lengths count: another IdP may be served by the same sources and one more.
function sameParts(a: readonly Answer[], b: readonly Answer[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i])
}

function sizeOf(answer: Answer, key: string): number {
  let characters = key.length + OVERHEAD_CHARACTERS
  for (const role of answer.evidence.roles) characters += role.length + OVERHEAD_CHARACTERS
  return characters
}

function unavailable(cause: unknown): Refusal {
  return new Refusal(
    'entitlements_unavailable',
    'The roles of the user could not be read. Try again shortly.',
    { cause, retryAfterSeconds: RETRY_AFTER_SECONDS },
  )
}
