import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compactVerify } from 'jose'
import { generateKeyPair } from '../adapters/node-crypto/key-pair.ts'
import { createLocalSigner } from '../adapters/node-crypto/local-signer.ts'
import { isRefusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { createKeys, type Keys, type KeysSettings } from './keys.ts'
import type { SigningAlgorithm } from './options.ts'
import { PrivateHalfError } from './private-halves.ts'
import type { Ring } from './ring.ts'
import { RingError } from './ring-error.ts'
import type { PrivateKeyStore, RingStore } from './store.ts'
import { createStoredHalves } from './stored-halves.ts'

const DAY = 86_400_000
const SKEW = 30_000
/** How old a published key must be to sign. */
const OLD_ENOUGH = DAY + 2 * SKEW
/** Enough for every replica to have had its turn. */
const TURN = DAY / 50
const signal = (): AbortSignal => AbortSignal.timeout(10_000)
const BY = { by: 'ada', reason: 'test' }

type Fault = ((...what: string[]) => void | Promise<void>) | undefined

/** What replicas share: the two stores, a clock, and a way to make any call fail or wait. */
function shared() {
  const rings = new Map<string, Ring>()
  const halves = new Map<string, Buffer>()
  const calls: string[] = []
  /** Every buffer with a private half that went in or out. */
  const seen: Buffer[] = []
  const faults: Record<'load' | 'cas' | 'casAfter' | 'put' | 'get' | 'destroy' | 'check', Fault> = {
    load: undefined,
    cas: undefined,
    casAfter: undefined,
    put: undefined,
    get: undefined,
    destroy: undefined,
    check: undefined,
  }
  const ringStore: RingStore = {
    async load(tenant) {
      await faults.load?.(tenant)
      return rings.get(tenant)
    },
    async compareAndSet(tenant, expected, next) {
      await faults.cas?.(tenant)
      if ((rings.get(tenant)?.version ?? 0) !== expected) return false
      assert.equal(next.version, expected + 1)
      rings.set(tenant, next)
      calls.push(`cas ${next.version}`)
      await faults.casAfter?.(tenant)
      return true
    },
  }
  const privateKeys: PrivateKeyStore = {
    async put(tenant, kid, pkcs8) {
      seen.push(pkcs8.reveal())
      assert.ok(!halves.has(`${tenant} ${kid}`))
      halves.set(`${tenant} ${kid}`, Buffer.from(pkcs8.reveal()))
      calls.push('put')
      await faults.put?.(tenant, kid)
    },
    async get(tenant, kid) {
      await faults.get?.(tenant, kid)
      const held = halves.get(`${tenant} ${kid}`)
      const given = held && Buffer.from(held)
      if (given) seen.push(given)
      return given && new Secret(given)
    },
    async destroy(tenant, kid) {
      await faults.destroy?.(tenant, kid)
      if (halves.delete(`${tenant} ${kid}`)) calls.push('destroy')
    },
    async check() {
      await faults.check?.()
    },
  }
  let now = 1_800_000_000_000
  const clock = { now: () => now, advance: (by: number) => (now += by) }
  return { rings, halves, calls, seen, faults, ringStore, privateKeys, clock }
}
type Shared = ReturnType<typeof shared>

function replica(state: Shared, settings: Partial<KeysSettings> = {}): Keys {
  const options: KeysSettings = {
    algorithm: 'ES256',
    perTarget: {},
    publishAheadMilliseconds: DAY,
    rotateEveryMilliseconds: 30 * DAY,
    successors: 1,
    longestTokenMilliseconds: DAY / 2,
    skewMilliseconds: SKEW,
    jwksMaxAgeSeconds: 300,
    jwksStaleIfErrorSeconds: 43_200,
    ...settings,
  }
  const signer = createLocalSigner()
  const { privateKeys } = state
  return createKeys(
    {
      rings: state.ringStore,
      custody: createStoredHalves({ privateKeys, signer, generateKeyPair }),
      signer,
      clock: state.clock,
      chance: () => 0,
    },
    () => options,
  )
}

/** What the timers of a replica do. */
async function refresh(keys: Keys): Promise<void> {
  await keys.follow(signal())
  await keys.keep(signal())
}

/** Lets time pass, and the replicas do in it what they do every second. */
async function live(state: Shared, milliseconds: number, ...replicas: Keys[]): Promise<void> {
  const end = state.clock.now() + milliseconds
  while (state.clock.now() < end) {
    state.clock.advance(Math.min(TURN, end - state.clock.now()))
    for (const keys of replicas) await refresh(keys)
  }
}

async function tokenOf(keys: Keys, tenant = 'acme', alg: SigningAlgorithm = 'ES256') {
  return signedWith(keys, keys.signingKey(tenant, alg))
}
async function signedWith(keys: Keys, key: ReturnType<Keys['signingKey']>): Promise<string> {
  const header = Buffer.from(JSON.stringify({ alg: key.alg, kid: key.kid })).toString('base64url')
  const signature = await keys.sign(key, `${header}.e30`)
  return `${header}.e30.${signature.toString('base64url')}`
}
async function verifies(keys: Keys, token: string, tenant = 'acme'): Promise<boolean> {
  const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as {
    kid: string
  }
  const found = await keys.verificationKey(tenant, kid)
  if (!found) return false
  await compactVerify(token, found.key, { algorithms: [found.alg] })
  return true
}
const kidsIn = (state: Shared, ...states: string[]): string[] =>
  (state.rings.get('acme')?.keys ?? [])
    .filter((key) => states.includes(key.state))
    .map(({ kid }) => kid)
const unavailable = (error: unknown): boolean => isRefusal(error, 'signer_unavailable')
const ringError = (reason: RingError['reason']) => (error: unknown) =>
  error instanceof RingError && error.reason === reason

test('opening a new tenant stages its keys, keeps both private halves, and only then signs', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  assert.deepEqual(state.calls, ['cas 1', 'put', 'put', 'cas 2'])
  assert.ok(await verifies(keys, await tokenOf(keys)))

  const jwks = JSON.parse(keys.jwks('acme').body) as { keys: { kid: string }[] }
  assert.deepEqual(
    jwks.keys.map(({ kid }) => kid),
    [...kidsIn(state, 'active'), ...kidsIn(state, 'published')],
  )
})

