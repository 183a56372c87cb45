import type { PresentedCredentials } from '../client/credentials.ts'
import { type Clock, monotonicClock } from '../lib/clock.ts'
import type { Rate } from '../lib/duration.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { FailedAuthentications } from './failed-auth.ts'
import { rateFields, retryAfterSeconds, type ToldLimit } from './rate-fields.ts'
import type { RateAnswer, RateAsk, RateStore } from './rate-store.ts'

/** Which limit refused: for metrics. */
export type LimitName = 'total' | 'tenant' | 'client' | 'subject'

/** A client whose request was counted. */
export interface Admitted {
  /**
   * Counts the request also for a verified subject, so that one user's loop does not use up the client's share. The outcome is at once unless
   * a shared store has to be asked.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`, thrown or as the rejection.
   */
  subject(sub: string): undefined | Promise<undefined>
  /** `RateLimit-Policy` and `RateLimit` for the answer, when a limit of the caller is configured. */
  readonly headers: Readonly<Record<string, string>>
}

/** Decides by rate whether there is room for one more request. */
export interface Admission {
  /**
   * For the edge, before anything costs: refuses while the whole deployment or the tenant is known to have no room. It only looks. Counted
   * is in {@link client}: before authentication anyone could use up a tenant's limit.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`.
   */
  readonly door: (tenant: Tenant) => void
  /** What {@link door} would throw; one and the same for a second. For whoever can refuse cheaper than by throwing. */
  readonly full: (tenant: Tenant) => Refusal | undefined
  /**
   * Counts one request of an authenticated client, of its tenant and of the deployment: in all of them or in none, in one round trip where
   * there is one. Before authentication anyone could spend a victim's budget by sending its id.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`, thrown or as the rejection; the reason of `signal`.
   */
  client(tenant: Tenant, clientId: string, signal: AbortSignal): Admitted | Promise<Admitted>
}

/** Refuses before anything is verified what is known to be refused. @throws {Refusal} `rate_limited` with `retryAfterSeconds`. */
export type Door = (tenant: Tenant, credentials: PresentedCredentials) => void

/** The door of the edge: a limit that many share, and addresses that failed too often. */
export function createDoor({
  admission,
  failures,
}: {
  readonly admission: Pick<Admission, 'door'>
  readonly failures: Pick<FailedAuthentications, 'door'>
}): Door {
  return (tenant, credentials) => {
    admission.door(tenant)
    failures.door?.(tenant, credentials)
  }
}

/** What admission needs. */
export interface AdmissionDeps {
  readonly store: RateStore
  /** For how long the door stays shut; monotonic unless given. */
  readonly clock?: Clock
  /** Told of each refusal. For metrics. */
  readonly refused?: (tenant: string, limit: LimitName) => void
}

interface Limit extends RateAsk {
  readonly name: LimitName
}

const UNLIMITED: Admitted = { subject: () => undefined, headers: {} }

