import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Fate } from './jobs.ts'
import { FULL_BOUNDS, figuresOf, judge } from './judge.ts'
import type { Round, StepResult } from './programme.ts'
import { compare } from './rounds.ts'

const fate = (more: Partial<Fate>): Fate => ({
  name: 'exchange',
  offered: 100,
  attempts: 100,
  good: 100,
  p50: 1,
  p99: 5,
  max: 9,
  others: {},
  windows: [],
  ...more,
})

const step = (name: string, multiple: number, more: Partial<StepResult> = {}): StepResult => ({
  name,
  multiple,
  offeredPerSecond: multiple * 1000,
  goodPerSecond: Math.min(1000, multiple * 1000),
  calls: fate({}),
  probes: [fate({ name: 'livez' }), fate({ name: 'jwks-new' })],
  machine: { busy: 1, foreign: 0, peakMegabytes: 200, lateP99: 0.1, dials: 0, failedDials: 0 },
  recoverySeconds: undefined,
  ...more,
})

const peak = { perSecond: 1000, other: 0, busy: 1, foreign: 0 }

const round = (changed: Readonly<Record<string, Partial<StepResult>>> = {}): Round => ({
  peaks: [peak, peak],
  capacity: 1000,
  steps: [
    step('0.7×', 0.7, changed['0.7×']),
    step('2×', 2, changed['2×']),
    step('after 2×', 0.5, { recoverySeconds: 1, ...changed['after 2×'] }),
    step('5×', 5, changed['5×']),
    step('10×', 10, changed['10×']),
    step('retries', 2, changed['retries']),
  ],
})

const broken = (rounds: readonly Round[]) =>
  judge(figuresOf(rounds), FULL_BOUNDS)
    .filter(({ ok }) => !ok)
    .map(({ id }) => id)

test('a server that sheds well keeps every promise', () => {
  assert.deepEqual(broken([round()]), [])
})

for (const [id, changed] of [
  ['goodput-2x', { '2×': { goodPerSecond: 890 } }],
  ['goodput-5x', { '5×': { goodPerSecond: 690 } }],
  ['p99-2x', { '2×': { calls: fate({ p99: 16 }) } }],
  ['p99-5x', { '5×': { calls: fate({ p99: 16 }) } }],
  ['recovery', { 'after 2×': { recoverySeconds: 5.5 } }],
  ['recovery', { 'after 2×': { recoverySeconds: undefined } }],
  ['vital', { '10×': { probes: [fate({ name: 'livez', good: 99 })] } }],
] as const) {
  test(`${id} is broken by ${JSON.stringify(changed).slice(0, 60)}`, () => {
    assert.deepEqual(broken([round(changed)]), [id])
  })
}

test('goodput is against the best the server ever did, also beyond its closed loop', () => {
  const better = round({ '10×': { goodPerSecond: 1500 } })
  assert.deepEqual(broken([better]), ['goodput-2x', 'goodput-5x'])
  // Answers to those who asked again pile up, and are no rate.
  assert.deepEqual(broken([round({ retries: { goodPerSecond: 1500 } })]), [])
})

test('one bad round of three does not decide about a rate, but does about a recovery', () => {
  const bad = round({ '2×': { goodPerSecond: 100 }, 'after 2×': { recoverySeconds: 9 } })
  assert.deepEqual(broken([round(), bad, round()]), ['recovery'])
})

const pair = (ordinary: number, attacked: number) => ({
  ordinary: fate({ p99: ordinary }),
  attacked: fate({ p99: attacked, good: 99 }),
})

test('pairs are compared each with itself, so a slow minute of the machine cancels out', () => {
  const { p99Ratio, answered } = compare([pair(5, 5.5), pair(50, 55), pair(7, 30)])
  assert.ok(Math.abs(p99Ratio - 1.1) < 1e-9)
  assert.equal(answered, 0.99)
})