test('a restart finds the same keys again and makes none', async () => {
  const state = shared()
  const before = replica(state)
  await before.open(['acme'], signal())
  const token = await tokenOf(before)
  const after = replica(state)
  await after.open(['acme'], signal())
  assert.equal(state.calls.filter((call) => call === 'put').length, 2)
  assert.equal(after.signingKey('acme', 'ES256').kid, before.signingKey('acme', 'ES256').kid)
  assert.ok(await verifies(after, token))
  assert.deepEqual(after.jwks('acme'), before.jwks('acme'))
})

test('replicas that start at once agree on one ring, and the losers leave no private half behind', async () => {
  const state = shared()
  const replicas = Array.from({ length: 4 }, () => replica(state))
  await Promise.all(replicas.map((keys) => keys.open(['acme'], signal())))
  await Promise.all(replicas.map(refresh))
  assert.equal(kidsIn(state, 'active').length, 1)
  assert.equal(kidsIn(state, 'published').length, 1)
  assert.deepEqual(kidsIn(state, 'staged'), [])
  assert.deepEqual(
    [...state.halves.keys()].toSorted(),
    kidsIn(state, 'active', 'published')
      .map((kid) => `acme ${kid}`)
      .toSorted(),
  )
  const [first, second] = replicas
  assert.ok(first && second)
  assert.ok(await verifies(first, await tokenOf(second)))
})

