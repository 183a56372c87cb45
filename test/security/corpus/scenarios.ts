/** Rows that are a story rather than one token: accepted on purpose, counted or timed. */
import assert from 'node:assert/strict'
import { mint, otherEs256Signature } from '../../fakes/jwt.ts'
import { IDP_ISSUER } from '../../fakes/sts.ts'
import { bring, mustRefuse } from './doors.ts'
import { ACTOR_TYPE, claimsOf, exchanged, refused, type Scenario, seconds } from './story.ts'

export const SCENARIOS: readonly Scenario[] = [
  {
    row: 13,
    name: 'claims named __proto__ and constructor are accepted as inert data and never copied out',
    async run(world) {
      const text = JSON.stringify(world.subject.claims())
      const token = world.subject.token(
        {},
        {},
        {
          rawPayload: `{"__proto__":{"roles":["admin"],"sub":"root"},"constructor":{"prototype":{"aud":"x"}},"prototype":1,${text.slice(1)}`,
        },
      )
      const claims = claimsOf(await exchanged(world, token))
      assert.equal(claims['sub'], 'ada')
      assert.deepEqual(claims['roles'], ['orders.read', 'orders.write'])
      for (const name of ['__proto__', 'constructor', 'prototype'])
        assert.ok(!Object.hasOwn(claims, name), `${name} was copied out`)
      assert.equal(({} as Record<string, unknown>)['roles'], undefined)
    },
  },
  {
    row: 13,
    name: 'required claims are not found in the prototype',
    run: (world) =>
      refused(
        world,
        mint({
          key: world.subject.keys.es,
          rawPayload: `{"__proto__":${JSON.stringify(world.subject.claims())},"iss":"${IDP_ISSUER}"}`,
        }),
        'missing_claim',
      ),
  },
  {
    row: 20,
    name: 'a token of ours under its second signature (r, n - s) is the same recorded token',
    async run(world) {
      const token = await world.sts.exchange({ subject_token: world.subject.token() })
      const mirrored = otherEs256Signature(token)
      assert.notEqual(mirrored, token)
      assert.equal((await world.sts.introspect(mirrored)).body['jti'], claimsOf(token)['jti'])
    },
  },
  {
    row: 29,
    name: 'a thousand tokens with unknown kids make the keys be read once in 30 s',
    async run(world) {
      const forge = world.idp('remote', world.remoteKey)
      world.sts.api.users.set('ada@remote.example', ['SAP_ORD_R'])
      await exchanged(world, forge.token())
      world.clock.time += 31_000
      const before = world.keyServer.requests.length
      for (let round = 0; round < 50; round++) {
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, n) =>
            bring(world, 'form', forge.token({}, { kid: `made-up-${round}-${n}` })),
          ),
        )
        for (const answer of answers) mustRefuse(answer, 'invalid_signature')
      }
      assert.ok(world.keyServer.requests.length - before <= 1)
      assert.deepEqual(world.attacker.requests, [])
      world.clock.time += 31_000
      mustRefuse(await bring(world, 'form', forge.token({}, { kid: 'late' })), 'invalid_signature')
      assert.ok(world.keyServer.requests.length - before <= 2)
    },
  },
  {
    row: 37,
    name: 'times within the skew are accepted, to the second',
    async run(world) {
      const now = seconds(world)
      for (const over of [
        { exp: now - 29 },
        { exp: now - 29.5 },
        { nbf: now + 30 },
        { iat: now + 30 },
        { iat: now - 3630 },
        { exp: now + 0.5 },
      ])
        await exchanged(world, world.subject.token(over))
    },
  },
  {
    row: 37,
    name: 'a token of ours is expired at exp, without any skew',
    async run(world) {
      const token = world.own.token({ exp: seconds(world) + 60 })
      await world.record(token)
      world.clock.time += 59_999
      assert.equal((await world.sts.introspect(token)).body['active'], true)
      world.clock.time += 1
      assert.equal((await world.sts.introspect(token)).text, '{"active":false}')
      await refused(world, token, 'expired')
    },
  },
  {
    row: 38,
    name: 'a token that expires while the roles are looked up is refused, and nothing is signed',
    async run(world) {
      world.sts.api.users.set('slow@acme.example', ['SAP_ORD_R'])
      world.sts.api.behave({
        lie: (page) => {
          world.clock.time += 331_000
          return page
        },
      })
      try {
        await refused(
          world,
          world.subject.token({ sub: 'slow', upn: 'slow@acme.example' }),
          'expired',
          {
            outbound: 1,
          },
        )
      } finally {
        world.sts.api.behave({ lie: (page) => page })
      }
    },
  },
  {
    row: 38,
    name: 'an actor token that expires while the roles are looked up is refused too',
    async run(world) {
      world.sts.api.users.set('slower@acme.example', ['SAP_ORD_R'])
      world.sts.api.behave({
        lie: (page) => {
          world.clock.time += 100_000
          return page
        },
      })
      const token = world.subject.token({ sub: 'slower', upn: 'slower@acme.example' })
      try {
        await refused(world, token, 'expired', {
          outbound: 1,
          actor_token: world.actor.token({ exp: seconds(world) + 60 }),
          ...ACTOR_TYPE,
        })
      } finally {
        world.sts.api.behave({ lie: (page) => page })
      }
    },
  },
  {
    row: 40,
    name: 'an audience list with us and others is accepted',
    run: async (world) =>
      void (await exchanged(world, world.subject.token({ aud: ['x', 'rolemint'] }))),
  },
  {
    row: 42,
    name: 'a UPN that was given to another sub is refused as upn_conflict, for subject tokens and for tokens of ours',
    async run(world) {
      world.sts.api.users.set('eve@acme.example', ['SAP_ORD_R'])
      const first = world.subject.token({ sub: 'eve-1', upn: 'eve@acme.example' })
      const issued = await exchanged(world, first)
      await refused(
        world,
        world.subject.token({ sub: 'eve-2', upn: 'eve@acme.example' }),
        'upn_conflict',
      )
      // The source is asked for the name as it came; the pin does not mind case.
      world.sts.api.users.set('EVE@Acme.Example', ['SAP_ORD_R'])
      const shouting = world.subject.token({ sub: 'eve-2', upn: 'EVE@Acme.Example' })
      await refused(world, shouting, 'upn_conflict', { outbound: 1 })
      await exchanged(world, first)
      await exchanged(world, issued)
    },
  },
  {
    row: 43,
    name: 'a UPN with everything that is allowed in it is one encoded path segment of one request',
    async run(world) {
      for (const upn of [
        "o'neil+x@acme.example",
        'a/b@acme.example',
        'a?b=c&d=e@acme.example',
        'a%2e%2e@acme.example',
        '../../admin@acme.example',
        '{user}@acme.example',
        'a#b@acme.example',
        '*@acme.example',
        '$(id)@acme.example'.replace(/[()]/g, '|'),
      ]) {
        const before = world.sts.api.requests.length
        await refused(world, world.subject.token({ sub: upn, upn }), 'unknown_user', {
          outbound: 1,
        })
        assert.deepEqual(
          world.sts.api.requests.slice(before).map(({ target }) => target),
          [`/users/${encodeURIComponent(upn)}/roles`],
        )
      }
    },
  },
  {
    row: 48,
    name: 'roles beyond the ceiling or beyond the token of ours never come out',
    async run(world) {
      const web = world.subject.token()
      assert.deepEqual(claimsOf(await exchanged(world, web))['roles'], [
        'orders.read',
        'orders.write',
      ])
      const narrow = world.own.token({ roles: ['orders.read'] })
      await world.record(narrow)
      assert.deepEqual(claimsOf(await exchanged(world, narrow))['roles'], ['orders.read'])
      const foreign = world.own.token({ roles: ['root'] })
      await world.record(foreign)
      await refused(world, foreign, 'no_roles')
    },
  },
]
