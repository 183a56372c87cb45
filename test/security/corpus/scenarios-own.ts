/** The stories of tokens of ours that come back, of actors, and of two tenants. */
import assert from 'node:assert/strict'
import {
  type Answer,
  CLIENT,
  EXCHANGE,
  encode,
  IDP_ISSUER,
  ISSUER,
  JWT_TYPE,
} from '../../fakes/sts.ts'
import { mustRefuse } from './doors.ts'
import { rawPost } from './raw.ts'
import { ACTOR_TYPE, claimsOf, exchanged, refused, type Scenario, tampered } from './story.ts'
import { SECOND_ISSUER, startTwoTenants } from './two-tenants.ts'

export const OWN_SCENARIOS: readonly Scenario[] = [
  {
    row: 51,
    name: 'a hundred re-exchanges never move exp beyond the first session, and a chain of nine is refused',
    async run(world) {
      const root = await exchanged(world, world.subject.token())
      const end = Number(claimsOf(root)['session_exp'])
      assert.equal(claimsOf(root)['exp'], end)
      let chained = root
      for (let round = 0; round < 100; round++) {
        world.clock.time += 60_000
        const depth = round % 8
        chained = await exchanged(world, depth === 0 ? root : chained)
        const { exp, session_exp: sessionExp, lineage, origin_jti: origin } = claimsOf(chained)
        assert.ok(Number(exp) <= end, `round ${round}: exp ${String(exp)} after ${end}`)
        assert.equal(sessionExp, end)
        assert.equal(origin, claimsOf(root)['jti'])
        assert.equal((lineage as string[]).length, depth + 1)
        // After eight exchanges in a row the next one is refused: what cannot be cut off at its root is not issued.
        if (depth === 7) await refused(world, chained, 'malformed_request')
      }
      for (const change of [
        { lineage: undefined },
        { lineage: [], origin_jti: undefined },
        { session_exp: end + 43_200 },
        { exp: end + 43_200 },
      ])
        await refused(world, tampered(chained, change), 'invalid_signature')
      world.clock.time = end * 1000
      await refused(world, root, 'expired')
      await refused(world, chained, 'expired')
    },
  },
  {
    row: 52,
    name: 'act, tenant and session survive a re-exchange; a token that lost them is not one of ours',
    async run(world) {
      const delegated = await exchanged(world, world.subject.token(), {
        actor_token: world.actor.token(),
        ...ACTOR_TYPE,
      })
      assert.deepEqual(claimsOf(delegated)['act'], { sub: 'bot' })
      const again = await exchanged(world, delegated)
      assert.deepEqual(claimsOf(again)['act'], { sub: 'bot' })
      assert.equal(claimsOf(again)['tenant'], 'acme')
      assert.equal(claimsOf(again)['session_exp'], claimsOf(delegated)['session_exp'])
      for (const change of [
        { act: undefined },
        { tenant: 'other' },
        { cnf: undefined, sub: 'root' },
      ])
        await refused(world, tampered(delegated, change), 'invalid_signature')
    },
  },
  {
    row: 52,
    name: 'a token of ours bound to a key is not exchanged without proof, nor with its cnf taken away',
    async run(world) {
      const bound = world.own.token({ cnf: { jkt: 'x' } })
      await world.record(bound)
      await refused(world, bound, 'proof_required')
      await refused(world, tampered(bound, { cnf: undefined }), 'invalid_signature')
    },
  },
  {
    row: 52,
    name: 'a token of ours that names another tenant is refused though its signature and its record are right',
    async run(world) {
      const astray = world.own.token({ tenant: 'other' })
      await world.record(astray)
      await refused(world, astray, 'malformed_token')
      assert.equal((await world.sts.introspect(astray)).text, '{"active":false}')
    },
  },
  {
    row: 53,
    name: 'may_act that names another actor refuses the one who came; that names this one accepts it',
    async run(world) {
      const actor = { actor_token: world.actor.token(), ...ACTOR_TYPE }
      const naming = (mayAct: object) => world.subject.token({ may_act: mayAct })
      await refused(world, naming({ sub: 'somebody' }), 'actor_not_allowed', actor)
      await refused(
        world,
        naming({ sub: 'bot', iss: 'https://elsewhere.example' }),
        'actor_not_allowed',
        actor,
      )
      await refused(world, naming({ client_id: 'other' }), 'actor_not_allowed', actor)
      await refused(world, naming({ sub: 'bot', client_id: 'other' }), 'actor_not_allowed', actor)
      const token = await exchanged(world, naming({ sub: 'bot', iss: IDP_ISSUER }), actor)
      assert.deepEqual(claimsOf(token)['act'], { sub: 'bot' })
    },
  },
  {
    row: 53,
    name: 'a fifth actor is refused, a fourth is not',
    async run(world) {
      const actor = { actor_token: world.actor.token(), ...ACTOR_TYPE }
      const chain = { sub: 'a', act: { sub: 'b', act: { sub: 'c' } } }
      const four = claimsOf(await exchanged(world, world.subject.token({ act: chain }), actor))
      assert.deepEqual(four['act'], { sub: 'bot', act: chain })
      await refused(
        world,
        world.subject.token({ act: { sub: 'z', act: chain } }),
        'actor_not_allowed',
        actor,
      )
    },
  },
  {
    row: 55,
    name: 'what was once made from the tokens of an IdP that is now disabled is not exchanged (CVE-2026-1486)',
    async run(world) {
      const old = world.own.token({ idp: 'switched-off', sub: 'switched-off:ada' })
      await world.record(old)
      await refused(world, old, 'untrusted_issuer')
    },
  },
  { row: 56, name: 'nothing of one tenant is worth anything at the other', run: betweenTenants },
]