test('every copy of a private half that passed through is overwritten with zeros, whatever went wrong', async () => {
  const state = shared()
  await replica(state).open(['acme'], signal())
  const { pkcs8 } = await generateKeyPair('ES256')
  state.halves.set(`acme ${kidsIn(state, 'active')[0]}`, pkcs8.reveal())
  await assert.rejects(replica(state).open(['acme'], signal()), PrivateHalfError)
  state.faults.put = () => {
    throw new Error('disk full')
  }
  await assert.rejects(replica(state).open(['globex'], signal()), /disk full/)
  assert.equal(state.seen.length, 8)
  assert.ok(state.seen.every((buffer) => buffer.every((byte) => byte === 0)))
})

test('a rotation destroys the old private half after the ring says so, and old tokens go on verifying', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const old = keys.signingKey('acme', 'ES256').kid
  const token = await tokenOf(keys)
  state.clock.advance(OLD_ENOUGH)

  const [next] = kidsIn(state, 'published')
  await keys.rotate('acme', 'all', BY, signal())
  assert.deepEqual(state.calls.slice(4), ['cas 3', 'put', 'cas 4', 'cas 5', 'destroy'])
  assert.ok(!state.halves.has(`acme ${old}`))
  assert.equal(keys.signingKey('acme', 'ES256').kid, next)
  assert.deepEqual(kidsIn(state, 'verify-only'), [old])
  assert.equal(kidsIn(state, 'published').length, 1)
  assert.ok(await verifies(keys, token))
  assert.ok(await verifies(keys, await tokenOf(keys)))
  assert.deepEqual(
    kidsIn(state, 'verify-only', 'active', 'published').toSorted(),
    (JSON.parse(keys.jwks('acme').body) as { keys: { kid: string }[] }).keys
      .map(({ kid }) => kid)
      .toSorted(),
  )
})

test('an exchange under way when the rotation comes is still signed; ten seconds later the old key is gone', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const old = keys.signingKey('acme', 'ES256')
  state.clock.advance(OLD_ENOUGH)
  await keys.rotate('acme', 'ES256', BY, signal())
  assert.ok(await verifies(keys, await signedWith(keys, old)))
  state.clock.advance(9999)
  await refresh(keys)
  await signedWith(keys, old)
  state.clock.advance(1)
  await refresh(keys)
  await assert.rejects(signedWith(keys, old), unavailable)
})

test('a rotation that comes too soon is refused before any key is made', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH - 1)
  const calls = state.calls.length
  await assert.rejects(
    keys.rotate('acme', 'all', BY, signal()),
    (error: unknown) =>
      error instanceof RingError &&
      error.reason === 'published_too_recently' &&
      error.allowedFrom === state.clock.now() + 1,
  )
  assert.equal(state.calls.length, calls)
})

test('a rotation done by one replica is followed by the others at their next refresh', async () => {
  const state = shared()
  const [one, other] = [replica(state), replica(state)]
  await one.open(['acme'], signal())
  await other.open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH)
  await one.rotate('acme', 'all', BY, signal())
  assert.notEqual(other.jwks('acme').etag, one.jwks('acme').etag)
  await refresh(other)
  assert.deepEqual(other.jwks('acme'), one.jwks('acme'))
  assert.equal(other.signingKey('acme', 'ES256').kid, one.signingKey('acme', 'ES256').kid)
  assert.ok(await verifies(one, await tokenOf(other)))
})

test('a token signed by a replica that has just rotated verifies at one that has not read it yet', async () => {
  const state = shared()
  const [one, other] = [replica(state), replica(state)]
  await one.open(['acme'], signal())
  await other.open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH)
  await one.rotate('acme', 'all', BY, signal())
  assert.ok(await verifies(other, await tokenOf(one)))
})

test('a token signed with a published key, stolen before its time, finds no key to verify it', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const [published] = kidsIn(state, 'published')
  assert.ok(published && keys.jwks('acme').body.includes(published))
  assert.equal(await keys.verificationKey('acme', published), undefined)
  assert.equal(await keys.verificationKey('acme', 'constructor'), undefined)
})

