import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { describe } from 'node:test'
import type { Claim, Ledger, LedgerEntry } from '../../src/audit/ledger.ts'
import { promiseOn } from './fixture.ts'

/** A ledger to test, fresh and empty. */
export interface LedgerFixture {
  readonly ledger: Ledger
  /** Another instance over the same state, as a second replica or process would have; in memory the same one. */
  readonly second: Ledger
  /** Sets the clock by which once-only claims expire, for both instances. */
  setTime(milliseconds: number): void
  /** Closes both and opens the state again. */
  reopen(): Promise<Ledger>
  close(): Promise<void>
}

const soon = () => AbortSignal.timeout(10_000)
const digestOf = (text: string) => createHash('sha256').update(text).digest()
const START = 1_800_000_000_000

/** An entry that uses every column. */
export function issued(change: Partial<LedgerEntry> = {}): LedgerEntry {
  const id = randomBytes(20).toString('base64url')
  return {
    id,
    event: 'issued',
    tenant: 'acme',
    at: START,
    digest: digestOf(id),
    kid: 'k1',
    client: 'orders-web',
    sub: 'login|ada',
    upn: 'ada@acme.example',
    exp: 1_800_043_200,
    traceId: 'f'.repeat(32),
    details: { claims: { roles: ['orders.read'], nested: { deep: [1, null, 'ü "quoted" \\'] } } },
    ...change,
  }
}

export const once = (key: string, expiresAt = START + 60_000): Claim => ({
  kind: 'once',
  scope: 'assertion',
  tenant: 'acme',
  key,
  expiresAt,
})

export const pin = (key: string, owner: string): Claim => ({
  kind: 'pin',
  tenant: 'acme',
  key,
  owner,
})

/** What every ledger promises; `open` gives a fresh one for each test. */
export function ledgerContract(name: string, open: () => Promise<LedgerFixture>): void {
  const promise = promiseOn(open)

  describe(`ledger: ${name}`, () => {
    entryPromises(promise)
    claimPromises(promise)
    expiryPromises(promise)
    deadlinePromises(promise)
  })
}

type Promised = (sentence: string, check: (fixture: LedgerFixture) => Promise<void>) => void