/** Row 56, in a deployment of its own. */
async function betweenTenants(): Promise<void> {
  const two = await startTwoTenants()
  try {
    const post = (
      issuer: string,
      path: string,
      form: Readonly<Record<string, string>>,
      secret = two.secretOf(issuer),
    ): Promise<Answer> =>
      rawPost(
        `${two.sts.url}${path}`,
        {
          host: new URL(issuer).host,
          authorization: `Basic ${Buffer.from(`${CLIENT}:${secret}`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
        },
        encode(form).toString(),
      )
    const exchange = (issuer: string, token: string, secret?: string) =>
      post(
        issuer,
        '/token',
        { grant_type: EXCHANGE, subject_token_type: JWT_TYPE, subject_token: token },
        secret,
      )
    const issued = new Map<string, string>()
    for (const issuer of [ISSUER, SECOND_ISSUER]) {
      const good = await exchange(issuer, two.tokenFor(issuer))
      assert.equal(good.status, 200, good.text)
      issued.set(issuer, String(good.body['access_token']))
    }
    for (const [here, there] of [
      [ISSUER, SECOND_ISSUER],
      [SECOND_ISSUER, ISSUER],
    ] as const) {
      const theirs = issued.get(there) ?? ''
      mustRefuse(await exchange(here, two.tokenFor(there)), 'untrusted_issuer')
      mustRefuse(await exchange(here, theirs), 'untrusted_issuer')
      mustRefuse(
        await exchange(here, two.tokenFor(here), two.secretOf(there)),
        'client_auth_failed',
      )
      const inspected = await post(here, '/introspect', { token: theirs })
      assert.equal(inspected.text, '{"active":false}')
      const home = await post(there, '/introspect', { token: theirs })
      assert.equal(home.body['active'], true, home.text)
      // The other tenant's token under this tenant's name, signed with this tenant's stolen key, but never recorded here.
      mustRefuse(await exchange(here, await two.forgedFrom(here, theirs)), 'invalid_signature')
      // And with the other tenant's key: a kid that this tenant never had.
      mustRefuse(
        await exchange(here, await two.forgedFrom(there, theirs, here)),
        'invalid_signature',
      )
    }
    mustRefuse(
      await exchange('https://nobody.example', two.tokenFor(ISSUER), 'x'),
      'unknown_tenant',
    )
  } finally {
    await two.sts.close()
  }
}
