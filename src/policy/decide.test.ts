import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  aClient,
  anIdp,
  anyClient,
  anyEvidence,
  anyTenant,
  aTenant,
  NOW,
  someEvidence,
} from '../../test/fakes/policy.ts'
import { decide } from './decide.ts'
import type { Decision, Evidence, Grant } from './decision.ts'
import { policyRules } from './rules.ts'

function decided(evidence: Evidence, tenant = aTenant()): Decision {
  const client = tenant.clients.get('orders-web')
  assert.ok(client)
  return decide(policyRules(tenant, client), evidence)
}

function grantOf(decision: Decision): Grant {
  assert.equal(decision.outcome, 'grant', JSON.stringify(decision))
  return decision.grant
}

function codeOf(decision: Decision): string {
  assert.equal(decision.outcome, 'refuse')
  return decision.code
}

const withClient = (over: Parameters<typeof aClient>[0], rules = {}) =>
  aTenant({ client: aClient(over), rules })

const own = {
  jti: 'parent',
  clientId: 'orders-web',
  originJti: 'root',
  lineage: ['root'],
  sessionExp: NOW + 1000,
  roles: ['orders.read'],
  scopes: ['read'],
}

test('roles are translated, sorted and cut by the ceiling', () => {
  const { roles } = grantOf(
    decided(
      someEvidence({ entitlements: { roles: ['SAP_ORD_W', 'SAP_ADMIN', 'SAP_ORD_R', 'X'] } }),
    ),
  )
  assert.deepEqual(roles, ['orders.read', 'orders.write'])
})

test('the trace names the configuration position of every translation and of the ceiling', () => {
  const { trace } = decided(someEvidence({ entitlements: { roles: ['SAP_ADMIN', 'SAP_ORD_R'] } }))
  const at = (rule: string) => trace.filter((step) => step.rule === rule).map((step) => step.at)
  assert.deepEqual(at('map'), ['acme.yaml:roles.map[2]', 'acme.yaml:roles.map[0]'])
  assert.deepEqual(at('ceiling'), ['acme.yaml:clients.orders-web.roles'])
})

test('a source role without translation is dropped, kept under the ceiling, or refused, as configured', () => {
  const evidence = someEvidence({ entitlements: { roles: ['orders.write', 'SAP_ORD_R'] } })
  assert.deepEqual(grantOf(decided(evidence)).roles, ['orders.read'])
  assert.deepEqual(grantOf(decided(evidence, aTenant({ rules: { unmapped: 'keep' } }))).roles, [
    'orders.read',
    'orders.write',
  ])
  assert.equal(codeOf(decided(evidence, aTenant({ rules: { unmapped: 'deny' } }))), 'no_roles')
})

test('a user without any role is refused unless the tenant allows empty tokens', () => {
  const evidence = someEvidence({ entitlements: { roles: [] } })
  assert.equal(codeOf(decided(evidence)), 'no_roles')
  assert.deepEqual(grantOf(decided(evidence, aTenant({ rules: { empty: 'allow' } }))).roles, [])
})

test('a user whom no source knows is refused as unknown_user, or treated as having no roles', () => {
  const evidence = someEvidence({ entitlements: { roles: [], unknownUser: true } })
  assert.equal(codeOf(decided(evidence)), 'unknown_user')
  assert.equal(codeOf(decided(evidence, aTenant({ rules: { unknownUser: 'empty' } }))), 'no_roles')
})

test('without a target the token is for the first of the client; a client without targets gets none', () => {
  assert.deepEqual(grantOf(decided(someEvidence())).aud, ['https://api.example'])
  assert.equal(codeOf(decided(someEvidence(), withClient({ audiences: [] }))), 'target_not_allowed')
})

test('a target outside the list of the client is refused, also beside an allowed one', () => {
  const targets = ['https://api.example', 'https://evil.example']
  assert.equal(codeOf(decided(someEvidence({ request: { targets } }))), 'target_not_allowed')
})

test('a scope the client may not ask for is refused, never silently dropped', () => {
  assert.equal(
    codeOf(decided(someEvidence({ request: { scopes: ['read', 'admin'] } }))),
    'scope_not_allowed',
  )
  assert.deepEqual(grantOf(decided(someEvidence({ request: { scopes: ['read'] } }))).scopes, [
    'read',
  ])
})

test('a client without the exchange grant, or disabled, gets nothing', () => {
  assert.equal(
    codeOf(decided(someEvidence(), withClient({ grants: new Set(['introspect']) }))),
    'grant_not_allowed',
  )
  assert.equal(codeOf(decided(someEvidence(), withClient({ disabled: true }))), 'grant_not_allowed')
})

test('a client brings tokens only of the IdPs it is tied to, and none of a disabled one', () => {
  assert.equal(codeOf(decided(someEvidence(), withClient({ idps: [] }))), 'untrusted_issuer')
  const disabled = aTenant({ idps: new Map([['login', anIdp({ disabled: true })]]) })
  assert.equal(codeOf(decided(someEvidence(), disabled)), 'untrusted_issuer')
})

