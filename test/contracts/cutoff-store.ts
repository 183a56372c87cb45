import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { CutoffRule, CutoffStore, NewCutoff } from '../../src/cutoff/store.ts'
import { promiseOn } from './fixture.ts'

/** A cut-off store to test, fresh and empty. */
export interface CutoffStoreFixture {
  readonly cutoffs: CutoffStore
  /** Another instance over the same state, as another replica would have; in memory the same one. */
  readonly second: CutoffStore
  /** Closes both and opens the state again. */
  reopen(): Promise<CutoffStore>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(60_000)

function cutoff(id: string, change: Partial<NewCutoff> = {}): NewCutoff {
  return {
    tenant: 'acme',
    kind: 'kid',
    id,
    notBefore: 1_800_000_000_123,
    reason: 'the key leaked: “stolen laptop”',
    by: 'ops@acme.example',
    at: 1_800_000_000_456,
    ...change,
  }
}

/** Calls `add` for 0 … count-1, each instance by eight callers at once: more than that would only wait for a connection. */
async function addMany(
  { cutoffs, second }: CutoffStoreFixture,
  count: number,
  newCutoff: (n: number) => NewCutoff,
): Promise<readonly CutoffRule[]> {
  const rules: CutoffRule[] = []
  let next = 0
  const caller = async (store: CutoffStore) => {
    while (next < count) {
      next += 1
      rules.push(await store.add(newCutoff(next - 1), soon()))
    }
  }
  await Promise.all(Array.from({ length: 16 }, (_, n) => caller(n % 2 === 0 ? cutoffs : second)))
  return rules
}

/** Follows a store as a replica does, until it has seen `until`; every batch must go on where the one before ended. */
async function follow(store: CutoffStore, until: number): Promise<readonly CutoffRule[]> {
  const seen: CutoffRule[] = []
  const signal = soon()
  while (seen.length < until) {
    for (const rule of await store.since(seen.length, signal)) {
      // As the numbers have no gap, whoever sees one late would have been passed by.
      assert.equal(rule.seq, seen.length + 1)
      seen.push(rule)
    }
    await setImmediate()
    signal.throwIfAborted()
  }
  return seen
}

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n + 1)
const seqs = (rules: readonly CutoffRule[]) => rules.map(({ seq }) => seq).toSorted((a, b) => a - b)

/** What every cut-off store promises; `open` gives a fresh one for each test. */
export function cutoffStoreContract(name: string, open: () => Promise<CutoffStoreFixture>): void {
  const promise = promiseOn(open)

  describe(`cut-off store: ${name}`, () => {
    promise('rules are numbered from 1 over all tenants and instances', async (fixture) => {
      const { cutoffs, second } = fixture
      assert.deepEqual(await cutoffs.since(0, soon()), [])
      const asked = [cutoff('k1'), cutoff('k2'), cutoff('k1', { tenant: 'globex' })] as const
      const rules = [
        await cutoffs.add(asked[0], soon()),
        await second.add(asked[1], soon()),
        await cutoffs.add(asked[2], soon()),
      ]
      assert.deepEqual(
        rules,
        asked.map((one, n) => ({ ...one, seq: n + 1 })),
      )
      assert.deepEqual(await cutoffs.since(0, soon()), rules)
      assert.deepEqual(await second.since(1, soon()), rules.slice(1))
      assert.deepEqual(await second.since(3, soon()), [])
    })

    promise('the same thing cut off again keeps its rule and burns no number', async (fixture) => {
      const { cutoffs, second } = fixture
      const rule = await cutoffs.add(cutoff('k1'), soon())
      const again = cutoff('k1', { reason: 'once more', by: 'else', notBefore: 1, at: 2 })
      assert.deepEqual(await second.add(again, soon()), rule)
      assert.deepEqual(await cutoffs.add(again, soon()), rule)
      assert.equal((await second.add(cutoff('k2'), soon())).seq, 2)
      assert.deepEqual(seqs(await cutoffs.since(0, soon())), [1, 2])
    })

    promise('of 200 rules added by two instances none is skipped or seen late', async (fixture) => {
      const [first, other, rules] = await Promise.all([
        follow(fixture.cutoffs, 200),
        follow(fixture.second, 200),
        addMany(fixture, 200, (n) => cutoff(`k${n}`, { tenant: `t${n % 3}` })),
      ])
      assert.deepEqual(seqs(rules), numbers(200))
      assert.deepEqual(other, first)
      assert.deepEqual(
        rules.toSorted((a, b) => a.seq - b.seq),
        first,
      )
    })

    promise('what many cut off at the same time gets one rule and one number', async (fixture) => {
      // Eight in a row name the same key, so that several of them are always under way together.
      const [seen, rules] = await Promise.all([
        follow(fixture.cutoffs, 20),
        addMany(fixture, 160, (n) => cutoff(`k${Math.floor(n / 8)}`, { reason: `caller ${n}` })),
      ])
      assert.deepEqual(await fixture.second.since(0, soon()), seen)
      for (const rule of rules) assert.deepEqual(rule, seen[rule.seq - 1])
      assert.equal((await fixture.second.add(cutoff('last'), soon())).seq, 21)
    })

    promise('at most 1000 rules come at once, the first of them first', async (fixture) => {
      await addMany(fixture, 1003, (n) => cutoff(`k${n}`))
      assert.deepEqual(
        (await fixture.cutoffs.since(0, soon())).map(({ seq }) => seq),
        numbers(1000),
      )
      const rest = await fixture.second.since(1000, soon())
      assert.deepEqual(
        rest.map(({ seq }) => seq),
        [1001, 1002, 1003],
      )
    })

    promise('rules and their numbers outlive the process', async (fixture) => {
      const rule = await fixture.cutoffs.add(cutoff('k1'), soon())
      const reopened = await fixture.reopen()
      assert.deepEqual(await reopened.since(0, soon()), [rule])
      assert.equal((await reopened.add(cutoff('k2'), soon())).seq, 2)
    })

    promise('a rule does not change with the object it came from', async ({ cutoffs }) => {
      const mutable: { -readonly [K in keyof NewCutoff]: NewCutoff[K] } = cutoff('k1')
      await cutoffs.add(mutable, soon())
      mutable.tenant = 'globex'
      assert.deepEqual(await cutoffs.since(0, soon()), [{ ...cutoff('k1'), seq: 1 }])
    })

    promise('a call whose signal has fired rejects and changes nothing', async ({ cutoffs }) => {
      await assert.rejects(cutoffs.add(cutoff('k1'), AbortSignal.abort()))
      await assert.rejects(cutoffs.since(0, AbortSignal.abort()))
      assert.deepEqual(await cutoffs.since(0, soon()), [])
    })
  })
}
