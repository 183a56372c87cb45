/**
 * The response fields of draft-ietf-httpapi-ratelimit-headers-11: structured lists (RFC 9651) of a policy's name with its parameters. Told are
 * the limits of the caller itself; how full the deployment or the tenant is would tell it of others (§8.2).
 */
import type { Rate } from '../lib/duration.ts'
import type { RateAnswer } from './rate-store.ts'

/** A limit of the caller, and how far it is used up. */
export interface ToldLimit {
  readonly name: 'client' | 'subject'
  readonly rate: Rate
  readonly answer: RateAnswer
}

/** `RateLimit-Policy` and `RateLimit`, by header name; nothing for no limits. */
export function rateFields(limits: readonly ToldLimit[]): Readonly<Record<string, string>> {
  if (limits.length === 0) return {}
  return {
    'RateLimit-Policy': limits.map(policy).join(', '),
    RateLimit: limits.map(serviceLimit).join(', '),
  }
}

/** Whole seconds to wait for `Retry-After` (RFC 9110 §10.2.3): never earlier than it helps, so rounded up, and never 0. */
export function retryAfterSeconds(waitMilliseconds: number): number {
  return Math.max(1, Math.ceil(waitMilliseconds / 1000))
}

/** §3.1: `q` requests in `w` seconds. */
function policy({ name, rate }: ToldLimit): string {
  return `"${name}";q=${rate.count};w=${Math.ceil(rate.perMilliseconds / 1000)}`
}

/** §4.1: `r` requests are left, and no more than those should be sent within `t` seconds. */
function serviceLimit(limit: ToldLimit): string {
  const { waitMilliseconds, remaining } = limit.answer
  const refused = waitMilliseconds > 0
  return `"${limit.name}";r=${refused ? 0 : remaining};t=${windowSeconds(limit)}`
}

/**
 * With requests left: the time in which the rate brings back as many, so that `r/t` never promises more than `q/w` (§6, §8.5). With none left:
 * until there is one, which is what `Retry-After` says too, as §6 wants.
 */
function windowSeconds({ rate, answer }: ToldLimit): number {
  const { waitMilliseconds, remaining, resetMilliseconds } = answer
  if (waitMilliseconds > 0) return retryAfterSeconds(waitMilliseconds)
  const each = rate.perMilliseconds / rate.count
  if (remaining > 0) return retryAfterSeconds(remaining * each)
  return retryAfterSeconds(resetMilliseconds - rate.perMilliseconds + each)
}
