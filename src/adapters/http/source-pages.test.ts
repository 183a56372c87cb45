/** Lists that change between two of their pages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type EntitlementApi, startEntitlementApi } from '../../../test/fakes/entitlement-api.ts'
import { sourceOf } from '../../../test/fakes/entitlement-source.ts'
import type { Consistency } from '../../entitlement/options.ts'
import { type SourceAnswer, SourceFailure } from '../../entitlement/source.ts'
import { systemClock } from '../../lib/clock.ts'
import { createEgress } from './egress.ts'
import { createHttpEntitlementSource } from './entitlement-source.ts'

const BEFORE = ['a', 'b', 'c', 'd', 'e']

interface World {
  readonly api: EntitlementApi
  readonly ask: () => Promise<SourceAnswer>
}

/** A version of the list that the source counts up, as a database does with a row. */
interface Version {
  number: number
}

const tagOf = ({ number }: Version) => ({ etag: `"v${number}"` })

async function inWorld(
  consistency: Consistency,
  check: (world: World & { readonly version: Version }) => Promise<void>,
): Promise<void> {
  const api = await startEntitlementApi()
  const egress = createEgress({ allow: [], allowLoopback: true })
  const port = createHttpEntitlementSource({ egress, clock: systemClock })
  const source = sourceOf({ url: api.url, echoPath: 'user', consistency })
  const version = { number: 1 }
  api.users.set('ada', BEFORE)
  api.behave({ etags: true, lie: (page) => ({ ...page, meta: { version: version.number } }) })
  try {
    await check({
      api,
      version,
      ask: () => port.rolesOf(source, 'ada', 200, AbortSignal.timeout(30_000)),
    })
  } finally {
    await port.close()
    await api.close()
  }
}

const complete = (roles: readonly string[]) => ({ known: true, roles })

function isUnsettled(error: unknown): boolean {
  assert.ok(error instanceof SourceFailure, String(error))
  assert.equal(error.kind, 'contract')
  assert.match(error.message, /changed while it was read/)
  assert.equal(error.retryable, true)
  return true
}

const SNAPSHOT: Consistency = { kind: 'snapshot', at: { path: 'meta.version' } }
const RECHECK: Consistency = { kind: 'recheck' }

test('without a way to notice, a list that changes while it is read is read as it comes', () =>
  inWorld({ kind: 'none' }, async ({ api, ask }) => {
    api.behave({ before: (page) => void (page === 2 && api.users.set('ada', BEFORE.slice(1))) })
    assert.deepEqual(await ask(), complete(['a', 'b', 'd', 'e']))
  }))

for (const [name, consistency] of Object.entries({ SNAPSHOT, RECHECK })) {
  test(`a list that changes once while it is read is read again, whole (${name})`, () =>
    inWorld(consistency, async ({ api, version, ask }) => {
      for (const at of [2, 3]) {
        const after = ['b', 'c', 'd', 'e', `new at ${at}`]
        api.users.set('ada', BEFORE)
        let changed = false
        api.behave({
          before(page) {
            if (page !== at || changed) return
            changed = true
            version.number += 1
            api.users.set('ada', after)
          },
        })
        assert.deepEqual(await ask(), complete(after))
      }
    }))

  test(`a list that changes at every reading is a failure worth another attempt, and no roles (${name})`, () =>
    inWorld(consistency, async ({ api, version, ask }) => {
      api.behave({
        before(page) {
          if (page !== 2) return
          version.number += 1
          api.users.set('ada', [`${version.number}`, ...BEFORE])
        },
      })
      await assert.rejects(ask(), isUnsettled)
    }))

  test(`the roles are those of one state of the list, whatever happens to it and when (${name})`, () =>
    inWorld(consistency, async ({ api, version, ask }) => {
      const list = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'), {
        maxLength: 8,
      })
      const changes = fc.array(fc.option(list, { freq: 2 }), { maxLength: 8 })
      let whole = 0
      await fc.assert(
        fc.asyncProperty(list, changes, async (first, later) => {
          const states = [first]
          const left = [...later]
          api.users.set('ada', first)
          api.behave({
            // A tag of the content would be the same again when a page is, and the list between was another.
            etags: false,
            headers: tagOf(version),
            before() {
              const next = left.shift()
              if (!next) return
              states.push(next)
              version.number += 1
              api.users.set('ada', next)
              api.behave({ headers: tagOf(version) })
            },
          })
          try {
            const answer = await ask()
            assert.ok(answer.known)
            whole += 1
            assert.ok(
              states.some((state) => state.join() === answer.roles.join()),
              `${answer.roles.join()} is none of ${states.map((state) => state.join()).join(' ')}`,
            )
          } catch (error) {
            assert.ok(error instanceof SourceFailure, String(error))
          }
        }),
        { numRuns: 150 },
      )
      assert.ok(whole > 20 && whole < 150, `${whole} of 150 were complete`)
    }))
}

