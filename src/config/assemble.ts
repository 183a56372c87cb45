import { type RateLimits, toRateLimits, withTenantLimits } from '../admission/options.ts'
import { toClient } from '../client/options.ts'
import { toSource } from '../entitlement/options.ts'
import { type ListenerOptions, type ListenOptions, toListenOptions } from '../http/options.ts'
import { toKeyOptions } from '../keys/options.ts'
import { toGrantRules } from '../policy/options.ts'
import { toIdp, toTokenLimits } from '../subject/options.ts'
import { toConsumers } from '../tenant/options.ts'
import type { Tenant } from '../tenant/tenant.ts'
import type { Config } from './config.ts'
import { toCacheOptions, toSnapshotFolder, toStoreOptions } from './options.ts'
import { pathFrom } from './references.ts'
import type { ConfigValues, TenantValues } from './schema.ts'
import type { Place } from './tree.ts'
import type { Checked } from './walk.ts'

/** What {@link assembleConfig} needs besides the values. */
export interface Context {
  /** Folder of the main file: where relative paths start. */
  readonly folder: string
  readonly places: Checked['places']
  readonly hash: string
}

/** Makes what the rooms work with out of checked values. */
export function assembleConfig(values: ConfigValues, { folder, places, hash }: Context): Config {
  const found = (path: string) => pathFrom(folder, path)
  const store = toStoreOptions(values.store, found)
  const rateLimits = toRateLimits(values.limits ?? {})
  return {
    profile: values.profile ?? 'production',
    listen: toListen(values, folder),
    store,
    cache: toCacheOptions(values.cache),
    outboundAllow: values.outbound?.allow ?? [],
    keySnapshots: toSnapshotFolder(values.idpKeys, store, found),
    keys: toKeyOptions(values.keys, values.profile !== 'dev', found),
    tokenLimits: toTokenLimits(values.limits ?? {}),
    rateLimits,
    tenants: new Map(
      Object.entries(values.tenants).map(([name, tenant]) => [
        name,
        toTenant(name, tenant, rateLimits, places),
      ]),
    ),
    hash,
  }
}

function toTenant(
  name: string,
  values: TenantValues,
  limits: RateLimits,
  places: Checked['places'],
): Tenant {
  const idps = Object.entries(values.idps)
  const sources = Object.entries(values.sources ?? {})
  const clients = Object.entries(values.clients)
  return {
    name,
    issuer: values.issuer,
    idps: new Map(idps.map(([idp, config]) => [idp, toIdp(idp, config)])),
    sources: sources.map(([source, config]) => toSource(source, config)),
    clients: new Map(clients.map(([id, config]) => [id, toClient(id, config)])),
    rules: toGrantRules(values.roles, values.tokens),
    corsOrigins: values.cors?.origins ?? [],
    limits: withTenantLimits(limits, values.limits ?? {}),
    consumers: toConsumers(values.consumers),
    // Names are joined the same way here and by whoever asks, so dots in a client id do no harm.
    at: (path) => lineOf(places.get(`tenants.${name}.${path}`)?.key),
  }
}

function lineOf(place: Place | undefined): string {
  if (place === undefined || place.kind === 'default') return 'default'
  if (place.kind !== 'file') return `${place.kind} ${place.name}`
  return `${place.source.file}:${place.source.position(place.start).line}`
}

function toListen(values: ConfigValues, folder: string): ListenOptions {
  const listen = toListenOptions(values.listen)
  const found = (listener: ListenerOptions): ListenerOptions => ({
    ...listener,
    tls: listener.tls && {
      cert: pathFrom(folder, listener.tls.cert),
      key: pathFrom(folder, listener.tls.key),
    },
  })
  const { admin, probes } = listen
  // Naming the admin address for probes means sharing its port: two listeners there could not both open.
  const isShared = probes && probes.port === admin.port && probes.host === admin.host
  return {
    public: found(listen.public),
    admin: found(admin),
    probes: isShared ? undefined : probes,
  }
}
