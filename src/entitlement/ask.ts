import type { Clock } from '../lib/clock.ts'
import { DeadlineExceeded } from '../resilience/deadline.ts'
import type { Kept } from '../resilience/swr.ts'
import { UpstreamRefused, type Upstreams, type Verdict } from '../resilience/upstream.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type Answer, answerOf } from './answer.ts'
import { normaliseRoles } from './normalise.ts'
import type { Source } from './options.ts'
import { type EntitlementSource, SourceFailure } from './source.ts'

/** What asking needs. */
export interface AskDeps {
  readonly source: EntitlementSource
  readonly clock: Clock
  readonly upstreams: Upstreams
  /** Told once for each look-up that failed, retries included, also when nobody waits for it any more. For the log. */
  readonly onFailure?: ((tenant: string, failure: SourceFailure) => void) | undefined
}

/**
 * The way to one source, through its own bulkhead and breaker.
 *
 * @throws {SourceFailure} for anything but a complete answer; {@link UpstreamRefused} when it was not asked.
 */
export function createAsk(
  { source: port, clock, upstreams, onFailure }: AskDeps,
  tenant: Tenant,
  source: Source,
): (user: string) => Promise<Kept<Answer>> {
  const { concurrency, batch, totalMilliseconds } = source
  const maxRoles = tenant.rules.maxSourceRoles
  const options = {
    name: `source ${tenant.name}/${source.name}`,
    tenant: tenant.name,
    kind: 'source' as const,
    totalMilliseconds,
    // With a batch endpoint many look-ups share a connection, and each is a call.
    concurrency: concurrency * (batch?.max ?? 1),
    judge,
  }
  return async (user) => {
    // The age counts from the first question: the source may have read its data at once and answered slowly.
    const askedAt = clock.now()
    try {
      const given = await upstreams
        .for(options)
        .call((signal) => port.rolesOf(source, user, maxRoles, signal))
      if (!given.known) return answerOf(askedAt, undefined)
      return answerOf(askedAt, acceptedRoles(source.name, given.roles, maxRoles))
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

/** The roles as a set. @throws {SourceFailure} `contract` when there are too many, or one is none. */
export function acceptedRoles(
  source: string,
  roles: readonly string[],
  maxRoles: number,
): readonly string[] {
  if (roles.length > maxRoles)
    throw new SourceFailure(source, 'contract', `more than ${maxRoles} roles`)
  return normaliseRoles(source, roles)
}

/** What an error of a load means to the cache: whether the source was asked, and how long it wants to be left alone. */
export function failureOf(error: unknown) {
  if (error instanceof SourceFailure)
    return { asked: true, waitMilliseconds: error.retryAfterMilliseconds ?? 0 }
  if (error instanceof UpstreamRefused)
    return { asked: false, waitMilliseconds: error.retryAfterSeconds * 1000 }
  return error instanceof DeadlineExceeded ? { asked: true, waitMilliseconds: 0 } : undefined
}

/**
 * What a failure says about the health of the source. One that breaks its contract, or refuses our credential, answers: to stop asking
 * would not mend it, and would keep out the users it answers rightly for.
 */
function judge(error: unknown): Verdict {
  if (!(error instanceof SourceFailure)) return { kind: 'answer', retryable: false }
  const { kind, status, retryable, retryAfterMilliseconds } = error
  const isAnswer =
    kind === 'contract' || (status !== undefined && status < 500 && status !== TOO_MANY_REQUESTS)
  return {
    kind: isAnswer ? 'answer' : 'failure',
    retryable,
    summary: status === undefined ? kind : `${kind} ${status}`,
    ...(retryAfterMilliseconds === undefined ? {} : { retryAfterMilliseconds }),
  }
}

const TOO_MANY_REQUESTS = 429