function entryPromises(promise: Promised): void {
  promise('an entry is found by tenant and id as it was appended', async ({ ledger, second }) => {
    const entry = issued()
    assert.deepEqual(await ledger.append(entry, [], soon()), { recorded: true })
    const { position, ...found } = (await second.find('acme', entry.id, soon())) ?? { position: 0 }
    assert.deepEqual(found, entry)
    assert.ok(position >= 1)
    assert.equal(await ledger.find('other', entry.id, soon()), undefined)
    assert.equal(await ledger.find('acme', 'unknown', soon()), undefined)
  })

  promise('members that an entry lacks are absent when it is read', async ({ ledger }) => {
    const entry: LedgerEntry = {
      id: 'refusal-1',
      event: 'refused',
      tenant: 'acme',
      at: START,
      code: 'expired',
      details: {},
    }
    await ledger.append(entry, [], soon())
    const { position, ...found } = (await ledger.find('acme', 'refusal-1', soon())) ?? {
      position: 0,
    }
    assert.deepEqual(found, entry)
    assert.ok(position >= 1)
  })

  promise('a fresh record is held at once, at every instance', async ({ ledger, second }) => {
    const entry = issued()
    assert.equal(await second.holds('acme', digestOf(entry.id), soon()), false)
    await ledger.append(entry, [], soon())
    assert.equal(await ledger.holds('acme', digestOf(entry.id), soon()), true)
    assert.equal(await second.holds('acme', digestOf(entry.id), soon()), true)
  })

  promise('a digest recorded for one tenant is not held for another', async ({ ledger }) => {
    const entry = issued()
    await ledger.append(entry, [], soon())
    assert.equal(await ledger.holds('other', digestOf(entry.id), soon()), false)
  })

  promise('a recorded entry is there after everything was closed and opened again', async (f) => {
    const entry = issued()
    await f.ledger.append(entry, [once('jti-1')], soon())
    const again = await f.reopen()
    assert.equal(await again.holds('acme', digestOf(entry.id), soon()), true)
    const replay = await again.append(issued(), [once('jti-1')], soon())
    assert.equal(replay.recorded, false)
  })

  promise(
    'an id or a digest is recorded once; a second entry with it rejects',
    async ({ ledger }) => {
      const entry = issued()
      await ledger.append(entry, [], soon())
      await assert.rejects(ledger.append(issued({ id: entry.id }), [], soon()))
      await assert.rejects(ledger.append(issued({ digest: digestOf(entry.id) }), [], soon()))
      assert.equal((await ledger.recent('acme', 10, undefined, soon())).length, 1)
    },
  )

  promise('of two entries with one id in the same moment exactly one is recorded', async (f) => {
    const twins = [issued({ id: 'twin' }), issued({ id: 'twin' })]
    const ends = await Promise.allSettled(
      [...twins, issued()].map((entry) => f.ledger.append(entry, [], soon())),
    )
    assert.deepEqual(ends.map(({ status }) => status).toSorted(), [
      'fulfilled',
      'fulfilled',
      'rejected',
    ])
  })

  promise('recent gives a tenant newest first, limited, and before a position', async (f) => {
    for (const id of ['a', 'b', 'c', 'd']) await f.ledger.append(issued({ id }), [], soon())
    await f.ledger.append(issued({ id: 'x', tenant: 'other' }), [], soon())
    const ids = async (limit: number, before?: number) =>
      (await f.ledger.recent('acme', limit, before, soon())).map(({ id }) => id)
    assert.deepEqual(await ids(10), ['d', 'c', 'b', 'a'])
    assert.deepEqual(await ids(2), ['d', 'c'])
    assert.deepEqual(await ids(0), [])
    const c = await f.ledger.find('acme', 'c', soon())
    assert.deepEqual(await ids(10, c?.position), ['b', 'a'])
  })

  promise('positions grow with every entry appended after another', async ({ ledger }) => {
    for (let n = 0; n < 5; n += 1) await ledger.append(issued(), [], soon())
    const positions = (await ledger.recent('acme', 10, undefined, soon())).map((e) => e.position)
    assert.deepEqual(
      positions,
      [...new Set(positions)].toSorted((a, b) => b - a),
    )
    assert.equal(positions.length, 5)
  })

  promise('a sub with NUL or a lone surrogate is stored and spoils no other entry', async (f) => {
    const odd = ['a\0b', '\0', '\ud800', '\udc00x', '\u0001{"', '\u0001', 'ß𝄞', '\ufffd']
    const entries = odd.map((sub) => issued({ sub, details: { claims: { sub } } }))
    const results = await Promise.all(
      entries.map((entry) => f.ledger.append(entry, [once(`jti-${entry.sub}`)], soon())),
    )
    assert.ok(results.every(({ recorded }) => recorded))
    for (const entry of entries) {
      const found = await f.ledger.find('acme', entry.id, soon())
      assert.equal(found?.sub, entry.sub)
      assert.deepEqual(found?.details, entry.details)
    }
  })
}