test('a role that moves to a page that was read already is not lost, though the first page stays as it was', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    let moved = false
    api.behave({
      before(page) {
        if (page !== 3 || moved) return
        moved = true
        // c is taken away: d and e move up, and e is now on the second page, which was read before.
        api.users.set('ada', ['a', 'b', 'd', 'e'])
      },
    })
    assert.deepEqual(await ask(), complete(['a', 'b', 'd', 'e']))
  }))

test('pages are asked for again with their own ETags, the last one not', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    assert.deepEqual(await ask(), complete(BEFORE))
    const asked = api.requests.map(({ target, headers }) => ({
      target: target.replace('/users/ada/roles', ''),
      conditional: headers['if-none-match'] !== undefined,
    }))
    assert.deepEqual(asked, [
      { target: '', conditional: false },
      { target: '?page=2', conditional: false },
      { target: '?page=3', conditional: false },
      { target: '', conditional: true },
      { target: '?page=2', conditional: true },
    ])
    const tags = new Set(api.requests.map(({ headers }) => headers['if-none-match']))
    assert.equal(tags.size, 3, 'two tags, and undefined')
  }))

test('a list of one page is one state without being asked for again', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    api.behave({ pageSize: 9, etags: false })
    assert.deepEqual(await ask(), complete(BEFORE))
    assert.equal(api.requests.length, 1)
  }))

test('a source that sends the page again with the same ETag says as much as with 304', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    api.behave({ etags: false, headers: { etag: '"v1"' } })
    assert.deepEqual(await ask(), complete(BEFORE))
    assert.equal(api.requests.length, 5)
  }))

test('without strong ETags nothing can be rechecked, and nothing is given out', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    for (const etag of [undefined, '', 'W/"v1"', 'v1', '"v"1"', '*']) {
      api.behave({ etags: false, headers: etag === undefined ? {} : { etag } })
      await assert.rejects(ask(), /no strong ETag/, etag)
    }
  }))

test('a page that names no state is refused, also when it is the only one', () =>
  inWorld(SNAPSHOT, async ({ api, ask }) => {
    for (const meta of [undefined, null, {}, { version: null }, { version: '' }, { version: {} }]) {
      for (const pageSize of [2, 9]) {
        api.behave({ pageSize, lie: (page) => ({ ...page, meta }) })
        await assert.rejects(ask(), /does not name the state/)
      }
    }
  }))

test('numbers too large to be told apart are no states', () =>
  inWorld(SNAPSHOT, async ({ api, ask }) => {
    api.behave({
      body: '{"user":"ada","items":[],"next":null,"meta":{"version":9007199254740993}}',
    })
    await assert.rejects(ask(), /does not name the state/)
  }))

test('the state may be in a header, whatever the case of its name', () =>
  inWorld({ kind: 'snapshot', at: { header: 'X-Snapshot' } }, async ({ api, ask }) => {
    await assert.rejects(ask(), /does not name the state/)
    api.behave({ headers: { 'x-snapshot': '7' } })
    assert.deepEqual(await ask(), complete(BEFORE))
    api.behave({ before: (page) => api.behave({ headers: { 'x-snapshot': `${page}` } }) })
    await assert.rejects(ask(), isUnsettled)
  }))

test('a source that fails while pages are asked for again fails the look-up', () =>
  inWorld(RECHECK, async ({ api, ask }) => {
    let seen = 0
    api.behave({
      before() {
        seen += 1
        if (seen === 5) api.behave({ status: 503 })
      },
    })
    await assert.rejects(ask(), (error) => {
      assert.ok(error instanceof SourceFailure)
      assert.deepEqual([error.kind, error.status, error.retryable], ['status', 503, true])
      return true
    })
  }))
