import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createSystemRandom } from '../../lib/id.ts'
import { Secret } from '../../lib/secret.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import type { VaultLease } from './login.ts'
import { createVaultSession, type VaultSession } from './session.ts'
import { VaultError } from './vault-error.ts'

const soon = () => AbortSignal.timeout(30_000)
const down = () => Promise.reject(new DependencyUnavailable('down'))
const refused = () => Promise.reject(new VaultError('POST', 'auth', 403, []))

interface World {
  readonly session: VaultSession
  logins: number
  renewals: number
  revocations: number
  login: () => Promise<VaultLease>
  renew: (lease: VaultLease) => Promise<VaultLease>
  revoke: () => Promise<void>
  /** What the clock says; it stands still, so that a slow machine cannot let a token end. Timers run in real time. */
  now: number
}

const leaseOf = (name: string, ttlMilliseconds: number, renewable = true): VaultLease => ({
  token: new Secret(name),
  ttlMilliseconds,
  renewable,
})

/** A session whose tokens are called 1, 2, 3 in the order of the logins. */
async function withSession(
  ttlMilliseconds: number,
  body: (world: World) => Promise<void>,
): Promise<void> {
  const world: World = {
    logins: 0,
    renewals: 0,
    revocations: 0,
    now: 0,
    login: () => Promise.resolve(leaseOf(String(world.logins), ttlMilliseconds)),
    renew: (lease) => Promise.resolve({ ...lease, ttlMilliseconds }),
    revoke: () => Promise.resolve(),
    session: createVaultSession({
      logins: {
        login: () => {
          world.logins += 1
          return world.login()
        },
        renew: (lease) => {
          world.renewals += 1
          return world.renew(lease)
        },
        revoke: () => {
          world.revocations += 1
          return world.revoke()
        },
      },
      monotonic: { now: () => world.now },
      random: createSystemRandom(),
    }),
  }
  try {
    await body(world)
  } finally {
    await world.session.close()
  }
}

const current = async ({ session }: World) => (await session.token(soon())).reveal()

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it did not come about within 30 seconds')
    await setTimeout(5)
  }
}

test('a token is prolonged again and again without a call that asks for it', async () => {
  await withSession(60, async (world) => {
    await current(world)
    await until(() => world.renewals >= 3)
  })
})

test('a token that cannot be prolonged is replaced before it ends', async () => {
  await withSession(60_000, async (world) => {
    world.login = () =>
      Promise.resolve(leaseOf(String(world.logins), world.logins === 1 ? 60 : 60_000))
    world.renew = refused
    await current(world)
    await until(() => world.logins === 2)
    assert.equal(await current(world), '2')
  })
})

test('a token near the longest life that it may have is replaced, not prolonged for the rest of it', async () => {
  await withSession(60, async (world) => {
    world.renew = (lease) => Promise.resolve({ ...lease, ttlMilliseconds: 29 })
    await current(world)
    await until(() => world.logins >= 2)
  })
})

test('a token that is not renewable is replaced without an attempt to prolong it', async () => {
  await withSession(60, async (world) => {
    world.login = () => Promise.resolve(leaseOf(String(world.logins), 60, false))
    await current(world)
    await until(() => world.logins >= 2)
    assert.equal(world.renewals, 0)
  })
})

test('while renewals get no answer, calls go on with the token in hand, and it is tried again', async () => {
  await withSession(60, async (world) => {
    world.renew = down
    assert.equal(await current(world), '1')
    await until(() => world.renewals === 1)
    assert.equal(await current(world), '1')
    world.renew = (lease) => Promise.resolve({ ...lease, ttlMilliseconds: 60_000 })
    await until(() => world.renewals === 2)
    assert.equal(await current(world), '1')
    assert.equal(world.logins, 1)
  })
})

test('a token that has ended is not handed out, also after the process slept through its renewal', async () => {
  await withSession(60_000, async (world) => {
    assert.equal(await current(world), '1')
    world.now += 60_000
    assert.equal(await current(world), '2')
  })
})

test('pauses between logins that fail grow to five seconds and no further', async () => {
  await withSession(60_000, async (world) => {
    world.login = down
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      await assert.rejects(current(world), DependencyUnavailable)
      await assert.rejects(current(world), DependencyUnavailable)
      assert.equal(world.logins, attempt, 'the second call did not try')
      // Never longer than this, so the next call tries; at the end never shorter than half of it.
      world.now += Math.min(25 * 2 ** attempt, 5000)
    }
    await assert.rejects(current(world), DependencyUnavailable)
    world.now += 2000
    await assert.rejects(current(world), DependencyUnavailable)
    assert.equal(world.logins, 13)
    world.login = () => Promise.resolve(leaseOf('good', 60_000))
    world.now += 5000
    assert.equal(await current(world), 'good')
  })
})

test('a caller that gives up gets its own error and ends no login that others wait for', async () => {
  await withSession(60_000, async (world) => {
    const { promise, resolve } = Promise.withResolvers<VaultLease>()
    world.login = () => promise
    const impatient = new AbortController()
    const first = world.session.token(impatient.signal)
    const second = current(world)
    impatient.abort()
    await assert.rejects(first, DependencyUnavailable)
    resolve(leaseOf('late', 60_000))
    assert.equal(await second, 'late')
    assert.equal(world.logins, 1)
  })
})

test('a token without end is not renewed', async () => {
  await withSession(Number.POSITIVE_INFINITY, async (world) => {
    await current(world)
    world.now += 1e12
    assert.equal(await current(world), '1')
    assert.equal(world.renewals, 0)
  })
})

test('closing gives the token back once, and goes on when that gets no answer', async () => {
  await withSession(60_000, async (world) => {
    await current(world)
    world.revoke = () => new Promise(() => undefined)
    await world.session.close()
    await world.session.close()
    assert.equal(world.revocations, 1)
  })
})