/** Admission by rate. A limit that is not configured costs one comparison; without a shared store everything is decided at once. */
export function createAdmission({
  store,
  clock = monotonicClock,
  refused,
}: AdmissionDeps): Admission {
  // Until when a bucket that many share has no room: by tenant, and under NUL for the deployment. As long as the configuration is.
  const fullUntil = new Map<string, number>()

  // An error costs more than all else about a refusal, and floods are refused by the thousand.
  const refusals = new Map<string, Refusal>()

  function shut(key: string, tenant: string, limit: LimitName): Refusal | undefined {
    const until = fullUntil.get(key)
    if (until === undefined) return undefined
    const waitMilliseconds = until - clock.now()
    if (waitMilliseconds <= 0) {
      fullUntil.delete(key)
      return undefined
    }
    const known = refusals.get(key)
    if (known?.retryAfterSeconds !== retryAfterSeconds(waitMilliseconds)) {
      const refusal = tooMany(tenant, limit, waitMilliseconds, [])
      refusals.set(key, refusal)
      return refusal
    }
    refused?.(tenant, limit)
    return known
  }

  function full(tenant: Tenant): Refusal | undefined {
    if (fullUntil.size === 0) return undefined
    return shut('\0', tenant.name, 'total') ?? shut(tenant.name, tenant.name, 'tenant')
  }

  function tooMany(
    tenant: string,
    limit: LimitName,
    waitMilliseconds: number,
    told: readonly ToldLimit[],
  ): Refusal {
    refused?.(tenant, limit)
    return new Refusal(
      'rate_limited',
      `Too many requests came ${SENDERS[limit]}. Try again after the time in Retry-After.`,
      { retryAfterSeconds: retryAfterSeconds(waitMilliseconds), headers: rateFields(told) },
    )
  }

  /** What the caller may be told of these limits. @throws {Refusal} when one of them has no room. */
  function judge(
    tenant: string,
    limits: readonly Limit[],
    answers: readonly RateAnswer[],
  ): ToldLimit[] {
    const told: ToldLimit[] = []
    let worst: { readonly limit: LimitName; readonly wait: number } | undefined
    for (const [i, { name, rate }] of limits.entries()) {
      const answer = answers[i]
      if (!answer) throw new TypeError('the rate store gave too few answers')
      const wait = answer.waitMilliseconds
      if (wait > (worst?.wait ?? 0)) worst = { limit: name, wait }
      if (name === 'client' || name === 'subject') told.push({ name, rate, answer })
      else noteFull(name === 'tenant' ? tenant : '\0', rate, answer)
    }
    if (!worst) return told
    const empty = told.filter(({ answer }) => answer.waitMilliseconds > 0)
    throw tooMany(tenant, worst.limit, worst.wait, empty)
  }

  /** A bucket that has no room now, or none for the next: until when, the door knows from here. */
  function noteFull(key: string, rate: Rate, answer: RateAnswer): void {
    const { waitMilliseconds, remaining, resetMilliseconds } = answer
    const next = resetMilliseconds - rate.perMilliseconds + rate.perMilliseconds / rate.count
    const wait = waitMilliseconds > 0 || remaining > 0 ? waitMilliseconds : next
    if (wait > 0) fullUntil.set(key, clock.now() + wait)
  }

  function take<T>(
    tenant: string,
    limits: readonly Limit[],
    signal: AbortSignal,
    then: (told: ToldLimit[]) => T,
  ): T | Promise<T> {
    const answers = store.take(limits, signal)
    if (answers instanceof Promise)
      return answers.then((given) => then(judge(tenant, limits, given)))
    return then(judge(tenant, limits, answers))
  }

  return {
    full,
    door(tenant) {
      const refusal = full(tenant)
      if (refusal) throw refusal
    },
    client(tenant, clientId, signal) {
      const { total, perTenant, perClient, perSubject } = tenant.limits
      if (!(total || perTenant || perClient || perSubject)) return UNLIMITED
      const admit = (told: ToldLimit[]): Admitted => ({
        subject(sub) {
          if (!perSubject) return undefined
          // NUL occurs in no tenant name and no client id, so the parts cannot be shifted against each other.
          const key = `subject\0${tenant.name}\0${clientId}\0${sub}`
          const limit: Limit = { name: 'subject', key, rate: perSubject }
          return take(tenant.name, [limit], signal, (more) => {
            told.push(...more)
            return undefined
          })
        },
        get headers() {
          return rateFields(told)
        },
      })
      const limits: Limit[] = []
      if (total) limits.push({ name: 'total', key: 'total\0', rate: total })
      if (perTenant) limits.push({ name: 'tenant', key: `tenant\0${tenant.name}`, rate: perTenant })
      if (perClient)
        limits.push({ name: 'client', key: `client\0${tenant.name}\0${clientId}`, rate: perClient })
      return limits.length > 0 ? take(tenant.name, limits, signal, admit) : admit([])
    },
  }
}

const SENDERS: Readonly<Record<LimitName, string>> = {
  total: 'in',
  tenant: 'for this tenant',
  client: 'from this client',
  subject: 'from this client for this subject',
}