function claimPromises(promise: Promised): void {
  promise('of 50 concurrent callers with one once key exactly one is recorded', async (f) => {
    const entries = Array.from({ length: 50 }, () => issued())
    const results = await Promise.all(
      entries.map((entry, n) =>
        (n % 2 === 0 ? f.ledger : f.second).append(entry, [once('same')], soon()),
      ),
    )
    const recorded = entries.filter((_, n) => results[n]?.recorded)
    assert.equal(recorded.length, 1)
    const stored = await f.ledger.recent('acme', 100, undefined, soon())
    assert.deepEqual(
      stored.map(({ id }) => id),
      recorded.map(({ id }) => id),
    )
  })

  promise('many callers that claim several keys in any order all get an answer', async (f) => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'f']
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, n) => {
        const rotated = [...keys.slice(n % 6), ...keys.slice(0, n % 6)].map((key) => once(key))
        const pins = rotated.map(({ key }) => pin(key, 'one'))
        return (n % 2 === 0 ? f.ledger : f.second).append(issued(), [...pins, ...rotated], soon())
      }),
    )
    assert.ok(results.filter(({ recorded }) => recorded).length <= 1)
  })

  promise('a conflict names the first claim that is taken, as the caller gave it', async (f) => {
    await f.ledger.append(undefined, [once('b'), once('c')], soon())
    const claims = [once('a'), once('b'), once('c')]
    const result = await f.ledger.append(issued(), claims, soon())
    assert.deepEqual(result, { recorded: false, conflict: claims[1] })
  })

  promise('with a conflict the entry is not written, and free claims stay taken', async (f) => {
    await f.ledger.append(undefined, [once('taken')], soon())
    const entry = issued()
    const claims = [once('before'), once('taken'), once('after'), pin('name', 'one')]
    assert.equal((await f.ledger.append(entry, claims, soon())).recorded, false)
    assert.equal(await f.ledger.find('acme', entry.id, soon()), undefined)
    assert.equal(await f.ledger.holds('acme', digestOf(entry.id), soon()), false)
    for (const claim of [once('before'), once('after'), pin('name', 'two')]) {
      assert.equal((await f.second.append(issued(), [claim], soon())).recorded, false)
    }
  })

  promise('without an entry only the claims are made durable', async (f) => {
    assert.deepEqual(await f.ledger.append(undefined, [once('x')], soon()), { recorded: true })
    assert.deepEqual(await f.ledger.append(undefined, [], soon()), { recorded: true })
    assert.deepEqual(await f.ledger.recent('acme', 10, undefined, soon()), [])
    const again = await f.reopen()
    assert.equal((await again.append(undefined, [once('x')], soon())).recorded, false)
  })

  promise('the same key in another scope, tenant or kind is another claim', async ({ ledger }) => {
    const others: Claim[] = [
      once('k'),
      { kind: 'once', scope: 'subject', tenant: 'acme', key: 'k', expiresAt: START + 1 },
      { kind: 'once', scope: 'assertion', tenant: 'other', key: 'k', expiresAt: START + 1 },
      pin('k', 'one'),
    ]
    for (const claim of others) {
      assert.equal((await ledger.append(undefined, [claim], soon())).recorded, true)
    }
  })

  promise('the owner of a pin may claim it again, anybody else is refused', async (f) => {
    assert.equal((await f.ledger.append(issued(), [pin('ada', 'login|1')], soon())).recorded, true)
    assert.equal((await f.second.append(issued(), [pin('ada', 'login|1')], soon())).recorded, true)
    const theft = await f.second.append(issued(), [pin('ada', 'partner|7')], soon())
    assert.deepEqual(theft, { recorded: false, conflict: pin('ada', 'partner|7') })
    f.setTime(START * 2)
    assert.equal(
      (await f.ledger.append(issued(), [pin('ada', 'partner|7')], soon())).recorded,
      false,
    )
  })

  promise('of owners that claim one pin at the same time one has it afterwards', async (f) => {
    const owners = Array.from({ length: 30 }, (_, n) => `owner-${n % 3}`)
    const results = await Promise.all(
      owners.map((owner, n) =>
        (n % 2 === 0 ? f.ledger : f.second).append(issued(), [pin('shared', owner)], soon()),
      ),
    )
    const winners = new Set(owners.filter((_, n) => results[n]?.recorded))
    assert.equal(winners.size, 1)
  })

  promise(
    'keys that differ only in NUL, surrogates or beyond 10 000 characters are distinct',
    async (f) => {
      const long = 'x'.repeat(10_000)
      const keys = ['a', 'a\0', 'a\0b', '\ud800', '\ud801', '\ufffd', long, `${long}y`, '\u0001"a"']
      for (const key of keys) {
        assert.equal((await f.ledger.append(undefined, [once(key)], soon())).recorded, true)
        assert.equal((await f.ledger.append(undefined, [pin(key, key)], soon())).recorded, true)
      }
      for (const key of keys) {
        assert.equal((await f.ledger.append(undefined, [once(key)], soon())).recorded, false)
        assert.equal(
          (await f.ledger.append(undefined, [pin(key, `${key}!`)], soon())).recorded,
          false,
        )
      }
    },
  )
}

