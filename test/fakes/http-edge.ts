/** What the tests of the listeners share: makers only, no state. Named as a test so that no product file may import it. */
import { createHash } from 'node:crypto'
import type { LightMyRequestResponse } from 'fastify'
import { toRateLimits } from '../../src/admission/options.ts'
import type { Client, ClientAuth } from '../../src/client/options.ts'
import type { ExchangeRequest } from '../../src/exchange/request.ts'
import type { AdminDeps, AdminKeys } from '../../src/http/admin/deps.ts'
import type { AdminRoute } from '../../src/http/admin/route.ts'
import { createListener } from '../../src/http/listener.ts'
import type { AdminRole } from '../../src/http/options.ts'
import type { PublicDeps, PublicOptions } from '../../src/http/public/deps.ts'
import { createRequestBudget } from '../../src/http/request-scope.ts'
import type { RingReport } from '../../src/keys/recorded.ts'
import type { Ring } from '../../src/keys/ring.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import type { Log } from '../../src/observe/log.ts'
import type { Tenants } from '../../src/tenant/resolve.ts'
import type { Tenant } from '../../src/tenant/tenant.ts'
import { sourceOf } from './entitlement-source.ts'

/** A token-shaped text that must never be seen in an answer or a log line. */
export const CANARY = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl'

const SHA256 = createHash('sha256').update('x').digest()

/** A client that may exchange; `auth` as given. */
export function aClient(
  id: string,
  auth: ClientAuth = { method: 'client_secret', sha256: [SHA256] },
): Client {
  return {
    id,
    auth,
    idps: ['login'],
    grants: new Set(['exchange']),
    exchangeOwn: false,
    audiences: ['https://api.acme.example'],
    scopes: [],
    roles: ['orders.read'],
    actors: [],
    resourceFor: [],
    disabled: false,
  }
}

/** A tenant with one client. */
export function aTenant(changes: Partial<Tenant> = {}): Tenant {
  return {
    name: 'acme',
    issuer: 'https://sts.acme.example',
    consumers: new Map(),
    idps: new Map(),
    sources: [
      sourceOf({
        url: 'https://user:hush@hr.acme.example/users/{user}?key=hush',
        auth: { header: 'x-api-key', value: new Secret('hush') },
        rolesPath: 'items',
        nextPagePath: undefined,
        totalMilliseconds: 800,
      }),
    ],
    clients: new Map([['orders-web', aClient('orders-web')]]),
    rules: {
      map: [],
      unmapped: 'drop',
      empty: 'deny',
      unknownUser: 'deny',
      maxSourceRoles: 200,
      ttlSeconds: 43_200,
    },
    corsOrigins: [],
    limits: toRateLimits({}),
    at: (path) => `acme.yaml: ${path}`,
    ...changes,
  }
}

/** Tenants by the host of their issuer; the paths of their issuers are empty. */
export function tenantsOf(...all: readonly Tenant[]): Tenants {
  return {
    resolve: ({ host, path }) => ({
      tenant: all.find(({ issuer }) => new URL(issuer).host === host),
      path,
    }),
    byName: (name) => all.find((tenant) => tenant.name === name),
    all: () => all,
  }
}

/** A log that keeps its lines. */
export function keptLog(): Log & { readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const keep = (fields: Readonly<Record<string, unknown>>, message: string) => {
    lines.push({ ...fields, message })
  }
  return { lines, debug: keep, info: keep, warn: keep, error: keep }
}

/** A public listener's dependencies with flows that succeed; what they were asked is kept. */
export function publicDeps(changes: Partial<PublicDeps> = {}) {
  const exchanged: ExchangeRequest[] = []
  const introspected: { readonly token: string; readonly clientId: string | undefined }[] = []
  const log = keptLog()
  const deps: PublicDeps = {
    tenants: tenantsOf(aTenant()),
    exchange: (_tenant, request) => {
      exchanged.push(request)
      return Promise.resolve({
        accessToken: new Secret('issued.access.token'),
        issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token',
        expiresIn: 300,
        scope: undefined,
        rate: {},
      })
    },
    introspect: (_tenant, credentials, token) => {
      introspected.push({
        token: token.reveal(),
        clientId: credentials.basic?.id ?? credentials.clientId,
      })
      return Promise.resolve({ active: false })
    },
    jwks: () => ({
      body: '{"keys":[]}',
      etag: '"v1"',
      kids: [],
      maxAgeSeconds: 300,
      staleIfErrorSeconds: 43_200,
    }),
    jwksFetched: () => undefined,
    door: () => undefined,
    entitlements: { purge: () => Promise.resolve({ entries: 0, shared: undefined }) },
    clock: systemClock,
    random: createSystemRandom(),
    log,
    metrics: { httpRequest: () => undefined },
    ...changes,
  }
  return { deps, exchanged, introspected, log }
}

