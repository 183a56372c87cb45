/** Small tenants, clients and evidence for tests of the policy, by hand and at random. */
import fc from 'fast-check'
import { toRateLimits } from '../../src/admission/options.ts'
import { type Client, GRANT_NAMES } from '../../src/client/options.ts'
import type { Act, Evidence, MayAct } from '../../src/policy/decision.ts'
import type { GrantRules } from '../../src/policy/options.ts'
import type { Idp } from '../../src/subject/options.ts'
import type { Tenant } from '../../src/tenant/tenant.ts'

export const NOW = 1_800_000_000

export function anIdp(over: Partial<Idp> = {}): Idp {
  return {
    name: 'login',
    issuer: 'https://login.example',
    audiences: ['rolemint'],
    algorithms: ['ES256'],
    keySource: { kind: 'inline', jwks: { keys: [] } },
    userClaim: 'upn',
    upnDomains: undefined,
    subjectPrefix: '',
    presenters: undefined,
    requiredClaims: [],
    onceOnly: false,
    maxAgeSeconds: 3600,
    disabled: false,
    ...over,
  }
}

export function aClient(over: Partial<Client> = {}): Client {
  return {
    id: 'orders-web',
    auth: { method: 'client_secret', sha256: [] },
    idps: ['login'],
    grants: new Set(['exchange']),
    exchangeOwn: false,
    audiences: ['https://api.example', 'https://other.example'],
    scopes: ['read'],
    roles: ['orders.read', 'orders.write'],
    actors: [],
    resourceFor: [],
    disabled: false,
    ...over,
  }
}

export function aTenant(
  over: Partial<Omit<Tenant, 'rules'>> & {
    readonly rules?: Partial<GrantRules>
    readonly client?: Client
  } = {},
): Tenant {
  const { rules, client, ...rest } = over
  const only = client ?? aClient()
  return {
    name: 'acme',
    issuer: 'https://sts.example',
    idps: new Map([['login', anIdp()]]),
    sources: [],
    clients: new Map([[only.id, only]]),
    corsOrigins: [],
    limits: toRateLimits({}),
    consumers: new Map(),
    at: (path) => `acme.yaml:${path}`,
    ...rest,
    rules: {
      map: [
        { from: 'SAP_ORD_R', to: 'orders.read' },
        { from: 'SAP_ORD_W', to: 'orders.write' },
        { from: 'SAP_ADMIN', to: 'orders.admin' },
      ],
      unmapped: 'drop',
      empty: 'deny',
      unknownUser: 'deny',
      maxSourceRoles: 200,
      ttlSeconds: 12 * 3600,
      ...rules,
    },
  }
}

type Deep<T> = { readonly [K in keyof T]?: T[K] extends object | undefined ? Partial<T[K]> : T[K] }

export function someEvidence(over: Deep<Evidence> = {}): Evidence {
  const { request, subject, entitlements, actor, ...rest } = over
  return {
    now: NOW,
    clientId: 'orders-web',
    ...rest,
    request: {
      targets: [],
      scopes: [],
      requestedTokenType: undefined,
      expiresIn: undefined,
      ...request,
    },
    subject: {
      idp: 'login',
      issuer: 'https://login.example',
      sub: 'u1',
      upn: 'ada@acme.example',
      user: 'ada@acme.example',
      issuedAt: NOW - 10,
      expiresAt: NOW + 300,
      ...subject,
    },
    entitlements: {
      status: 'fresh',
      at: NOW,
      unknownUser: false,
      roles: ['SAP_ORD_R', 'SAP_ORD_W'],
      ...entitlements,
    },
    ...(actor
      ? {
          actor: {
            idp: 'login',
            issuer: 'https://login.example',
            sub: 'bot',
            delegated: false,
            ...actor,
          },
        }
      : {}),
  }
}

/** Mostly `usual`, so that enough cases end in a grant to prove something. */
const mostly = <T>(usual: T, otherwise: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: otherwise })

const role = fc.constantFrom('r1', 'r2', 'r3', 'r4', 'r5', '__proto__', 'constructor')
const sourceRole = fc.constantFrom('S1', 'S2', 'S3', 'S4', 'r1', 'r2', '__proto__')
const target = fc.constantFrom('https://a.example', 'https://b.example', 'https://c.example')
const scope = fc.constantFrom('read', 'write', 'admin')
const sub = fc.constantFrom('u1', 'u2', 'bot', 'orders-web')

