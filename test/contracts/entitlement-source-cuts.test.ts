/** What a look-up of three pages comes to when the wire is cut, changed or crumbled at any byte: everything, or a failure. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEgress } from '../../src/adapters/http/egress.ts'
import { createHttpEntitlementSource } from '../../src/adapters/http/entitlement-source.ts'
import type { Source } from '../../src/entitlement/options.ts'
import { type SourceAnswer, SourceFailure } from '../../src/entitlement/source.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { sourceOf } from '../fakes/entitlement-source.ts'
import {
  type EntitlementWire,
  startEntitlementWire,
  type WirePlan,
} from '../fakes/entitlement-wire.ts'

const ROLES = ['orders.read', 'orders.write', 'hr.read', 'hr.write', 'admin']
const complete = { known: true, roles: ROLES } as const

interface World {
  readonly wire: EntitlementWire
  readonly ask: (source?: Source) => Promise<SourceAnswer>
  /** Like the usual one, with little patience. */
  readonly impatient: Source
}

async function onWire(check: (world: World) => Promise<void>): Promise<void> {
  const wire = await startEntitlementWire(ROLES)
  const egress = createEgress({ allow: [], allowLoopback: true })
  const port = createHttpEntitlementSource({ egress, clock: systemClock })
  const usual = sourceOf({ url: wire.url, echoPath: 'user' })
  try {
    await check({
      wire,
      ask: (source = usual) => port.rolesOf(source, 'ada', 200, AbortSignal.timeout(30_000)),
      impatient: { ...usual, readMilliseconds: 25 },
    })
  } finally {
    await port.close()
    await wire.close()
  }
}

/** Whether everything came; a failure is the only other thing that may. */
async function isComplete(asking: Promise<SourceAnswer>): Promise<boolean> {
  try {
    assert.deepEqual(await asking, complete)
    return true
  } catch (error) {
    assert.ok(error instanceof SourceFailure, String(error))
    return false
  }
}

const FRAMINGS: Readonly<Record<string, WirePlan>> = {
  'a length, one connection': { framing: 'length', keepAlive: true },
  'a length, a connection each': { framing: 'length', keepAlive: false },
  'chunks, one connection': { framing: 'chunked', keepAlive: true },
  'chunks, a connection each': { framing: 'chunked', keepAlive: false },
  'the end of the connection': { framing: 'close', keepAlive: false },
}

for (const [name, plan] of Object.entries(FRAMINGS)) {
  test(`three pages cut off at any byte never give a partial set of roles (end of body by ${name})`, () =>
    onWire(async ({ wire, ask }) => {
      wire.plan(plan)
      assert.equal(await isComplete(ask()), true)
      const whole = wire.written()
      assert.ok(whole > 400, `${whole} bytes`)
      for (let cutAt = 0; cutAt < whole; cutAt += 1) {
        for (const ending of ['fin', 'reset'] as const) {
          wire.plan({ ...plan, cutAt, ending })
          assert.equal(await isComplete(ask()), false, `cut at ${cutAt}`)
        }
      }
      wire.plan({ ...plan, cutAt: whole })
      assert.equal(await isComplete(ask()), true)
    }))

  test(`three pages that come byte by byte are complete, or cut off a failure (end of body by ${name})`, () =>
    onWire(async ({ wire, ask }) => {
      wire.plan({ ...plan, crumbled: true })
      assert.equal(await isComplete(ask()), true)
      const whole = wire.written()
      for (let cutAt = 0; cutAt < whole; cutAt += 41) {
        wire.plan({ ...plan, crumbled: true, cutAt })
        assert.equal(await isComplete(ask()), false, `cut at ${cutAt}`)
      }
    }))

  test(`a byte that was changed on the way never makes another list where a digest came with it (end of body by ${name})`, () =>
    onWire(async ({ wire, ask, impatient }) => {
      const digested = { ...plan, digest: true }
      wire.plan(digested)
      assert.equal(await isComplete(ask()), true)
      const whole = wire.written()
      let noticed = 0
      for (let corruptAt = 0; corruptAt < whole; corruptAt += 1) {
        wire.plan({ ...digested, corruptAt })
        // A length that was changed to more would be waited for.
        if (!(await isComplete(ask(impatient)))) noticed += 1
      }
      assert.ok(noticed > whole / 3, `${noticed} of ${whole} changes were noticed`)
    }))
}
