/**
 * The bad-input corpus, rows 1 to 60, over real sockets and at every door. The tables are in `corpus/`; the doors, and why the
 * admin listener is none of them, in `corpus/attack.ts`.
 */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { DOORS } from './corpus/attack.ts'
import {
  concerns,
  mustAcceptGoodTokens,
  mustBeRecorded,
  mustRefuse,
  run,
  watchful,
} from './corpus/doors.ts'
import { ATTACKS, DEFERRED, REQUESTS, ROWS, STORIES } from './corpus/rows.ts'
import { type CorpusWorld, startCorpusWorld } from './corpus/world.ts'

/** Fewer executed cases than this and a table has lost rows. */
const FEWEST_CASES = 2000
/** Codes that a client which authenticated is refused with, by a decision that the ledger keeps. */
const RECORDED = new Set(['scope_not_allowed'])

suite('the bad-input corpus', () => {
  let world: CorpusWorld
  let executed = 0
  let unreachable = 0
  before(async () => {
    world = await startCorpusWorld()
  })
  after(async () => {
    await world.close()
  })

  test('every row from 1 to 60 has cases; what a row lacks is written down', (t) => {
    const withCases = new Set([...ATTACKS, ...REQUESTS, ...STORIES].map(({ row }) => row))
    assert.deepEqual(
      ROWS.filter((row) => !withCases.has(row)),
      [],
    )
    for (const [row, reason] of Object.entries(DEFERRED)) t.diagnostic(`row ${row}: ${reason}`)
  })

  test('a good token of each kind is accepted at its door, so that what follows is refused for what is wrong with it', () =>
    mustAcceptGoodTokens(world))

  for (const row of ROWS) {
    for (const attack of ATTACKS.filter((each) => each.row === row)) {
      for (const door of DOORS.filter((each) => concerns(attack, each))) {
        test(`row ${row}, ${door}: ${attack.name}`, async () => {
          if (await run(world, attack, door)) executed += 1
          else unreachable += 1
        })
      }
    }
    for (const { name, send, code, status, allow } of REQUESTS.filter((each) => each.row === row)) {
      test(`row ${row}: ${name}`, async () => {
        const watch = watchful(world)
        const answer = await send(world)
        mustRefuse(answer, code, status)
        if (allow !== undefined) assert.equal(answer.headers.get('allow'), allow)
        await watch(answer, [], 0)
        if (RECORDED.has(code)) await mustBeRecorded(world, answer, code)
        executed += 1
      })
    }
    for (const story of STORIES.filter((each) => each.row === row)) {
      test(`row ${row}: ${story.name}`, async () => {
        await story.run(world)
        executed += 1
      })
    }
  }

  test('a good token of each kind is still accepted', () => mustAcceptGoodTokens(world))

  test('enough cases were executed', (t) => {
    t.diagnostic(`${executed} cases executed; ${unreachable} tokens cannot be sent in a header`)
    assert.ok(executed >= FEWEST_CASES, `only ${executed}`)
  })
})
