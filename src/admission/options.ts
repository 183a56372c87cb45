import Type from 'typebox'
import type { Rate } from '../lib/duration.ts'
import { perTime, rate } from '../lib/option.ts'

/** The part of `limits` that concerns how much a caller may ask. */
export const rateLimitsSchema = {
  perClient: Type.Optional(
    rate({
      description: 'Exchanges a client may ask for, counted in this process. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
  perSubject: Type.Optional(
    rate({
      description:
        'Exchanges of one client for one subject, counted in this process. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
}

/** Rate limits; undefined means unlimited. */
export interface RateLimits {
  readonly perClient: Rate | undefined
  readonly perSubject: Rate | undefined
}

/** Turns the checked `limits` section into {@link RateLimits}. */
export function toRateLimits(config: { perClient?: string; perSubject?: string }): RateLimits {
  return {
    perClient: config.perClient === undefined ? undefined : perTime(config.perClient),
    perSubject: config.perSubject === undefined ? undefined : perTime(config.perSubject),
  }
}
