import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type {
  AnswerPlace,
  Purge,
  SharedAnswer,
  SharedAnswers,
} from '../../src/entitlement/shared-answers.ts'
import { type Promising, promiseOn } from './fixture.ts'

/** Shared answers to test, fresh and empty. */
export interface SharedAnswersFixture {
  readonly answers: SharedAnswers
  /** Those of another replica. */
  readonly second: SharedAnswers
  /** The clock of both replicas; whole milliseconds. */
  readonly now: () => number
  readonly advance: (milliseconds: number) => void
  close(): Promise<void>
}

const HOUR = 3_600_000
const soon = () => AbortSignal.timeout(30_000)
const ada: AnswerPlace = { tenant: 'acme', source: 'hr#digest-1', user: 'ada@acme.example' }

/** What all shared answers promise; `open` gives fresh ones for each test. */
export function sharedAnswersContract(
  name: string,
  open: () => Promise<SharedAnswersFixture>,
): void {
  const promise = promiseOn(open)
  describe(`shared answers: ${name}`, () => {
    keepingPromises(promise)
    purgePromises(promise)
    hearingPromises(promise)
  })
}

function answered({ now }: SharedAnswersFixture, roles: string[] = ['ORDERS_R']): SharedAnswer {
  return { askedAt: now(), known: true, roles }
}

function keepingPromises(promise: Promising<SharedAnswersFixture>): void {
  promise('what one replica put, another gets as it was', async (f) => {
    const roles = ['ORDERS_R', 'ümlaut "x"', '', '__proto__']
    const answer = { askedAt: f.now() - 1500, known: true, roles }
    await f.answers.put(ada, answer, HOUR, soon())
    assert.deepEqual(await f.second.get(ada, soon()), answer)
    assert.deepEqual(await f.answers.get(ada, soon()), answer)
  })

  promise('that a user is unknown, and that one has no roles, are answers too', async (f) => {
    const unknown = { askedAt: f.now(), known: false, roles: [] }
    await f.answers.put(ada, unknown, HOUR, soon())
    assert.deepEqual(await f.second.get(ada, soon()), unknown)
    const none = { ...unknown, known: true }
    await f.answers.put(ada, none, HOUR, soon())
    assert.deepEqual(await f.second.get(ada, soon()), none)
  })

  promise('an answer counts for its tenant, source, settings and user alone', async (f) => {
    await f.answers.put(ada, answered(f), HOUR, soon())
    const others: AnswerPlace[] = [
      { ...ada, tenant: 'globex' },
      { ...ada, source: 'hr#digest-2' },
      { ...ada, source: 'erp#digest-1' },
      { ...ada, user: 'bob@acme.example' },
      { ...ada, user: 'Ada@acme.example' },
    ]
    for (const other of others) {
      await f.answers.put({ ...other, user: 'eve' }, answered(f), HOUR, soon())
      assert.equal(await f.second.get(other, soon()), undefined)
    }
  })

  promise('the latest answer is the one that counts', async (f) => {
    await f.answers.put(ada, answered(f, ['OLD']), HOUR, soon())
    f.advance(10)
    await f.second.put(ada, answered(f, ['NEW']), HOUR, soon())
    assert.deepEqual((await f.answers.get(ada, soon()))?.roles, ['NEW'])
  })

  promise('an answer is gone when its time is over', async (f) => {
    await f.answers.put(ada, answered(f), HOUR, soon())
    f.advance(HOUR - 1)
    assert.notEqual(await f.second.get(ada, soon()), undefined)
    f.advance(1)
    assert.equal(await f.second.get(ada, soon()), undefined)
  })
}

function purgePromises(promise: Promising<SharedAnswersFixture>): void {
  const bob = { ...ada, user: 'bob@acme.example' }
  const erp = { ...ada, source: 'erp#digest-1' }
  const globex = { ...ada, tenant: 'globex' }
  const everywhere = [ada, bob, erp, globex]
  const cases: readonly [string, Purge, readonly AnswerPlace[]][] = [
    ['a user', { tenant: 'acme', user: ada.user }, [bob, globex]],
    ['a user of a source', { tenant: 'acme', source: 'hr', user: ada.user }, [bob, globex]],
    ['a source, whatever its settings were', { tenant: 'acme', source: 'hr' }, [erp, globex]],
    ['a tenant', { tenant: 'acme' }, [globex]],
  ]
  for (const [whom, purge, left] of cases)
    promise(`a purge of ${whom} forgets that on every replica, and no other`, async (f) => {
      for (const place of everywhere) await f.answers.put(place, answered(f), HOUR, soon())
      f.advance(10_000)
      await f.second.purge(purge, soon())
      const forgotten =
        purge.user && purge.source ? [ada] : everywhere.filter((p) => !left.includes(p))
      for (const place of forgotten) assert.equal(await f.answers.get(place, soon()), undefined)
      for (const place of left) assert.notEqual(await f.answers.get(place, soon()), undefined)
    })

  promise('an answer that was asked for before a purge does not come back after it', async (f) => {
    for (const purge of [
      { tenant: 'acme', user: ada.user },
      { tenant: 'acme', source: 'hr' },
      { tenant: 'acme' },
    ]) {
      const slow = answered(f, ['REVOKED'])
      f.advance(1000)
      await f.second.purge(purge, soon())
      await f.answers.put(ada, slow, HOUR, soon())
      assert.equal(await f.answers.get(ada, soon()), undefined)
      f.advance(10_000)
    }
  })

  promise('some seconds after a purge answers are shared again', async (f) => {
    await f.answers.purge({ tenant: 'acme' }, soon())
    await f.answers.purge({ tenant: 'acme', user: ada.user }, soon())
    f.advance(10_000)
    await f.answers.put(ada, answered(f), HOUR, soon())
    assert.notEqual(await f.second.get(ada, soon()), undefined)
  })
}

function hearingPromises(promise: Promising<SharedAnswersFixture>): void {
  promise('the other replica hears of a purge, and who purged does not', async (f) => {
    const here: Purge[] = []
    const there: Purge[] = []
    f.answers.onPurge((what) => here.push(what))
    f.second.onPurge((what) => there.push(what))
    const purges: Purge[] = [
      { tenant: 'acme', source: 'hr', user: 'ada' },
      { tenant: 'acme', user: 'ada' },
      { tenant: 'acme', source: 'hr' },
      { tenant: 'acme' },
    ]
    for (const purge of purges) await f.answers.purge(purge, soon())
    await until(() => there.length >= purges.length)
    assert.deepEqual(there, purges)
    assert.deepEqual(here, [])
  })

  promise('who no longer listens is not told', async (f) => {
    const heard: Purge[] = []
    const kept: Purge[] = []
    const end = f.second.onPurge((what) => heard.push(what))
    f.second.onPurge((what) => kept.push(what))
    end()
    await f.answers.purge({ tenant: 'acme' }, soon())
    await until(() => kept.length > 0)
    assert.deepEqual(heard, [])
  })
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it never happened')
    await setTimeout(5)
  }
}
