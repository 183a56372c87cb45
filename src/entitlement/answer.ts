import { numericDate } from '../lib/clock.ts'
import type { EntitlementEvidence } from '../policy/decision.ts'
import type { Kept } from '../resilience/swr.ts'
import { unionOfRoles } from './normalise.ts'
import type { LimitedRoles } from './options.ts'

/** One source's word on one user, as it is kept, with what was made of it before. */
export interface Answer {
  readonly evidence: EntitlementEvidence
  /** The same, marked as older than fresh. */
  stale?: EntitlementEvidence
  /** The last union this was the first part of; good for as long as all its parts are the current ones. */
  union?: { readonly parts: readonly EntitlementEvidence[]; readonly evidence: EntitlementEvidence }
}

const NO_ROLES: readonly string[] = Object.freeze([])

/** What a source said at this time; `roles` normalised, or undefined when it does not know the user. */
export function answerOf(askedAt: number, roles: readonly string[] | undefined): Kept<Answer> {
  const unknownUser = roles === undefined
  // Frozen, since every request for this user gets the same object.
  const evidence = Object.freeze({
    status: 'fresh' as const,
    at: numericDate(askedAt),
    unknownUser,
    roles: roles ?? NO_ROLES,
  })
  return { askedAt, negative: unknownUser, value: { evidence } }
}

/** The same, marked as older than fresh. */
export function markedStale(answer: Answer): EntitlementEvidence {
  const stale = Object.freeze({ ...answer.evidence, status: 'stale' as const })
  answer.stale = stale
  return stale
}

/** What stands in for a source that says nothing. `at` is now: no answer was used. */
export function limitedEvidence(limited: LimitedRoles, now: number): EntitlementEvidence {
  return Object.freeze({
    status: 'limited',
    at: numericDate(now),
    unknownUser: false,
    roles: unionOfRoles([limited.roles]),
    maxLifeSeconds: limited.ttlSeconds,
  })
}

/**
 * The union of what the sources said, kept with the first answer so that a look-up from memory neither sorts nor allocates. Its status is
 * the worst of its parts, its time that of the oldest, and it may live as long as the shortest.
 */
export function merged(
  parts: readonly EntitlementEvidence[],
  first: Answer | undefined,
): EntitlementEvidence {
  const [only] = parts
  if (only && parts.length === 1) return only
  const known = first?.union
  if (known && sameParts(known.parts, parts)) return known.evidence
  const lives = parts.flatMap(({ maxLifeSeconds }) => maxLifeSeconds ?? [])
  const evidence = Object.freeze({
    status: worst(parts),
    at: Math.min(...parts.map(({ at }) => at)),
    // One source that knows the user is enough to know them.
    unknownUser: parts.every(({ unknownUser }) => unknownUser),
    roles: unionOfRoles(parts.map(({ roles }) => roles)),
    ...(lives.length === 0 ? {} : { maxLifeSeconds: Math.min(...lives) }),
  })
  if (first) first.union = { parts, evidence }
  return evidence
}

/** Bytes of an answer, about: two for each character, as any may need two, and what objects and strings cost besides. */
export function sizeOfAnswer({ evidence: { roles } }: Answer): number {
  let bytes = ANSWER_BYTES
  for (const role of roles) bytes += 2 * role.length + ROLE_BYTES
  return bytes
}

const ANSWER_BYTES = 200
const ROLE_BYTES = 32

// The lengths count: another IdP may be served by the same sources and one more.
function sameParts(a: readonly EntitlementEvidence[], b: readonly EntitlementEvidence[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i])
}

function worst(parts: readonly EntitlementEvidence[]): EntitlementEvidence['status'] {
  for (const status of ['limited', 'stale'] as const)
    if (parts.some((part) => part.status === status)) return status
  return 'fresh'
}