test('whether an unknown kid is ours is refused as unknown, not answered with no, while the ring cannot be read', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const token = await tokenOf(keys)
  state.faults.load = () => {
    throw new Error('store down')
  }
  await assert.rejects(keys.verificationKey('acme', 'unknown'), unavailable)
  assert.ok(await verifies(keys, token))
})

test('a flood of unknown kids makes few reads of the ring, each begun after the question was asked', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  let reads = 0
  state.faults.load = async () => {
    reads += 1
    await new Promise((resolve) => setImmediate(resolve))
  }
  await Promise.all(Array.from({ length: 200 }, (_, n) => keys.verificationKey('acme', `kid-${n}`)))
  assert.ok(reads <= 2, `${reads} reads`)
})

test('a private half that cannot be opened stops the boot: no key is made in its place', async () => {
  const state = shared()
  await replica(state).open(['acme'], signal())
  const ring = state.rings.get('acme')
  const calls = state.calls.length
  const attempts: [string, () => void][] = [
    [
      'sealed under another KEK',
      () => {
        state.faults.get = () => {
          throw new Error('sealed under another KEK.')
        }
      },
    ],
    [
      'not in the store',
      () => {
        state.faults.get = undefined
        state.halves.delete(`acme ${kidsIn(state, 'active')[0]}`)
      },
    ],
  ]
  for (const [why, breakIt] of attempts) {
    breakIt()
    await assert.rejects(
      replica(state).open(['acme'], signal()),
      (error: unknown) => error instanceof PrivateHalfError && error.message.includes(why),
    )
  }
  assert.equal(state.rings.get('acme'), ring)
  assert.equal(state.calls.length, calls)
})

test('a private half put in the place of another one stops the boot', async () => {
  const state = shared()
  await replica(state).open(['acme'], signal())
  const { pkcs8 } = await generateKeyPair('ES256')
  state.halves.set(`acme ${kidsIn(state, 'active')[0]}`, pkcs8.reveal())
  await assert.rejects(
    replica(state).open(['acme'], signal()),
    /does not belong to the public half/,
  )
})

test('a replica that boots while another rotates follows the newer ring instead of refusing', async () => {
  const state = shared()
  const one = replica(state)
  await one.open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH)
  const late = replica(state)
  state.faults.get = async () => {
    state.faults.get = undefined
    await one.rotate('acme', 'all', BY, signal())
  }
  await late.open(['acme'], signal())
  assert.equal(late.signingKey('acme', 'ES256').kid, one.signingKey('acme', 'ES256').kid)
  await tokenOf(late)
})

test('when nobody knows whether the ring was written, no private half that it names is destroyed', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH)
  state.faults.casAfter = () => {
    state.faults.casAfter = undefined
    throw new Error('connection lost after the commit')
  }
  await assert.rejects(keys.rotate('acme', 'all', BY, signal()), /connection lost/)
  await live(state, 10 * TURN, keys)
  const named = kidsIn(state, 'active', 'published')
  assert.deepEqual(
    [...state.halves.keys()].toSorted(),
    named.map((kid) => `acme ${kid}`).toSorted(),
  )
  assert.ok(await verifies(keys, await tokenOf(keys)))
})

test('of two rotations asked for at once one is done, and the other leaves nothing behind', async () => {
  const state = shared()
  const [one, other] = [
    replica(state, { publishAheadMilliseconds: 0, skewMilliseconds: 0 }),
    replica(state, { publishAheadMilliseconds: 0, skewMilliseconds: 0 }),
  ]
  await one.open(['acme'], signal())
  await other.open(['acme'], signal())
  const outcomes = await Promise.allSettled([
    one.rotate('acme', 'all', BY, signal()),
    other.rotate('acme', 'all', BY, signal()),
    one.rotate('acme', 'all', BY, signal()),
  ])
  const lost = outcomes.filter((outcome) => outcome.status === 'rejected')
  assert.equal(lost.length, 2)
  assert.ok(lost.every((outcome) => ringError('changed_meanwhile')(outcome.reason)))
  await refresh(one)
  assert.equal(kidsIn(state, 'verify-only').length, 1)
  assert.equal(state.halves.size, kidsIn(state, 'active', 'published').length)
})

