import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRefusal } from '../lib/refusal.ts'
import { createCutoffRules } from './rules.ts'
import type { CutoffRule, CutoffStore, NewCutoff } from './store.ts'

const soon = () => AbortSignal.timeout(30_000)

function cutoff(id: string, tenant = 'acme'): NewCutoff {
  const times = { notBefore: 1_800_000_000_000, at: 1_800_000_000_000 }
  return { tenant, kind: 'kid', id, reason: 'test', by: 'ops', ...times }
}

/** A store to tamper with, and the rules of two replicas that follow it. */
function createWorld({ pageSize = 1000 } = {}) {
  const clock = { time: 5000, now: () => clock.time }
  const state = {
    rules: [] as CutoffRule[],
    reads: [] as number[],
    /** Awaited by every read before it looks. */
    gate: Promise.resolve(),
    failure: undefined as Error | undefined,
  }
  const store: CutoffStore = {
    async add(wanted) {
      if (state.failure) throw state.failure
      const rule = { ...wanted, seq: state.rules.length + 1 }
      state.rules.push(rule)
      return rule
    },
    async since(seq) {
      state.reads.push(seq)
      await state.gate
      if (state.failure) throw state.failure
      return state.rules.slice(seq, seq + pageSize)
    },
  }
  const lines: string[] = []
  const note = (_fields: unknown, message: string) => lines.push(message)
  const log = { debug: note, info: note, warn: note, error: note }
  const replica = () =>
    createCutoffRules({ store, monotonic: clock, log }, () => ({ stalenessMilliseconds: 1000 }))
  return { clock, state, lines, rules: replica(), other: replica() }
}

test('a rule holds at once where it was added, and elsewhere after the next reading', async () => {
  const { rules, other } = createWorld()
  await other.refresh(soon())
  const rule = await rules.add(cutoff('k1'), soon())
  assert.deepEqual(rule, { ...cutoff('k1'), seq: 1 })
  assert.equal(rules.isCutOff('acme', 'k1'), true)
  assert.equal(other.isCutOff('acme', 'k1'), false)
  await other.refresh(soon())
  assert.equal(other.isCutOff('acme', 'k1'), true)
})

test('a rule is for one key of one tenant, also of a tenant that nobody here has heard of', async () => {
  const { rules } = createWorld()
  await rules.add(cutoff('k1', 'unheard-of'), soon())
  assert.equal(rules.isCutOff('unheard-of', 'k1'), true)
  assert.equal(rules.isCutOff('unheard-of', 'k2'), false)
  assert.equal(rules.isCutOff('acme', 'k1'), false)
  assert.equal(rules.isCutOff('constructor', 'toString'), false)
})

test('a rule added here does not hide one that another replica added just before', async () => {
  const { rules, other } = createWorld()
  await rules.refresh(soon())
  await other.add(cutoff('k1'), soon())
  await rules.add(cutoff('k2'), soon())
  await rules.refresh(soon())
  assert.equal(rules.isCutOff('acme', 'k1'), true)
})

test('one reading takes in all pages, and the next one asks only for what is new', async () => {
  const { rules, other, state } = createWorld({ pageSize: 2 })
  for (const kid of ['k1', 'k2', 'k3', 'k4', 'k5']) await other.add(cutoff(kid), soon())
  await rules.refresh(soon())
  assert.equal(rules.isCutOff('acme', 'k5'), true)
  state.reads.length = 0
  await rules.refresh(soon())
  assert.deepEqual(state.reads, [4])
  await other.add(cutoff('k6'), soon())
  await rules.refresh(soon())
  assert.equal(rules.isCutOff('acme', 'k6'), true)
})

test('rules that were never read, or read too long ago, refuse for now rather than answer', async () => {
  const { rules, clock, state } = createWorld()
  const refused = () =>
    assert.throws(
      () => rules.mustBeFresh(),
      (error) => isRefusal(error, 'ledger_unavailable') && error.retryAfterSeconds === 2,
    )
  refused()
  assert.equal(rules.ageMilliseconds(), Number.POSITIVE_INFINITY)
  await rules.refresh(soon())
  clock.time += 1000
  rules.mustBeFresh()
  assert.equal(rules.ageMilliseconds(), 1000)
  clock.time += 1
  refused()
  state.failure = new Error('the store is down')
  await assert.rejects(rules.refresh(soon()), /the store is down/)
  refused()
  state.failure = undefined
  await rules.refresh(soon())
  rules.mustBeFresh()
})

test('rules are as old as the beginning of their reading, however late the answer came', async () => {
  const { rules, clock, state } = createWorld()
  const gate = Promise.withResolvers<void>()
  state.gate = gate.promise
  const reading = rules.refresh(soon())
  // What was added in the meantime may be missing from the answer.
  clock.time += 1500
  gate.resolve()
  await reading
  assert.equal(rules.ageMilliseconds(), 1500)
  assert.throws(() => rules.mustBeFresh())
})

test('readings asked for at the same time are one, and a failed one is not kept', async () => {
  const { rules, state } = createWorld()
  await Promise.all([rules.refresh(soon()), rules.refresh(soon()), rules.refresh(soon())])
  assert.equal(state.reads.length, 1)
  state.failure = new Error('down')
  const outcomes = await Promise.allSettled([rules.refresh(soon()), rules.refresh(soon())])
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  assert.equal(state.reads.length, 2)
  state.failure = undefined
  await rules.refresh(soon())
  assert.equal(state.reads.length, 3)
})

test('what could not be written does not hold, so that nobody believes it does everywhere', async () => {
  const { rules, state } = createWorld()
  state.failure = new Error('disk full')
  await assert.rejects(rules.add(cutoff('k1'), soon()), /disk full/)
  assert.equal(rules.isCutOff('acme', 'k1'), false)
})

test('a store that lost its last rules, and gave their numbers away, hides none of the new ones', async () => {
  const { rules, other, state, lines } = createWorld()
  for (const kid of ['k1', 'k2', 'k3']) await other.add(cutoff(kid), soon())
  await rules.refresh(soon())

  state.rules.length = 1 // failover to a standby that lagged by two
  await other.add(cutoff('k4'), soon())
  await rules.refresh(soon())
  assert.deepEqual(lines, ['the store lost cut-off rules; reading all'])
  assert.equal(rules.isCutOff('acme', 'k4'), true, 'number 2 again')
  assert.equal(rules.isCutOff('acme', 'k3'), true, 'stays in force here')

  // The same number of rules as before the loss, but not the same ones.
  state.rules.length = 0
  await other.add(cutoff('k5'), soon())
  await other.add(cutoff('k6'), soon())
  await rules.refresh(soon())
  assert.equal(rules.isCutOff('acme', 'k5'), true)
  assert.equal(rules.isCutOff('acme', 'k6'), true)

  state.rules.length = 0
  await rules.refresh(soon())
  await other.add(cutoff('k7'), soon())
  await rules.refresh(soon())
  assert.equal(rules.isCutOff('acme', 'k7'), true)
  assert.equal(rules.isCutOff('acme', 'k1'), true)
})
