import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aTenant } from '../../test/fakes/policy.ts'
import { isRefusal, type Refusal } from '../lib/refusal.ts'
import { createAdmission } from './admit.ts'
import type { RateLimits } from './options.ts'

const acme = aTenant({ name: 'acme' })
const globex = aTenant({ name: 'globex' })

function setUp(limits: Partial<RateLimits>) {
  const clock = { milliseconds: 1_790_000_000_000, now: () => clock.milliseconds }
  const current: RateLimits = { perClient: undefined, perSubject: undefined, ...limits }
  return { clock, admission: createAdmission({ clock }, () => current) }
}

function refusalOf(act: () => void): Refusal {
  try {
    act()
  } catch (error) {
    if (isRefusal(error, 'rate_limited')) return error
    throw error
  }
  throw new assert.AssertionError({ message: 'nothing was refused' })
}

test('a client past its rate is told when to come back', () => {
  const { admission, clock } = setUp({ perClient: { count: 2, perMilliseconds: 60_000 } })
  admission.client(acme, 'web')
  admission.client(acme, 'web')
  assert.equal(refusalOf(() => admission.client(acme, 'web')).retryAfterSeconds, 30)

  clock.milliseconds += 30_000
  admission.client(acme, 'web')
})

test('a wait shorter than a second is announced as one second', () => {
  const { admission } = setUp({ perClient: { count: 50, perMilliseconds: 1000 } })
  for (let i = 0; i < 50; i += 1) admission.client(acme, 'web')
  assert.equal(refusalOf(() => admission.client(acme, 'web')).retryAfterSeconds, 1)
})

test('no client spends the budget of another, nor of its namesake in another tenant', () => {
  const { admission } = setUp({ perClient: { count: 1, perMilliseconds: 1000 } })
  admission.client(acme, 'web')
  admission.client(acme, 'batch')
  admission.client(globex, 'web')
  refusalOf(() => admission.client(acme, 'web'))
})

test('a subject has a budget with each client, apart from the budget of the client', () => {
  const { admission } = setUp({ perSubject: { count: 1, perMilliseconds: 1000 } })
  admission.subject(acme, 'web', 'ada')
  admission.subject(acme, 'web', 'bob')
  admission.subject(acme, 'batch', 'ada')
  refusalOf(() => admission.subject(acme, 'web', 'ada'))
  for (let i = 0; i < 100; i += 1) admission.client(acme, 'web')
})

test('a client that floods with made-up subjects does not get its own budget back', () => {
  const { admission } = setUp({
    perClient: { count: 1, perMilliseconds: 3_600_000 },
    perSubject: { count: 1, perMilliseconds: 3_600_000 },
  })
  admission.client(acme, 'web')
  for (let i = 0; i < 100_001; i += 1) admission.subject(acme, 'web', `made-up-${i}`)
  refusalOf(() => admission.client(acme, 'web'))
})

test('without limits nothing is refused', () => {
  const { admission } = setUp({})
  for (let i = 0; i < 1000; i += 1) {
    admission.client(acme, 'web')
    admission.subject(acme, 'web', 'ada')
  }
})