test('the life asked for can shorten the token, never lengthen it', () => {
  assert.equal(grantOf(decided(someEvidence({ request: { expiresIn: 60 } }))).exp, NOW + 60)
  assert.equal(
    grantOf(decided(someEvidence({ request: { expiresIn: 999_999 } }))).exp,
    NOW + 43_200,
  )
})

test('roles that a failure policy let stand in live no longer than it says, and the token says what they are', () => {
  const limited = { status: 'limited', roles: ['SAP_ORD_R'], maxLifeSeconds: 300 } as const
  const grant = grantOf(decided(someEvidence({ entitlements: limited })))
  assert.equal(grant.exp, NOW + 300)
  assert.equal(grant.entitlements.status, 'limited')
  const shorter = someEvidence({ entitlements: limited, request: { expiresIn: 60 } })
  assert.equal(grantOf(decided(shorter)).exp, NOW + 60)
  const longer = someEvidence({ entitlements: { ...limited, maxLifeSeconds: 999_999 } })
  assert.equal(grantOf(decided(longer)).exp, NOW + 43_200)
})

test('exchanging our own token needs exchangeOwn, keeps root and ancestors and never moves session_exp', () => {
  const evidence = someEvidence({ subject: { own } })
  assert.equal(codeOf(decided(evidence)), 'untrusted_issuer')
  const grant = grantOf(decided(evidence, withClient({ exchangeOwn: true })))
  assert.equal(grant.sessionExp, NOW + 1000)
  assert.equal(grant.exp, NOW + 1000)
  assert.equal(grant.originJti, 'root')
  assert.deepEqual(grant.lineage, ['root', 'parent'])
  assert.deepEqual(grant.roles, ['orders.read'])
})

test('a role that was lost at the source is gone from a token made from an older one', () => {
  const evidence = someEvidence({
    subject: { own: { ...own, roles: ['orders.read', 'orders.write'] } },
    entitlements: { roles: ['SAP_ORD_W'] },
  })
  assert.deepEqual(grantOf(decided(evidence, withClient({ exchangeOwn: true }))).roles, [
    'orders.write',
  ])
})

test('a chain of more than eight ancestors is refused, as its root could no longer be named', () => {
  const lineage = Array.from({ length: 8 }, (_, index) => `t${index}`)
  const evidence = someEvidence({ subject: { own: { ...own, lineage } } })
  assert.equal(codeOf(decided(evidence, withClient({ exchangeOwn: true }))), 'malformed_request')
})

test('an ended session is refused as expired', () => {
  const evidence = someEvidence({ subject: { own: { ...own, sessionExp: NOW } } })
  assert.equal(codeOf(decided(evidence, withClient({ exchangeOwn: true }))), 'expired')
})

test('a confirmation of the exchanged token is kept, so binding cannot be washed off', () => {
  const cnf = { jkt: 'thumb' }
  const grant = grantOf(
    decided(someEvidence({ subject: { own: { ...own, cnf } } }), withClient({ exchangeOwn: true })),
  )
  assert.deepEqual(grant.cnf, cnf)
})

test('an actor named by may_act goes outermost and earlier actors stay inside (RFC 8693 §4.1)', () => {
  const evidence = someEvidence({
    subject: { mayAct: { sub: 'bot' }, act: { sub: 'first' } },
    actor: { sub: 'bot' },
  })
  assert.deepEqual(grantOf(decided(evidence)).act, { sub: 'bot', act: { sub: 'first' } })
})

test('an actor that may_act does not name is refused, even if the client lists it', () => {
  const evidence = someEvidence({ subject: { mayAct: { sub: 'other' } }, actor: { sub: 'bot' } })
  assert.equal(codeOf(decided(evidence, withClient({ actors: ['bot'] }))), 'actor_not_allowed')
})

test('a like-named actor of another IdP is not the one that may_act names', () => {
  const idps = new Map([
    ['login', anIdp()],
    ['partner', anIdp({ name: 'partner', issuer: 'https://partner.example' })],
  ])
  const actor = { sub: 'bot', idp: 'partner', issuer: 'https://partner.example' }
  const evidence = someEvidence({ subject: { mayAct: { sub: 'bot' } }, actor })
  assert.equal(codeOf(decided(evidence, aTenant({ idps }))), 'actor_not_allowed')
  const named = someEvidence({
    subject: { mayAct: { sub: 'bot', iss: 'https://partner.example' } },
    actor,
  })
  assert.equal(decided(named, aTenant({ idps })).outcome, 'grant')
})

test('without may_act only actors listed for the client may act', () => {
  const evidence = someEvidence({ actor: { sub: 'bot' } })
  assert.equal(codeOf(decided(evidence)), 'actor_not_allowed')
  assert.deepEqual(grantOf(decided(evidence, withClient({ actors: ['bot'] }))).act, { sub: 'bot' })
})