test('a private half that could not be destroyed is destroyed by a later refresh', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const old = keys.signingKey('acme', 'ES256').kid
  state.clock.advance(OLD_ENOUGH)
  state.faults.destroy = () => {
    throw new Error('store down')
  }
  await keys.rotate('acme', 'all', BY, signal())
  assert.ok(state.halves.has(`acme ${old}`))
  let tries = 0
  state.faults.destroy = () => {
    tries += 1
  }
  await refresh(keys)
  assert.ok(!state.halves.has(`acme ${old}`))
  await refresh(keys)
  assert.equal(tries, 1, 'what is destroyed is not destroyed every second')
})

test('a crash between the rotation and the destruction is made good at the next start', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const old = keys.signingKey('acme', 'ES256').kid
  const kept = Buffer.from(state.halves.get(`acme ${old}`) ?? [])
  state.clock.advance(OLD_ENOUGH)
  await keys.rotate('acme', 'all', BY, signal())
  state.halves.set(`acme ${old}`, kept)
  await replica(state).open(['acme'], signal())
  assert.ok(!state.halves.has(`acme ${old}`))
})

test('a successor whose private half cannot be used does not take the place of a key that works', async () => {
  const state = shared()
  await replica(state).open(['acme'], signal())
  state.clock.advance(OLD_ENOUGH)
  const [published] = kidsIn(state, 'published')
  state.halves.delete(`acme ${published}`)
  const keys = replica(state)
  await assert.rejects(keys.open(['acme'], signal()), PrivateHalfError)
  const [active] = kidsIn(state, 'active')
  await assert.rejects(keys.rotate('acme', 'all', BY, signal()), PrivateHalfError)
  assert.deepEqual(kidsIn(state, 'active'), [active])
  await tokenOf(keys)
})

test('when a private half cannot be kept, its key is given up and nothing of it is left in the store', async () => {
  const state = shared()
  let puts = 0
  state.faults.put = () => {
    puts += 1
    if (puts === 2) throw new Error('disk full, or only the answer lost')
  }
  await assert.rejects(replica(state).open(['acme'], signal()), /disk full/)
  assert.deepEqual(kidsIn(state, 'staged', 'published', 'active'), [])
  const next = replica(state)
  await next.open(['acme'], signal())
  assert.equal(state.halves.size, kidsIn(state, 'active', 'published').length)
})

test('what a replica staged that died on the way is cleared up by the others, its private half too', async () => {
  const state = shared()
  const keys = replica(state, { successors: 2 })
  await keys.open(['acme'], signal())
  await keys.change('acme', 'retire', kidsIn(state, 'published')[0] ?? '', BY, signal())
  const dying = replica(state, { successors: 2 })
  await dying.open(['acme'], signal())
  state.faults.put = () => new Promise(() => undefined)
  void dying.keep(signal()).catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const [staged] = kidsIn(state, 'staged')
  assert.ok(staged && state.halves.has(`acme ${staged}`))
  state.faults.put = undefined
  await live(state, 3 * TURN, keys)
  assert.deepEqual(kidsIn(state, 'staged'), [])
  assert.ok(!state.halves.has(`acme ${staged}`))
  assert.equal(kidsIn(state, 'published').length, 2, 'and the successor was made by another')
})

