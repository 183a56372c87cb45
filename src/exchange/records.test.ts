import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aClient, aTenant } from '../../test/fakes/policy.ts'
import type { Claim, LedgerEntry } from '../audit/ledger.ts'
import { createSystemRandom } from '../lib/id.ts'
import { Refusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { createLog } from '../observe/log.ts'
import { createMetrics } from '../observe/metrics.ts'
import { createRecords } from './records.ts'
import { type ExchangeRequest, parseExchangeParameters } from './request.ts'

const signal = new AbortController().signal
const tooMany = new Refusal('rate_limited', 'Too many requests came.', { retryAfterSeconds: 1 })

function request(): ExchangeRequest {
  const single = new Map([
    ['subject_token', 'x.y.z'],
    ['subject_token_type', 'urn:ietf:params:oauth:token-type:jwt'],
  ])
  const credentials = { basic: { id: 'orders-web', secret: new Secret('s') } }
  return parseExchangeParameters({ single, audience: [], resource: [] }, credentials, 'trace')
}

function world() {
  const entries: LedgerEntry[] = []
  const burnt: Claim[] = []
  let now = 1_800_000_000_000
  let answers = Promise.resolve({ recorded: true as const })
  const ledger = {
    append: (entry: LedgerEntry, claims: readonly Claim[]) => {
      entries.push(entry)
      burnt.push(...claims)
      return answers
    },
  }
  const records = createRecords({
    ledger: ledger as never,
    clock: { now: () => now },
    random: createSystemRandom(),
    log: createLog({ write: () => undefined }),
    metrics: createMetrics({ defaults: false }),
  })
  return {
    entries,
    burnt,
    pass: (milliseconds: number) => (now += milliseconds),
    hang: (): void => {
      answers = new Promise(() => undefined)
    },
    refuse: async (
      client: string,
      error: unknown,
      claims: readonly Claim[] = [],
      over = signal,
    ) => {
      const record = records.begin(aTenant(), request())
      record.client(aClient({ id: client }), claims)
      await record.refused(error, over)
    },
  }
}

test('attack: a client that floods past its rate cannot fill the ledger: one entry a second tells of it', async () => {
  const { entries, pass, refuse } = world()
  for (let i = 0; i < 1000; i += 1) await refuse('loud', tooMany)
  assert.equal(entries.length, 1)
  await refuse('other', tooMany)
  assert.equal(entries.length, 2, 'another client is another flood')
  pass(1000)
  await refuse('loud', tooMany)
  assert.equal(entries.length, 3)
  pass(-60_000)
  await refuse('loud', tooMany)
  assert.equal(entries.length, 4, 'a clock set back hides nothing')
})

const claim = (key: string): Claim => ({
  kind: 'once',
  scope: 'assertion',
  tenant: 'acme',
  key,
  expiresAt: 1_800_000_060_000,
})

test('an assertion is burnt by every refusal for a rate, recorded or not before', async () => {
  const { burnt, refuse } = world()
  await refuse('loud', tooMany, [claim('1')])
  await refuse('loud', tooMany, [claim('2')])
  assert.deepEqual(burnt, [claim('1'), claim('2')])
})

test('every other refusal is recorded each time', async () => {
  const { entries, refuse } = world()
  for (let i = 0; i < 5; i += 1) await refuse('loud', new Refusal('expired', 'It expired.'))
  assert.equal(entries.length, 5)
})

test('the refusal of a request whose time is up is recorded without anybody waiting for it', async () => {
  const { entries, hang, refuse } = world()
  hang()
  const over = AbortSignal.abort()
  await refuse('slow', new Refusal('entitlements_unavailable', 'No answer.'), [], over)
  assert.equal(entries.length, 1)
  await refuse('slow', new Refusal('ledger_unavailable', 'No record.'), [], over)
  assert.equal(entries.length, 1, 'what the ledger did not take in time is not brought to it again')
})
