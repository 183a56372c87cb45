import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LedgerEntry } from '../audit/ledger.ts'
import type { NewCutoff } from '../cutoff/store.ts'
import { createSystemRandom } from '../lib/id.ts'
import { isRefusal } from '../lib/refusal.ts'
import { createRecordedKeys } from './recorded.ts'
import type { Ring, RingKey } from './ring.ts'
import { RingError } from './ring-error.ts'

const NOW = 1_800_000_000_000
const ACME = { name: 'acme' }
const ORDER = { by: 'ada', reason: 'INC-42', traceId: 'request-1' }
const signal = () => AbortSignal.timeout(5000)

function aKey(kid: string, state: RingKey['state'], more: Partial<RingKey> = {}): RingKey {
  return {
    kid,
    alg: 'ES256',
    state,
    publicJwk: { kty: 'EC' },
    createdAt: 0,
    reason: 'INC-42',
    by: 'ada',
    ...more,
  }
}

const refused = (error: unknown) => isRefusal(error, 'ledger_unavailable')

/** Recorded keys over one ring that a kill changes; what happened is kept in the order in which it did. */
function recording() {
  const world = {
    ring: { version: 1, keys: [aKey('k1', 'active'), aKey('k2', 'published')] } as Ring | undefined,
    ledgerDown: false,
    cutoffsDown: false,
    refusal: undefined as Error | undefined,
  }
  const happened: string[] = []
  const entries: LedgerEntry[] = []
  const rules: NewCutoff[] = []
  const keys = {
    list: () => world.ring?.keys ?? [],
    rotate(tenant: string, which: string) {
      if (world.refusal) return Promise.reject(world.refusal)
      happened.push(`rotate ${tenant} ${which}`)
      return Promise.resolve()
    },
    change(_tenant: string, action: string, kid: string) {
      if (world.refusal) return Promise.reject(world.refusal)
      happened.push(`${action} ${kid}`)
      const killed = aKey(kid, 'compromised', { compromisedAt: NOW - 5 })
      if (action === 'kill') world.ring = { version: 2, keys: [killed, aKey('k2', 'active')] }
      return Promise.resolve()
    },
  }
  const recorded = createRecordedKeys({
    keys,
    rings: {
      load: () => Promise.resolve(world.ring),
      compareAndSet: () => Promise.resolve(false),
    },
    usage: { list: () => Promise.resolve([{ kid: 'k1', signatures: 7, lastSignedAt: NOW }]) },
    ledger: {
      append(entry) {
        if (world.ledgerDown || !entry) return Promise.reject(new Error('disk full'))
        entries.push(entry)
        happened.push(entry.details.action ?? '')
        return Promise.resolve({ recorded: true })
      },
    },
    transitions: {
      changed: () => undefined,
      flush() {
        happened.push('flush')
        return world.ledgerDown ? Promise.reject(new Error('disk full')) : Promise.resolve()
      },
    },
    cutOff(cutoff) {
      if (world.cutoffsDown) return Promise.reject(new Error('down'))
      rules.push(cutoff)
      happened.push(`cut off ${cutoff.id}`)
      return Promise.resolve()
    },
    isCutOff: (_tenant, kid) => rules.some(({ id }) => id === kid),
    policy: () => ({
      publishAheadMilliseconds: 0,
      rotateEveryMilliseconds: 0,
      successors: 1,
      longestTokenMilliseconds: 0,
      skewMilliseconds: 0,
    }),
    clock: { now: () => NOW },
    random: createSystemRandom(),
    log: {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (_fields, message) => void happened.push(`error: ${message}`),
    },
  })
  return { world, happened, entries, rules, recorded }
}

test('the wish is in the ledger before anything is done, what came of it after', async () => {
  const { recorded, happened, entries } = recording()
  const report = await recorded.rotate(ACME, undefined, ORDER, signal())
  assert.deepEqual(happened, ['asked to rotate all', 'rotate acme all', 'flush'])
  const [entry] = entries
  assert.match(entry?.id ?? '', /^[\w-]{27}$/)
  assert.deepEqual(entry, {
    id: entry?.id,
    event: 'key',
    tenant: 'acme',
    at: NOW,
    traceId: 'request-1',
    details: { action: 'asked to rotate all', by: 'ada', reason: 'INC-42' },
  })
  assert.equal(report.ring.version, 1)
})

test('while the ledger is down nothing is changed: an unrecorded change would be one that nobody did', async () => {
  const { recorded, world, happened } = recording()
  world.ledgerDown = true
  await assert.rejects(recorded.rotate(ACME, 'ES256', ORDER, signal()), refused)
  await assert.rejects(recorded.change(ACME, 'promote', 'k2', ORDER, signal()), refused)
  assert.deepEqual(happened, [])
})

test('a kill is cut off from the moment of the kill, once', async () => {
  const { recorded, rules, happened } = recording()
  const report = await recorded.change(ACME, 'kill', 'k1', ORDER, signal())
  assert.equal(report.ring.version, 2)
  assert.deepEqual(rules, [
    {
      tenant: 'acme',
      kind: 'kid',
      id: 'k1',
      notBefore: NOW - 5,
      at: NOW,
      reason: 'INC-42',
      by: 'ada',
    },
  ])
  assert.deepEqual(happened, ['asked to kill k1', 'kill k1', 'cut off k1', 'flush'])
  await recorded.cutOffKilled(['acme'], signal())
  assert.equal(rules.length, 1)
})

test('a kill whose cut-off could not be written is a kill all the same, and the rule follows', async () => {
  const { recorded, world, rules, happened } = recording()
  world.cutoffsDown = true
  const report = await recorded.change(ACME, 'kill', 'k1', ORDER, signal())
  assert.equal(report.ring.keys[0]?.state, 'compromised')
  assert.ok(happened.includes('error: key change not fully recorded yet'))
  world.cutoffsDown = false
  await recorded.cutOffKilled(['acme'], signal())
  assert.deepEqual(
    rules.map(({ id }) => id),
    ['k1'],
  )
})

test('what the ring does not allow is recorded as a wish, and told as it is', async () => {
  const { recorded, world, happened } = recording()
  world.refusal = new RingError('still_needed', 'Not yet.', NOW + 1)
  await assert.rejects(
    recorded.change(ACME, 'retire', 'k2', ORDER, signal()),
    (error) => error === world.refusal,
  )
  assert.deepEqual(happened, ['asked to retire k2'])
})

test('a report has the ring as it is stored, and how often each key signed', async () => {
  const { recorded, world } = recording()
  const { ring, usage, now } = await recorded.report(ACME, signal())
  assert.equal(ring, world.ring)
  assert.deepEqual([usage.get('k1')?.signatures, usage.get('k2'), now], [7, undefined, NOW])
  world.ring = undefined
  await assert.rejects(recorded.report(ACME, signal()), (error: unknown) =>
    isRefusal(error, 'signer_unavailable'),
  )
})
