import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { createMemoryLedger } from '../../src/adapters/memory/ledger.ts'
import type { AppendResult, Claim, Ledger, LedgerEntry } from '../../src/audit/ledger.ts'
import type { LedgerFixture } from './ledger.ts'

const START = 1_800_000_000_000

const claims = fc.oneof(
  fc.record({
    kind: fc.constant('once' as const),
    scope: fc.constantFrom('assertion' as const, 'subject' as const),
    tenant: fc.constantFrom('acme', 'other'),
    key: fc.constantFrom('a', 'b', 'c', '\0', '\ud800'),
    expiresAt: fc.integer({ min: START - 2, max: START + 12 }),
  }),
  fc.record({
    kind: fc.constant('pin' as const),
    tenant: fc.constantFrom('acme', 'other'),
    key: fc.constantFrom('a', 'b', 'c'),
    owner: fc.constantFrom('one', 'two'),
  }),
) satisfies fc.Arbitrary<Claim>

const appends = fc.record({
  // Few ids, so that some come twice.
  id: fc.option(fc.nat(15), { nil: undefined }),
  tenant: fc.constantFrom('acme', 'other'),
  claims: fc.array(claims, { maxLength: 4 }),
  /** Whether the event loop turns before the next one, so that it may meet another batch. */
  turn: fc.boolean(),
})

const steps = fc.oneof(
  { weight: 4, arbitrary: fc.array(appends, { minLength: 1, maxLength: 12 }) },
  { weight: 1, arbitrary: fc.nat(6) },
  { weight: 1, arbitrary: fc.constant('expire' as const) },
)

function entryOf(tenant: string, id: number): LedgerEntry {
  const digest = createHash('sha256').update(`${id}`).digest()
  return { id: `e${id}`, event: 'issued', tenant, at: START, digest, details: {} }
}

type End = AppendResult | 'rejected'

const endOf = (call: Promise<AppendResult>): Promise<End> => call.catch(() => 'rejected' as const)

async function stateOf(ledger: Ledger) {
  const signal = AbortSignal.timeout(10_000)
  const states = await Promise.all(
    ['acme', 'other'].map((tenant) => ledger.recent(tenant, 1000, undefined, signal)),
  )
  return states.map((entries) => entries.map(({ id }) => id).toSorted())
}

/**
 * Whatever comes together in a batch, each append ends as it would have ended alone, in the order of the calls; the memory
 * ledger, which has no batches, is the model. `inOrder` says that the adapter runs one batch at a time; otherwise the
 * appends of a step must be in one batch to have an order at all.
 */
export async function ledgerFollowsModel(
  open: () => Promise<LedgerFixture>,
  { runs, inOrder }: { readonly runs: number; readonly inOrder: boolean },
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 8 }), async (script) => {
      const fixture = await open()
      let now = START
      const model = createMemoryLedger({ clock: { now: () => now } })
      fixture.setTime(now)
      try {
        for (const step of script) {
          const signal = AbortSignal.timeout(10_000)
          if (step === 'expire') {
            assert.equal(
              await fixture.ledger.expireClaims(now, signal),
              await model.expireClaims(now, signal),
            )
          } else if (typeof step === 'number') {
            now += step
            fixture.setTime(now)
          } else {
            const real: Promise<End>[] = []
            const expected: Promise<End>[] = []
            for (const { id, tenant, claims: wanted, turn } of step) {
              const entry = id === undefined ? undefined : entryOf(tenant, id)
              real.push(endOf(fixture.ledger.append(entry, wanted, signal)))
              expected.push(endOf(model.append(entry, wanted, signal)))
              if (turn && inOrder) await setImmediate()
            }
            assert.deepEqual(await Promise.all(real), await Promise.all(expected))
          }
        }
        assert.deepEqual(await stateOf(fixture.ledger), await stateOf(model))
      } finally {
        await fixture.close()
      }
    }),
    { numRuns: runs },
  )
}
