/**
 * Slows down guessing and keeps its cost low: after too many failed client authentications from one address, more are refused before anything
 * is verified.
 *
 * Counted is for each address and client it names, and ten times as much for the address alone. By the address alone, one client with a wrong
 * secret would shut out everybody who comes through the same NAT or proxy; now it shuts out itself, as a refused attempt is not counted.
 *
 * What remains: whoever shares an address with a client can shut that client out there; an attacker with many addresses has as many budgets;
 * and each replica lets attempts through that began before it heard of the failures. Those are counted as well and lengthen the wait, so that
 * on average the limit holds. Addresses are remembered by themselves: flooding that memory costs one failure for each entry, and all it
 * brings is that addresses are let in again.
 */
import { LRUCache } from 'lru-cache'
import type { PresentedCredentials } from '../client/credentials.ts'
import { type Clock, monotonicClock } from '../lib/clock.ts'
import type { Rate } from '../lib/duration.ts'
import { networkOf } from '../lib/network.ts'
import { Refusal } from '../lib/refusal.ts'
import type { Tenant } from '../tenant/tenant.ts'
import { retryAfterSeconds } from './rate-fields.ts'
import type { RateAnswer, RateStore } from './rate-store.ts'

/** Addresses, and pairs of address and client, that are remembered. */
const MOST_REMEMBERED = 100_000
const ADDRESS_TIMES = 10
/** The largest count that a bucket keeps exactly, whatever the period. */
const MOST_COUNTED = 999_999_999

/** Who failed to authenticate, and from where. */
export interface FailedAuthentications {
  /**
   * For the edge, before the credentials are verified. Undefined until somebody fails; after that, an address without failures costs one look-up.
   * @throws {Refusal} `rate_limited` with `retryAfterSeconds`.
   */
  readonly door: ((tenant: Tenant, credentials: PresentedCredentials) => void) | undefined
  /** Counts a failure for the address that the credentials came from. */
  readonly failed: (tenant: Tenant, credentials: PresentedCredentials) => void
}

/** What counting needs. */
export interface FailedAuthenticationsDeps {
  readonly store: RateStore
  /** Monotonic unless given. */
  readonly clock?: Clock
  /** Told of each attempt that was refused at the door. For metrics. */
  readonly refused?: (tenant: string) => void
}

/** Counts failed authentications by address; `limit` is what one client may fail from one address. */
export function createFailedAuthentications(
  { store, clock = monotonicClock, refused }: FailedAuthenticationsDeps,
  limit: () => Rate,
): FailedAuthentications {
  /** Until when each is shut out; an address that failed at all is there. */
  const shutUntil = new LRUCache<string, number>({ max: MOST_REMEMBERED })
  // The store has a deadline of its own, and nobody waits for what it says.
  const never = new AbortController().signal

  function note(keys: readonly string[], answers: readonly RateAnswer[]): void {
    for (const [i, key] of keys.entries())
      shutUntil.set(key, clock.now() + (answers[i]?.waitMilliseconds ?? 0))
  }

  function failed(tenant: Tenant, credentials: PresentedCredentials): void {
    if (credentials.from === undefined) return
    const address = networkOf(credentials.from)
    const rate = limit()
    const whole = { ...rate, count: Math.min(rate.count * ADDRESS_TIMES, MOST_COUNTED) }
    const pair = pairOf(tenant, address, credentials)
    const answers = store.take(
      [
        { key: `failed-address\0${address}`, rate: whole, happened: true },
        { key: `failed-client\0${pair}`, rate, happened: true },
      ],
      never,
    )
    if (answers instanceof Promise)
      answers.then(
        (given) => note([address, pair], given),
        () => undefined,
      )
    else note([address, pair], answers)
  }

  function door(tenant: Tenant, credentials: PresentedCredentials): void {
    if (credentials.from === undefined) return
    const place = networkOf(credentials.from)
    const until = shutUntil.get(place)
    if (until === undefined) return
    const pair = shutUntil.get(pairOf(tenant, place, credentials)) ?? 0
    const wait = Math.max(until, pair) - clock.now()
    if (wait <= 0) return
    refused?.(tenant.name)
    throw new Refusal(
      'rate_limited',
      'Too many client authentications failed from this address. Check the credential and try again after the time in Retry-After.',
      { retryAfterSeconds: retryAfterSeconds(wait) },
    )
  }

  const failures = {
    // As long as nobody failed, nobody looks.
    door: undefined as FailedAuthentications['door'],
    failed(tenant: Tenant, credentials: PresentedCredentials) {
      failures.door = door
      failed(tenant, credentials)
    },
  }
  return failures
}

/** Names of unknown clients are the attacker's choice, so they share one count. */
function pairOf(tenant: Tenant, address: string, credentials: PresentedCredentials): string {
  const named = credentials.basic?.id ?? credentials.clientId ?? assertedSubject(credentials)
  const known = named !== undefined && tenant.clients.has(named) ? named : ''
  return `${address}\0${tenant.name}\0${known}`
}

/** The `sub` that an assertion claims, unverified: good enough to choose a counter. Read only for addresses that have failed. */
function assertedSubject({ assertion }: PresentedCredentials): string | undefined {
  const payload = assertion?.reveal().split('.', 2)[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    if (typeof claims !== 'object' || claims === null || !('sub' in claims)) return undefined
    return typeof claims.sub === 'string' ? claims.sub : undefined
  } catch {
    return undefined
  }
}
