import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Source } from '../../src/entitlement/options.ts'
import { type EntitlementSource, SourceFailure } from '../../src/entitlement/source.ts'

/** An adapter with a world behind it that the suite can furnish. */
export interface EntitlementSourceWorld {
  readonly port: EntitlementSource
  /** The configuration that leads to that world. */
  readonly source: Source
  /** The source knows this user with these roles, in this order. */
  know(user: string, roles: readonly string[]): void
  /** The source breaks: it is gone, never answers, or refuses to. */
  break(how: 'gone' | 'silent' | 'refusing'): void | Promise<void>
  close(): Promise<void>
}

const within = (milliseconds: number): AbortSignal => AbortSignal.timeout(milliseconds)

/** What every {@link EntitlementSource} promises. */
export function entitlementSourceContract(
  name: string,
  open: () => Promise<EntitlementSourceWorld>,
): void {
  function contract(promise: string, check: (world: EntitlementSourceWorld) => Promise<void>) {
    test(`${name}: ${promise}`, async () => {
      const world = await open()
      try {
        await check(world)
      } finally {
        await world.close()
      }
    })
  }

  contract('gives every role of a user, as the source has them', async (world) => {
    const roles = ['b', 'a', 'c', 'b', 'a,b', '"quoted"', 'Rôle <b>', 'e']
    world.know('ada', roles)
    assert.deepEqual(await world.port.rolesOf(world.source, 'ada', 200, within(10_000)), {
      known: true,
      roles,
    })
  })

  contract('tells a user without roles from a user nobody knows', async (world) => {
    world.know('bob', [])
    assert.deepEqual(await world.port.rolesOf(world.source, 'bob', 200, within(10_000)), {
      known: true,
      roles: [],
    })
    assert.deepEqual(await world.port.rolesOf(world.source, 'carol', 200, within(10_000)), {
      known: false,
    })
  })

  contract('a user name of any characters names that user and no other', async (world) => {
    const names = ['a/b', 'a?b', 'a#b', 'a b', 'a%2fb', 'ä@ö.test', '💡', "o'neil", '...', '%2e%2e']
    for (const user of names) world.know(user, [`role of ${user}`])
    for (const user of names) {
      assert.deepEqual(await world.port.rolesOf(world.source, user, 200, within(10_000)), {
        known: true,
        roles: [`role of ${user}`],
      })
    }
  })

  contract('as many roles as allowed pass, one more fails and none are given', async (world) => {
    world.know('ada', ['a', 'b', 'c', 'd', 'e'])
    const answer = await world.port.rolesOf(world.source, 'ada', 5, within(10_000))
    assert.equal(answer.known && answer.roles.length, 5)
    await assert.rejects(world.port.rolesOf(world.source, 'ada', 4, within(10_000)), isContract)
  })

  for (const how of ['gone', 'silent', 'refusing'] as const) {
    contract(`a source that is ${how} is a failure, never an empty set`, async (world) => {
      world.know('ada', ['a'])
      await world.break(how)
      const time = how === 'silent' ? 50 : 10_000
      await assert.rejects(
        world.port.rolesOf(world.source, 'ada', 200, within(time)),
        (error) =>
          error instanceof SourceFailure &&
          error.source === world.source.name &&
          (how !== 'silent' || error.kind === 'timeout'),
      )
    })
  }

  contract('a signal that has fired already is a failure', async (world) => {
    world.know('ada', ['a'])
    await assert.rejects(
      world.port.rolesOf(world.source, 'ada', 200, AbortSignal.abort()),
      (error) => error instanceof SourceFailure && error.kind === 'timeout',
    )
  })
}

function isContract(error: unknown): boolean {
  return error instanceof SourceFailure && error.kind === 'contract'
}