/** Options of a public listener. */
export const publicOptions = (): PublicOptions => ({
  version: '0.0.0',
  metadata: { signingAlgorithms: ['ES256'], assertionAlgorithms: ['ES256', 'RS256'] },
})

/** A ring without keys, as operators see it. */
export function ringReport(ring: Partial<Ring> = {}): RingReport {
  const policy = {
    publishAheadMilliseconds: 86_400_000,
    rotateEveryMilliseconds: 30 * 86_400_000,
    successors: 1,
    longestTokenMilliseconds: 43_200_000,
    skewMilliseconds: 30_000,
  }
  return { ring: { version: 1, keys: [], ...ring }, policy, usage: new Map(), now: 1_000_000 }
}

/** Key rings that are empty and allow everything, with the changes of a test. */
export function adminKeys(changes: Partial<AdminKeys> = {}): AdminKeys {
  return {
    report: () => Promise.resolve(ringReport()),
    rotate: () => Promise.resolve(ringReport({ version: 2 })),
    change: () => Promise.resolve(ringReport({ version: 2 })),
    consumers: () => Promise.resolve([]),
    seenByAll: () => Promise.resolve(() => undefined),
    ...changes,
  }
}

/** A ledger for operators: empty, and always willing. */
export function aLedger(changes: Partial<AdminDeps['ledger']> = {}): AdminDeps['ledger'] {
  return {
    find: () => Promise.resolve(undefined),
    recent: () => Promise.resolve([]),
    append: () => Promise.resolve({ recorded: true }),
    ...changes,
  }
}

const NOTHING_CACHED = {
  entries: 0,
  bytes: 0,
  maxBytes: 0,
  loading: 0,
  hits: 0,
  loads: 0,
  sources: [],
}

/** An admin listener's dependencies; `token(role)` is a credential of that role. */
export function adminDeps(changes: Partial<AdminDeps> = {}) {
  const log = keptLog()
  const now = 1_000_000
  const deps: AdminDeps = {
    ready: () => Promise.resolve({ ready: true, reasons: [] }),
    random: createSystemRandom(),
    log,
    metrics: {
      httpRequest: () => undefined,
      text: () => Promise.resolve('up 1\n'),
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
    },
    tokens: {
      find: (hash) => {
        const roles: readonly AdminRole[] = ['viewer', 'auditor', 'operator', 'security', 'admin']
        const role = roles.find((candidate) => sha256(token(candidate)).equals(hash))
        return Promise.resolve(role && { hash, role, by: `${role}@acme`, expiresAt: now + 1000 })
      },
    },
    tenants: tenantsOf(aTenant()),
    keys: adminKeys(),
    preview: () =>
      Promise.resolve({ outcome: 'refuse', code: 'no_roles', message: 'x', trace: [] }),
    ledger: aLedger(),
    upstreams: { list: () => [], named: () => undefined },
    entitlements: {
      facts: () => NOTHING_CACHED,
      purge: () => Promise.resolve({ entries: 0, shared: undefined }),
    },
    health: {
      store: () => Promise.resolve(),
      keyStore: () => Promise.resolve(),
      load: () => ({
        limit: 1,
        inFlight: 0,
        queued: 0,
        shed: { vital: 0, introspect: 0, exchange: 0 },
      }),
    },
    status: () => Promise.resolve({ version: '0.0.0' }),
    describeConfig: () => ({ version: 1 }),
    clock: { now: () => now },
    ...changes,
  }
  return { deps, log }
}

/** A listener with nothing but these admin routes, as an operator meets them who has every role here. */
export function adminEdge(deps: AdminDeps, routes: readonly AdminRoute[]) {
  const caller = { by: 'ops@acme', role: 'operator' } as const
  const app = createListener({
    ...deps,
    name: 'admin',
    routes: routes.map((route) => ({
      ...route,
      handle: (call, signal) => route.handle(call, caller, signal),
    })),
    tls: undefined,
    trustedProxies: [],
    bounds: undefined,
    locate: ({ path }) => ({ tenant: undefined, path }),
    issuer: () => '',
    before: () => undefined,
    budget: createRequestBudget({ budgetMilliseconds: 10_000, slotMilliseconds: 100 }),
  })
  return {
    get: (url: string) => app.inject({ method: 'GET', url }),
    post: (url: string, payload: object) => app.inject({ method: 'POST', url, payload }),
  }
}

/** A break-glass token that `adminDeps` knows. */
export const token = (role: AdminRole) => `rma_${role}`

/** The `Authorization` header of an operator. */
export const as = (role: AdminRole) => ({ authorization: `Bearer ${token(role)}` })

export const sha256 = (text: string) => createHash('sha256').update(text).digest()

/** The JSON object of an answer. */
export const jsonOf = (answer: LightMyRequestResponse) => answer.json<Record<string, unknown>>()