test('a rotation comes by schedule, on every replica, with a successor published before and after', async () => {
  const state = shared()
  const [one, other] = [replica(state), replica(state)]
  await one.open(['acme'], signal())
  await other.open(['acme'], signal())
  const [first, second] = [kidsIn(state, 'active')[0], kidsIn(state, 'published')[0]]
  await live(state, 30 * DAY - 1, one, other)
  assert.equal(one.signingKey('acme', 'ES256').kid, first)
  await live(state, 4 * TURN, one, other)
  for (const keys of [one, other]) assert.equal(keys.signingKey('acme', 'ES256').kid, second)
  assert.equal(kidsIn(state, 'published').length, 1)
})

test('a key store that is down defers a rotation and does not skip it; tokens are signed all the while', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const first = keys.signingKey('acme', 'ES256').kid
  await live(state, 30 * DAY - 1, keys)
  const { version } = state.rings.get('acme') ?? { version: 0 }
  state.faults.check = () => {
    throw new Error('sealed')
  }
  for (let turn = 0; turn < 10; turn += 1) {
    state.clock.advance(TURN)
    await assert.rejects(keys.keep(signal()), AggregateError)
    await tokenOf(keys)
  }
  assert.equal(keys.signingKey('acme', 'ES256').kid, first)
  assert.equal(state.rings.get('acme')?.version, version, 'no staged keys pile up')
  state.faults.check = undefined
  await live(state, 4 * TURN, keys)
  assert.notEqual(keys.signingKey('acme', 'ES256').kid, first)
})

test('a replica that is cut off from the ring stops signing at signUntil by itself', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  state.faults.load = () => {
    throw new Error('partitioned')
  }
  const key = keys.signingKey('acme', 'ES256')
  state.clock.advance(31 * DAY - 1)
  await tokenOf(keys)
  state.clock.advance(1)
  assert.throws(() => keys.signingKey('acme', 'ES256'), unavailable)
  // Recording may have taken until now: the last moment counts.
  await assert.rejects(signedWith(keys, key), unavailable)
})

test('attack: with a stolen key in use, a kill stops it on every replica although the key store hangs', async () => {
  const state = shared()
  const [one, other] = [replica(state), replica(state)]
  await one.open(['acme'], signal())
  await other.open(['acme'], signal())
  const stolen = one.signingKey('acme', 'ES256')
  const token = await tokenOf(one)
  for (const call of ['get', 'put', 'destroy'] as const)
    state.faults[call] = () => new Promise(() => undefined)
  void one.change('acme', 'kill', stolen.kid, BY, signal())
  await new Promise((resolve) => setTimeout(resolve, 50))
  await other.follow(signal())
  for (const keys of [one, other]) {
    assert.equal(await verifies(keys, token), false)
    assert.ok(!keys.jwks('acme').body.includes(stolen.kid))
    assert.notEqual(keys.signingKey('acme', 'ES256').kid, stolen.kid)
    await assert.rejects(signedWith(keys, stolen), unavailable)
    await tokenOf(keys)
  }
})

test('what was signed is counted by key and reported once', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const { kid } = keys.signingKey('acme', 'ES256')
  await tokenOf(keys)
  await tokenOf(keys)
  const lastSignedAt = Math.floor(state.clock.now() / 60_000) * 60_000
  assert.deepEqual(keys.takeUsage(), [{ tenant: 'acme', kid, signatures: 2, lastSignedAt }])
  assert.deepEqual(keys.takeUsage(), [])
})

test('an algorithm that the configuration names later gets its keys at the next start', async () => {
  const state = shared()
  await replica(state).open(['acme'], signal())
  const keys = replica(state, { perTarget: { 'https://pay.example': 'EdDSA' } })
  await keys.open(['acme'], signal())
  assert.equal(keys.algorithmFor('https://pay.example'), 'EdDSA')
  assert.equal(keys.algorithmFor('https://api.example'), 'ES256')
  assert.ok(await verifies(keys, await tokenOf(keys, 'acme', 'EdDSA')))
  assert.ok(await verifies(keys, await tokenOf(keys, 'acme', 'ES256')))
  assert.throws(() => keys.signingKey('acme', 'PS256'), unavailable)

  state.clock.advance(OLD_ENOUGH)
  const before = kidsIn(state, 'active')
  await keys.rotate('acme', 'all', BY, signal())
  assert.deepEqual(kidsIn(state, 'verify-only').toSorted(), before.toSorted())
  await assert.rejects(
    keys.rotate('acme', 'PS256', BY, signal()),
    ringError('algorithm_not_in_ring'),
  )
})

