import type { Clock } from '../lib/clock.ts'
import { withDeadline } from '../resilience/deadline.ts'
import type { Kept, SecondLevel } from '../resilience/swr.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type Answer, answerOf } from './answer.ts'
import { acceptedRoles } from './ask.ts'
import type { Source } from './options.ts'
import { createPurgeTimes } from './purge-times.ts'
import type { Purge, SharedAnswer, SharedAnswers } from './shared-answers.ts'
import { SourceFailure } from './source.ts'

/** Longest wait for the shared answers: what they save is a call of a source, not an outage. */
export const READ_MILLISECONDS = 50
const WRITE_MILLISECONDS = 1000

/** The answers that replicas share, as the cache of one replica uses them. */
export interface SharedLevel {
  of(tenant: Tenant, source: Source, identity: string): SecondLevel<Answer>
  /** Notes a purge, so that no answer from before it is taken from here again, whoever put it there late. */
  purged(what: Purge): void
}

interface SharedLevelDeps {
  readonly shared: SharedAnswers
  readonly clock: Clock
  /** Told of every call that failed or was too slow. */
  readonly failed: (error: unknown) => void
}

/** Never fails a look-up: what cannot be read in time is not there. */
export function createSharedLevel({ shared, clock, failed }: SharedLevelDeps): SharedLevel {
  const purges = createPurgeTimes()
  return {
    purged: (what) => purges.note(what, clock.now()),
    of(tenant, source, identity) {
      const maxRoles = tenant.rules.maxSourceRoles
      const placeOf = (user: string) => ({
        tenant: tenant.name,
        source: `${source.name}#${identity}`,
        user,
      })
      return {
        async read(user) {
          try {
            const found = await withDeadline(READ_MILLISECONDS, (signal) =>
              shared.get(placeOf(user), signal),
            )
            // One from the future comes from a replica whose clock is fast: it would be young for too long.
            if (!found || !(found.askedAt <= clock.now())) return undefined
            const lastPurge = purges.last(tenant.name, source.name, user)
            return found.askedAt > lastPurge ? checked(found, source.name, maxRoles) : undefined
          } catch (error) {
            failed(error)
            return undefined
          }
        },
        write(user, { askedAt, negative, value }) {
          const keep = usefulMilliseconds(source, negative) - (clock.now() - askedAt)
          if (keep <= 0) return
          const { roles } = value.evidence
          withDeadline(WRITE_MILLISECONDS, (signal) =>
            shared.put(placeOf(user), { askedAt, known: !negative, roles }, keep, signal),
          ).catch(failed)
        },
      }
    },
  }
}

/** How long after it was asked for an answer may be of any use. */
function usefulMilliseconds(source: Source, negative: boolean): number {
  if (negative) return source.unknownUserMilliseconds
  const { freshMilliseconds, staleMilliseconds, staleIfErrorMilliseconds, onFailure } = source
  const ifError = onFailure === 'deny' ? 0 : staleIfErrorMilliseconds
  return freshMilliseconds + Math.max(staleMilliseconds, ifError)
}

/** The answer, judged like one of the source itself; undefined when it is none. */
function checked(
  { askedAt, known, roles }: SharedAnswer,
  source: string,
  maxRoles: number,
): Kept<Answer> | undefined {
  try {
    return answerOf(askedAt, known ? acceptedRoles(source, roles, maxRoles) : undefined)
  } catch (error) {
    if (error instanceof SourceFailure) return undefined
    throw error
  }
}
