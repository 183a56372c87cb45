import { LRUCache } from 'lru-cache'
import type { Clock } from '../lib/clock.ts'
import type { Rate } from '../lib/duration.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { type Bucket, gcra } from './gcra.ts'
import type { RateLimits } from './options.ts'

/** Keys remembered of each kind; the least recently seen are forgotten first and start with a full burst again. */
const MAX_KEYS = 100_000

/** Decides whether there is room for one more request of a caller; counted in this process only. */
export interface Admission {
  /**
   * Counts one request of an authenticated client. Before authentication anyone could spend a victim's budget by
   * sending its id.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`.
   */
  client(tenant: Tenant, clientId: string): void
  /**
   * Counts one request of this client for a verified subject, so that one user's loop does not use up the client's share.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`.
   */
  subject(tenant: Tenant, clientId: string, sub: string): void
}

/** Admission by rate. A limit that is not configured costs one comparison. */
export function createAdmission(
  { clock }: { readonly clock: Clock },
  limits: () => RateLimits,
): Admission {
  // Two memories: a client that brings many subjects must not push clients, itself included, out of theirs.
  // Made on first use: each reserves about 3 MB, which a deployment without limits need not have.
  let clients: LRUCache<string, Bucket> | undefined
  let subjects: LRUCache<string, Bucket> | undefined

  function admit(buckets: LRUCache<string, Bucket>, key: string, rate: Rate, who: string): void {
    const { bucket, waitMilliseconds } = gcra(buckets.get(key), clock.now(), rate)
    buckets.set(key, bucket)
    if (waitMilliseconds > 0) {
      throw new Refusal(
        'rate_limited',
        `Too many requests came ${who}. Try again after the time in Retry-After.`,
        { retryAfterSeconds: Math.ceil(waitMilliseconds / 1000) },
      )
    }
  }

  return {
    client(tenant, clientId) {
      const rate = limits().perClient
      if (!rate) return
      clients ??= new LRUCache({ max: MAX_KEYS })
      admit(clients, `${tenant.name}\0${clientId}`, rate, 'from this client')
    },
    subject(tenant, clientId, sub) {
      const rate = limits().perSubject
      if (!rate) return
      subjects ??= new LRUCache({ max: MAX_KEYS })
      // NUL occurs in no tenant name and no client id, so the parts cannot be shifted against each other.
      const key = `${tenant.name}\0${clientId}\0${sub}`
      admit(subjects, key, rate, 'from this client for this subject')
    },
  }
}