test('an audience named like a member of every object gets the default algorithm', () => {
  const keys = replica(shared())
  for (const audience of ['constructor', '__proto__', 'toString'])
    assert.equal(keys.algorithmFor(audience), 'ES256')
})

test('a tenant has keys of its own: what one signs finds no key at another', async () => {
  const keys = replica(shared())
  await keys.open(['acme', 'globex'], signal())
  const token = await tokenOf(keys, 'acme')
  assert.ok(await verifies(keys, token, 'acme'))
  assert.equal(await verifies(keys, token, 'globex'), false)
  await assert.rejects(
    async () => keys.sign({ ...keys.signingKey('acme', 'ES256'), tenant: 'globex' }, 'a.b'),
    unavailable,
  )
})

test('a tenant whose ring cannot be read keeps its keys and does not keep the others from following', async () => {
  const state = shared()
  const [one, other] = [replica(state), replica(state)]
  await one.open(['acme', 'globex'], signal())
  await other.open(['acme', 'globex'], signal())
  state.clock.advance(OLD_ENOUGH)
  await one.rotate('acme', 'all', BY, signal())
  state.faults.load = (tenant) => {
    if (tenant === 'globex') throw new Error('row locked')
  }
  await assert.rejects(other.follow(signal()), AggregateError)
  assert.deepEqual(other.jwks('acme'), one.jwks('acme'))
  await tokenOf(other, 'globex')
})

test('a store that was set back to an older ring does not bring a replaced key back to signing', async () => {
  const state = shared()
  const keys = replica(state)
  await keys.open(['acme'], signal())
  const older = state.rings.get('acme')
  state.clock.advance(OLD_ENOUGH)
  await keys.rotate('acme', 'all', BY, signal())
  const { kid } = keys.signingKey('acme', 'ES256')
  assert.ok(older)
  state.rings.set('acme', older)
  await refresh(keys)
  assert.equal(keys.signingKey('acme', 'ES256').kid, kid)
})

test('before its ring was read a tenant has no key, no JWKS and no rotation', async () => {
  const keys = replica(shared())
  assert.throws(() => keys.signingKey('acme', 'ES256'), unavailable)
  assert.throws(() => keys.jwks('acme'), unavailable)
  await assert.rejects(keys.rotate('acme', 'all', BY, signal()), unavailable)
  await assert.rejects(keys.verificationKey('acme', 'kid'), unavailable)
})

test('an operator who goes away while a rotation reads the ring takes no answer of others along', async () => {
  const state = shared()
  const load: RingStore['load'] = (tenant, given) => state.ringStore.load(tenant, given)
  let hangs = false
  const ringStore: RingStore = {
    ...state.ringStore,
    load: (tenant, given) =>
      hangs
        ? new Promise((resolve, reject) => {
            if (given.aborted) reject(new Error('given up'))
            given.addEventListener('abort', () => reject(new Error('given up')))
            setTimeout(() => resolve(load(tenant, given)), 100)
          })
        : load(tenant, given),
  }
  const keys = replica({ ...state, ringStore })
  await keys.open(['acme'], signal())
  hangs = true
  const operator = new AbortController()
  const rotation = keys.rotate('acme', 'all', BY, operator.signal)
  const asked = keys.verificationKey('acme', 'unknown')
  operator.abort()
  await assert.rejects(rotation)
  assert.equal(await asked, undefined)
})
