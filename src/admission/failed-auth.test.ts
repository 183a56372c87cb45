import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aClient, aTenant } from '../../test/fakes/policy.ts'
import { createMemoryRateStore } from '../adapters/memory/rate-store.ts'
import type { PresentedCredentials } from '../client/credentials.ts'
import { notAuthenticated } from '../client/failure.ts'
import { isRefusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { createFailedAuthentications } from './failed-auth.ts'

const web = aClient({ id: 'web' })
const batch = aClient({ id: 'batch' })
const acme = aTenant({
  clients: new Map([
    ['web', web],
    ['batch', batch],
  ]),
})
const PEER = '192.0.2.1'
const as = (id: string): PresentedCredentials => ({ basic: { id, secret: new Secret('guess') } })
const from = (credentials: PresentedCredentials, address = PEER) => ({
  ...credentials,
  from: address,
})

/** An assertion that nobody signed. */
const claiming = (sub: unknown): PresentedCredentials => ({
  assertion: new Secret(`e30.${Buffer.from(JSON.stringify({ sub })).toString('base64url')}.x`),
})

function setUp(count = 3, tenant = acme) {
  const clock = { milliseconds: 5000, now: () => clock.milliseconds }
  let verifications = 0
  const failures = createFailedAuthentications(
    { store: createMemoryRateStore({ clock }), clock },
    () => ({ count, perMilliseconds: 60_000 }),
  )
  function authenticate(credentials: PresentedCredentials): void {
    verifications += 1
    if (credentials.basic?.secret.reveal() === 'right') return
    failures.failed(tenant, credentials)
    throw notAuthenticated('wrong secret')
  }
  function attempt(credentials: PresentedCredentials, address = PEER): string | number {
    const sent = from(credentials, address)
    try {
      failures.door?.(tenant, sent)
      authenticate(sent)
      return 'in'
    } catch (error) {
      if (isRefusal(error, 'client_auth_failed')) return 'failed'
      if (isRefusal(error, 'rate_limited')) return error.retryAfterSeconds ?? 0
      throw error
    }
  }
  return { clock, attempt, verifications: () => verifications, failures }
}

test('an attacker who guesses a secret is refused after the limit, without another verification', () => {
  const { attempt, verifications, clock } = setUp()
  for (let i = 0; i < 3; i += 1) assert.equal(attempt(as('web')), 'failed')
  for (let i = 0; i < 100; i += 1) assert.equal(attempt(as('web')), 20)
  assert.equal(verifications(), 3)
  clock.milliseconds += 20_000
  assert.equal(attempt(as('web')), 'failed')
  assert.equal(attempt(as('web')), 20)
})

test('successes cost nothing, however many', () => {
  const { attempt } = setUp()
  const right = { basic: { id: 'web', secret: new Secret('right') } }
  for (let i = 0; i < 1000; i += 1) assert.equal(attempt(right), 'in')
  assert.equal(attempt(as('web')), 'failed')
  for (let i = 0; i < 1000; i += 1) assert.equal(attempt(right), 'in')
})

test('a client with a wrong secret does not shut out the others behind the same address', () => {
  const { attempt } = setUp()
  for (let i = 0; i < 50; i += 1) attempt(as('web'))
  assert.equal(attempt({ basic: { id: 'batch', secret: new Secret('right') } }), 'in')
})

test('an attacker who names another client each time is refused after ten times the limit', () => {
  const names = Array.from({ length: 100 }, (_, i) => `client-${i}`)
  const tenant = aTenant({ clients: new Map(names.map((id) => [id, aClient({ id })])) })
  const { attempt, verifications } = setUp(3, tenant)
  for (const name of names) attempt(as(name))
  assert.equal(verifications(), 30)
  assert.equal(attempt(as('client-99')), 2)
})

test('names that are not registered share one count, as they are the choice of the attacker', () => {
  const { attempt, verifications } = setUp()
  for (let i = 0; i < 100; i += 1) attempt(as(`made-up-${i}`))
  assert.equal(verifications(), 3)
})

test('an assertion counts for the client that it claims to be from', () => {
  const { attempt } = setUp()
  for (let i = 0; i < 5; i += 1) attempt(claiming('web'))
  assert.equal(attempt(claiming('web')), 20)
  assert.equal(attempt(claiming('batch')), 'failed')
  for (const nonsense of [7, null, { web: 1 }, 'made-up']) attempt(claiming(nonsense))
  assert.equal(attempt({ assertion: new Secret('..') }), 20)
})

test('attempts that ran side by side are owed: on average the limit holds', () => {
  const { clock, failures, attempt } = setUp()
  for (let i = 0; i < 30; i += 1) failures.failed(acme, from(as('web')))
  assert.equal(attempt(as('web')), 560)
  clock.milliseconds += 560_000
  assert.equal(attempt(as('web')), 'failed')
})

test('a request whose address is not known is not counted', () => {
  const { attempt, failures } = setUp()
  for (let i = 0; i < 50; i += 1) failures.failed(acme, as('web'))
  failures.door?.(acme, as('web'))
  assert.equal(attempt(as('web')), 'failed')
})

test('an attacker who moves about in his own IPv6 /64 has one budget', () => {
  const { attempt, verifications } = setUp()
  for (let i = 0; i < 100; i += 1) attempt(as('web'), `2001:db8:1:2::${i.toString(16)}`)
  assert.equal(verifications(), 3)
  assert.equal(attempt(as('web'), '2001:db8:1:3::1'), 'failed')
})