function expiryPromises(promise: Promised): void {
  promise('a once key is taken up to and in the millisecond it expires, then free', async (f) => {
    await f.ledger.append(undefined, [once('jti', START + 1000)], soon())
    f.setTime(START + 1000)
    assert.equal((await f.second.append(issued(), [once('jti')], soon())).recorded, false)
    f.setTime(START + 1001)
    const later = once('jti', START + 9000)
    assert.equal((await f.second.append(issued(), [later], soon())).recorded, true)
    f.setTime(START + 5000)
    assert.equal((await f.ledger.append(issued(), [once('jti')], soon())).recorded, false)
  })

  promise('of 20 concurrent callers an expired once key goes to exactly one', async (f) => {
    await f.ledger.append(undefined, [once('jti', START + 1000)], soon())
    f.setTime(START + 2000)
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        (n % 2 === 0 ? f.ledger : f.second).append(issued(), [once('jti')], soon()),
      ),
    )
    assert.equal(results.filter(({ recorded }) => recorded).length, 1)
  })

  promise('expireClaims forgets what expired before now, and says how many', async (f) => {
    const claims = [once('a', START + 1), once('b', START + 2), once('c', START + 3), pin('p', 'o')]
    await f.ledger.append(undefined, claims, soon())
    assert.equal(await f.ledger.expireClaims(START + 3, soon()), 2)
    assert.equal(await f.ledger.expireClaims(START + 3, soon()), 0)
    assert.equal((await f.ledger.append(undefined, [once('c')], soon())).recorded, false)
    assert.equal((await f.ledger.append(undefined, [pin('p', 'x')], soon())).recorded, false)
    assert.equal((await f.ledger.append(undefined, [once('a'), once('b')], soon())).recorded, true)
  })

  promise('expireClaims forgets more claims than one commit takes', async ({ ledger }) => {
    const claims = Array.from({ length: 2100 }, (_, n) => once(`k${n}`, START + 1))
    await ledger.append(undefined, claims, soon())
    assert.equal(await ledger.expireClaims(START + 2, soon()), 2100)
  })
}

function deadlinePromises(promise: Promised): void {
  promise('a call whose signal has fired rejects and changes nothing', async ({ ledger }) => {
    const aborted = AbortSignal.abort()
    await assert.rejects(ledger.append(issued(), [once('x')], aborted))
    await assert.rejects(ledger.holds('acme', digestOf('x'), aborted))
    await assert.rejects(ledger.find('acme', 'x', aborted))
    await assert.rejects(ledger.recent('acme', 1, undefined, aborted))
    await assert.rejects(ledger.expireClaims(START, aborted))
    assert.deepEqual(await ledger.recent('acme', 10, undefined, soon()), [])
    assert.equal((await ledger.append(undefined, [once('x')], soon())).recorded, true)
  })

  promise('callers that give up leave the others of their batch recorded', async ({ ledger }) => {
    const giveUp = new AbortController()
    const entries = Array.from({ length: 40 }, () => issued())
    const calls = entries.map((entry, n) =>
      ledger.append(entry, [], n % 2 === 0 ? giveUp.signal : soon()),
    )
    setImmediate(() => giveUp.abort())
    const ends = await Promise.allSettled(calls)
    for (const [n, end] of ends.entries()) {
      if (n % 2 === 1) assert.equal(end.status, 'fulfilled')
      if (end.status !== 'fulfilled') continue
      assert.ok(await ledger.holds('acme', digestOf(entries[n]?.id ?? ''), soon()))
    }
  })
}
