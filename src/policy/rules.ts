import type { Client } from '../client/options.ts'
import type { Tenant } from '../tenant/tenant.ts'

/** A translation of a source role, and where it is written. */
export interface Translation {
  readonly to: string
  readonly at: string
}

/**
 * What a tenant's configuration says about one client, prepared for `decide`: looked up once, so that a decision costs a
 * few map reads however long the role map is.
 */
export interface PolicyRules {
  readonly tenant: Tenant
  readonly client: Client
  readonly translations: ReadonlyMap<string, readonly Translation[]>
  readonly ceiling: ReadonlySet<string>
  readonly audiences: ReadonlySet<string>
  readonly scopes: ReadonlySet<string>
  /** Configuration positions that a trace names. */
  readonly at: {
    readonly idps: string
    readonly audiences: string
    readonly scopes: string
    readonly ceiling: string
    readonly actors: string
    readonly grants: string
    readonly exchangeOwn: string
    readonly unmapped: string
    readonly empty: string
    readonly unknownUser: string
    readonly ttl: string
  }
}

/** Prepares the rules of `client` in `tenant`. */
export function policyRules(tenant: Tenant, client: Client): PolicyRules {
  const translations = new Map<string, Translation[]>()
  tenant.rules.map.forEach(({ from, to }, index) => {
    const known = translations.get(from) ?? []
    known.push({ to, at: tenant.at(`roles.map[${index}]`) })
    translations.set(from, known)
  })
  const ofClient = (key: string) => tenant.at(`clients.${client.id}.${key}`)
  return {
    tenant,
    client,
    translations,
    ceiling: new Set(client.roles),
    audiences: new Set(client.audiences),
    scopes: new Set(client.scopes),
    at: {
      idps: ofClient('idps'),
      audiences: ofClient('audiences'),
      scopes: ofClient('scopes'),
      ceiling: ofClient('roles'),
      actors: ofClient('actors'),
      grants: ofClient('grants'),
      exchangeOwn: ofClient('exchangeOwn'),
      unmapped: tenant.at('roles.unmapped'),
      empty: tenant.at('roles.empty'),
      unknownUser: tenant.at('roles.unknownUser'),
      ttl: tenant.at('tokens.ttl'),
    },
  }
}