const act: fc.Arbitrary<Act> = fc
  .array(sub, { minLength: 1, maxLength: 5 })
  .map(
    (subs) =>
      subs.reduceRight<Act | undefined>(
        (inner, s) => (inner ? { sub: s, act: inner } : { sub: s }),
        undefined,
      ) ?? { sub: 'u' },
  )

const mayAct: fc.Arbitrary<MayAct> = fc.record(
  {
    sub,
    client_id: fc.constantFrom('orders-web', 'other'),
    iss: fc.constantFrom('https://login.example', 'https://x.example'),
  },
  { requiredKeys: [] },
)

export const anyClient: fc.Arbitrary<Client> = fc
  .record({
    idps: mostly(['login', 'partner'], fc.subarray(['login', 'partner'])),
    grants: mostly(
      new Set(GRANT_NAMES),
      fc.subarray([...GRANT_NAMES]).map((grants) => new Set(grants)),
    ),
    exchangeOwn: mostly(true, fc.boolean()),
    audiences: mostly(
      ['https://b.example', 'https://a.example', 'https://c.example'],
      fc.uniqueArray(target),
    ),
    scopes: mostly(['read', 'write', 'admin'], fc.uniqueArray(scope)),
    roles: fc.uniqueArray(role, { minLength: 3 }),
    actors: fc.uniqueArray(sub),
    disabled: mostly(false, fc.boolean()),
  })
  .map((over) => aClient(over))

export const anyTenant = (client: Client): fc.Arbitrary<Tenant> =>
  fc
    .record({
      map: fc.array(fc.record({ from: sourceRole, to: role }), { minLength: 3, maxLength: 12 }),
      unmapped: fc.constantFrom('drop' as const, 'keep' as const, 'deny' as const),
      empty: fc.constantFrom('deny' as const, 'allow' as const),
      unknownUser: fc.constantFrom('deny' as const, 'empty' as const),
      ttlSeconds: fc.integer({ min: 1, max: 12 * 3600 }),
    })
    .map((rules) =>
      aTenant({
        client,
        rules,
        idps: new Map([
          ['login', anIdp()],
          [
            'partner',
            anIdp({ name: 'partner', issuer: 'https://partner.example', subjectPrefix: 'p:' }),
          ],
        ]),
      }),
    )

export const anyEvidence: fc.Arbitrary<Evidence> = fc
  .record({
    request: fc.record({
      targets: fc.uniqueArray(target, { maxLength: 3 }),
      scopes: mostly([], fc.uniqueArray(scope)),
      expiresIn: fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: undefined }),
    }),
    subject: fc.record(
      {
        idp: fc.constantFrom('login', 'partner'),
        sub,
        act: mostly(undefined, act),
        mayAct: mostly(undefined, mayAct),
        own: mostly(
          undefined,
          fc.record({
            jti: fc.constant('parent'),
            clientId: fc.constant('orders-web'),
            originJti: fc.constant('root'),
            lineage: fc.array(fc.constantFrom('root', 'mid'), { maxLength: 9 }),
            sessionExp: fc.integer({ min: NOW - 10, max: NOW + 50_000 }),
            roles: fc.uniqueArray(role, { minLength: 2 }),
            scopes: fc.uniqueArray(scope),
          }),
        ),
      },
      { requiredKeys: ['idp', 'sub'] },
    ),
    actor: mostly(
      undefined,
      fc.record({ sub, delegated: fc.boolean(), idp: fc.constantFrom('login', 'partner') }),
    ),
    entitlements: fc.record({
      unknownUser: mostly(false, fc.boolean()),
      roles: fc.uniqueArray(sourceRole),
      status: fc.constantFrom('fresh' as const, 'stale' as const, 'limited' as const),
      maxLifeSeconds: mostly(undefined, fc.integer({ min: 1, max: 50_000 })),
    }),
  })
  .map(({ actor, subject, entitlements, ...over }) =>
    someEvidence(
      withoutUndefined({
        ...over,
        subject: withoutUndefined(subject),
        entitlements: withoutUndefined(entitlements),
        actor,
      }),
    ),
  )

/** The same without members that are there but undefined: evidence never has those. */
function withoutUndefined(value: object): Deep<Evidence> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined))
}
