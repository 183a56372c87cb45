import Type from 'typebox'
import type { Rate } from '../lib/duration.ts'
import { flag, perTime, rate } from '../lib/option.ts'

/** The limits that a tenant may have of its own, under `tenants.X.limits`. */
export const tenantLimitsSchema = {
  perClient: Type.Optional(
    rate({
      description: 'Exchanges a client may ask for. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
  perSubject: Type.Optional(
    rate({
      description: 'Exchanges of one client for one subject. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
  perTenant: Type.Optional(
    rate({
      description: 'Exchanges of all clients of a tenant together. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
}

/** The part of `limits` that concerns how much a caller may ask. */
export const rateLimitsSchema = {
  ...tenantLimitsSchema,
  total: Type.Optional(
    rate({
      description: 'Exchanges of all tenants together. Left out: unlimited.',
      reload: 'hot',
    }),
  ),
  failedAuthPerAddress: Type.Optional(
    rate({
      description:
        'Failed client authentications from one address (IPv6: one /64) for one client, and ten times as many for all clients together. ' +
        'More are refused before anything is verified; successes count for nothing. ' +
        'Behind a proxy, list it in `trustedProxies`: its address would stand for everybody.',
      reload: 'hot',
      default: '1000/m',
    }),
  ),
  perProcess: Type.Optional(
    flag({
      description:
        'Each process counts for itself, so that N replicas admit N times as much. To be said where replicas could share a `cache` and do not.',
      reload: 'restart',
      default: false,
    }),
  ),
}

/** Rate limits; undefined means unlimited. */
export interface RateLimits {
  readonly perClient: Rate | undefined
  readonly perSubject: Rate | undefined
  readonly perTenant: Rate | undefined
  readonly total: Rate | undefined
  readonly failedAuthPerAddress: Rate
}

/** Limits that one tenant has instead of everybody's; what it leaves out is everybody's. */
export type TenantRateLimits = Partial<Pick<RateLimits, 'perClient' | 'perSubject' | 'perTenant'>>

interface LimitsConfig {
  readonly perClient?: string
  readonly perSubject?: string
  readonly perTenant?: string
}

const given = (value: string | undefined): Rate | undefined =>
  value === undefined ? undefined : perTime(value)

/** Turns the checked `limits` section into {@link RateLimits}. */
export function toRateLimits(
  config: LimitsConfig & { readonly total?: string; readonly failedAuthPerAddress?: string },
): RateLimits {
  return {
    perClient: given(config.perClient),
    perSubject: given(config.perSubject),
    perTenant: given(config.perTenant),
    total: given(config.total),
    failedAuthPerAddress: perTime(config.failedAuthPerAddress ?? '1000/m'),
  }
}

/** Everybody's limits with a tenant's own in their place (`tenants.X.limits`). */
export function withTenantLimits(limits: RateLimits, own: LimitsConfig): RateLimits {
  return {
    ...limits,
    perClient: given(own.perClient) ?? limits.perClient,
    perSubject: given(own.perSubject) ?? limits.perSubject,
    perTenant: given(own.perTenant) ?? limits.perTenant,
  }
}