test('a subject whose may_act names somebody else cannot be impersonated by leaving the actor out', () => {
  assert.equal(
    codeOf(decided(someEvidence({ subject: { mayAct: { sub: 'bot' } } }))),
    'actor_not_allowed',
  )
  assert.equal(
    decided(someEvidence({ subject: { mayAct: { client_id: 'orders-web' } } })).outcome,
    'grant',
  )
})

test('the actor cannot be the subject, nor itself be delegated, nor the fifth of a chain', () => {
  const tenant = withClient({ actors: ['bot', 'u1'] })
  assert.equal(codeOf(decided(someEvidence({ actor: { sub: 'u1' } }), tenant)), 'actor_not_allowed')
  assert.equal(
    codeOf(decided(someEvidence({ actor: { sub: 'bot', delegated: true } }), tenant)),
    'actor_not_allowed',
  )
  const four = { sub: 'a', act: { sub: 'b', act: { sub: 'c', act: { sub: 'd' } } } }
  assert.equal(decided(someEvidence({ subject: { act: four } }), tenant).outcome, 'grant')
  assert.equal(
    codeOf(decided(someEvidence({ subject: { act: four }, actor: { sub: 'bot' } }), tenant)),
    'actor_not_allowed',
  )
})

test('an earlier act is kept when no actor is brought', () => {
  assert.deepEqual(grantOf(decided(someEvidence({ subject: { act: { sub: 'first' } } }))).act, {
    sub: 'first',
  })
})

const anyCase = anyClient.chain((client) =>
  fc.record({ client: fc.constant(client), tenant: anyTenant(client), evidence: anyEvidence }),
)

test('property: no role outside ceiling and translated source roles, whatever the case', () => {
  let grants = 0
  fc.assert(
    fc.property(anyCase, ({ client, tenant, evidence }) => {
      const decision = decide(policyRules(tenant, client), evidence)
      if (decision.outcome !== 'grant') return
      grants += 1
      const mapped = new Set(
        evidence.entitlements.roles.flatMap((role) => {
          const to = tenant.rules.map.filter(({ from }) => from === role).map((rule) => rule.to)
          return to.length === 0 && tenant.rules.unmapped === 'keep' ? [role] : to
        }),
      )
      for (const role of decision.grant.roles) {
        assert.ok(client.roles.includes(role), `${role} outside the ceiling`)
        assert.ok(mapped.has(role), `${role} not mapped`)
        if (evidence.subject.own)
          assert.ok(evidence.subject.own.roles.includes(role), `${role} not carried`)
      }
      assert.deepEqual(decision.grant.roles, [...new Set(decision.grant.roles)].toSorted())
    }),
    { numRuns: 10_000, seed: 1 },
  )
  assert.ok(grants > 500, `only ${grants} grants: the cases prove too little`)
})

test('property: exp never passes session_exp, and session_exp never moves', () => {
  let derived = 0
  fc.assert(
    fc.property(anyCase, ({ client, tenant, evidence }) => {
      const decision = decide(policyRules(tenant, client), evidence)
      if (decision.outcome !== 'grant') return
      const { exp, iat, sessionExp } = decision.grant
      assert.ok(exp > iat && exp <= sessionExp && sessionExp <= NOW + 50_000)
      assert.ok(exp - iat <= (evidence.entitlements.maxLifeSeconds ?? 43_200))
      if (!evidence.subject.own) return
      derived += 1
      assert.ok(sessionExp <= evidence.subject.own.sessionExp)
    }),
    { numRuns: 10_000, seed: 2 },
  )
  assert.ok(derived > 50, `only ${derived} derived grants`)
})

test('property: the same evidence under the same rules gives the same decision', () => {
  fc.assert(
    fc.property(anyCase, ({ client, tenant, evidence }) => {
      const rules = policyRules(tenant, client)
      assert.deepEqual(decide(rules, evidence), decide(rules, structuredClone(evidence)))
    }),
    { numRuns: 1000 },
  )
})

test('a hundred exchanges of the last token never outlive the first session (CVE-2026-96460 in a peer)', () => {
  const tenant = withClient({ exchangeOwn: true })
  const first = grantOf(decided(someEvidence()))
  let now = NOW
  let carried = {
    ...own,
    lineage: [] as string[],
    sessionExp: first.sessionExp,
    roles: first.roles,
  }
  for (let round = 0; round < 100; round += 1) {
    now += 400
    const decision = decided(someEvidence({ now, subject: { own: carried } }), tenant)
    if (decision.outcome === 'refuse') break
    assert.ok(decision.grant.exp <= first.sessionExp)
    // The attacker even drops the lineage.
    carried = {
      ...own,
      lineage: [],
      sessionExp: decision.grant.sessionExp,
      roles: decision.grant.roles,
    }
  }
})
