import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Kept, Lives, SecondLevel } from './swr.ts'
import { LoadFailed } from './swr.ts'
import { createSwrCache } from './swr-cache.ts'

const START = 1_790_000_000_000
const LIVES: Lives = { fresh: 60_000, stale: 0, staleIfError: 0, negative: 30_000 }

class Down extends Error {}

interface World {
  readonly lives?: Partial<Lives>
  readonly bridges?: boolean
  /** 0: an answer is renewed only at its end; 1: after four fifths of its life. */
  readonly draw?: number
  readonly maxBytes?: number
  readonly second?: SecondLevel<string>
  readonly deadline?: number
}

type Source = (id: string) => Promise<string | undefined>

const honest: Source = (id) => Promise.resolve(`of ${id}`)

function setUp({ lives, bridges = true, draw = 0, maxBytes = 1e6, second, deadline }: World = {}) {
  const world = { now: START, draw, calls: [] as string[], bugs: [] as unknown[] }
  /** What the source does next; it answers with the id unless told otherwise. */
  let source = honest
  const clock = { now: () => world.now }
  const random = {
    bytes: (length: number) => Buffer.alloc(length, Math.round(world.draw * 255)),
  }
  const cache = createSwrCache<string>(
    { clock, random },
    {
      maxEntries: 1000,
      maxBytes,
      sizeOf: (value) => value.length,
      failureOf: (error) =>
        error instanceof Down ? { asked: true, waitMilliseconds: 0 } : undefined,
      unexpected: (error) => world.bugs.push(error),
    },
  )
  const open = (version = '1', tags = ['tenant acme', 'source hr']) =>
    cache.shelf({
      tags,
      version,
      lives: { ...LIVES, ...lives },
      bridgesFailure: bridges,
      deadlineMilliseconds: deadline ?? 60_000,
      async load(id): Promise<Kept<string>> {
        world.calls.push(id)
        const askedAt = world.now
        const value = await source(id)
        return { value: value ?? 'nobody', askedAt, negative: value === undefined }
      },
      second,
    })
  const shelf = open()
  return {
    world,
    cache,
    shelf,
    open,
    answer: (made: Source) => void (source = made),
    down: () => void (source = () => Promise.reject(new Down('down'))),
    get: async (id = 'ada') => (await shelf.get(id)).kept.value,
    hand: (id = 'ada') => shelf.atHand(id, world.now)?.value,
    pass: (milliseconds: number) => void (world.now += milliseconds),
  }
}

/** Lets what was begun without anybody waiting come to its end. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 1))

test('an answer is at hand until it is no longer fresh, and not a millisecond longer', async () => {
  const { get, hand, pass, world } = setUp()
  assert.equal(hand(), undefined)
  assert.equal(await get(), 'of ada')
  pass(59_999)
  assert.equal(hand(), 'of ada')
  pass(1)
  assert.equal(hand(), undefined)
  assert.equal(world.calls.length, 1)
})

test('an answer at hand is the very object that is kept: nothing is made for it', async () => {
  const { shelf, get, world } = setUp()
  await get()
  assert.equal(shelf.atHand('ada', world.now), shelf.atHand('ada', world.now))
})

test('answers that came together are renewed one after the other, none of them later than allowed', async () => {
  const { world, shelf, pass } = setUp()
  for (let i = 0; i <= 100; i += 1) {
    world.draw = i / 100
    await shelf.get(`user ${i}`)
  }
  const renewedAt = new Map<string, number>()
  for (let second = 0; second < 60; second += 1) {
    const before = world.calls.length
    for (let i = 0; i <= 100; i += 1)
      assert.ok(shelf.atHand(`user ${i}`, world.now), 'nobody waits')
    await settle()
    for (const id of world.calls.slice(before)) if (!renewedAt.has(id)) renewedAt.set(id, second)
    pass(1000)
  }
  assert.ok(Math.min(...renewedAt.values()) >= 48, 'not before four fifths')
  assert.ok(new Set(renewedAt.values()).size >= 10, 'spread over the last fifth')
  assert.ok(renewedAt.size >= 90)
})

test('within stale the old answer is served at once, while one load fetches the new one', async () => {
  const { get, hand, pass, answer, world } = setUp({ lives: { stale: 60_000 } })
  await get()
  pass(60_000)
  answer(() => Promise.resolve('new'))
  for (let i = 0; i < 50; i += 1) assert.equal(hand(), 'of ada')
  await settle()
  assert.equal(hand(), 'new')
  assert.equal(world.calls.length, 2)
})

test('after stale nobody is served the old answer: the new one is waited for', async () => {
  const { get, hand, pass, answer } = setUp({ lives: { stale: 10_000 } })
  await get()
  pass(70_000)
  answer(() => Promise.resolve('new'))
  assert.equal(hand(), undefined)
  assert.equal(await get(), 'new')
})

test('when loading fails an answer stands in until the hard limit, and not a millisecond longer', async () => {
  const { get, pass, down } = setUp({ lives: { stale: 1000, staleIfError: 600_000 } })
  await get()
  down()
  pass(659_999)
  assert.equal(await get(), 'of ada')
  pass(1)
  await assert.rejects(get(), LoadFailed)
})

test('without bridging, an answer older than fresh is never used once loading has failed', async () => {
  const world = setUp({ lives: { stale: 300_000, staleIfError: 600_000 }, bridges: false })
  const { get, hand, pass, down, answer } = world
  await get()
  down()
  pass(60_000)
  assert.equal(hand(), 'of ada', 'nothing has failed yet')
  await settle()
  assert.equal(hand(), undefined)
  await assert.rejects(get(), LoadFailed)
  pass(10_000)
  assert.equal(hand(), undefined, 'a failure some time ago is a failure until an answer comes')
  answer(() => Promise.resolve('back'))
  assert.equal(await get(), 'back')
  pass(60_000)
  assert.equal(hand(), 'back')
})

test('"there is no such thing" is used for its own time, and never stands in for an answer', async () => {
  const { get, hand, pass, answer, down } = setUp({
    lives: { stale: 600_000, staleIfError: 600_000 },
  })
  answer(() => Promise.resolve(undefined))
  assert.equal(await get(), 'nobody')
  pass(29_999)
  assert.equal(hand(), 'nobody')
  pass(1)
  assert.equal(hand(), undefined)
  down()
  await assert.rejects(get(), LoadFailed)
})

test('lru-cache trap: a load that fails with nothing kept is a failure, never undefined', async () => {
  const { get, down } = setUp({ lives: { staleIfError: 600_000 } })
  down()
  await assert.rejects(get(), (error) => error instanceof LoadFailed && error.cause instanceof Down)
})

test('lru-cache trap: a caller who leaves does not end the load of the others', async () => {
  const { shelf, answer, get } = setUp()
  const gate = Promise.withResolvers<string>()
  answer(() => gate.promise)
  const left = Promise.race([shelf.get('ada'), Promise.reject(new Error('left'))])
  await assert.rejects(left, /left/)
  const patient = get()
  gate.resolve('late')
  assert.equal(await patient, 'late')
})

test('lru-cache trap: an answer larger than the whole cache is served, and takes the older one away', async () => {
  const { get, hand, pass, answer, cache } = setUp({ maxBytes: 1000 })
  await get()
  assert.equal(cache.facts().entries, 1)
  pass(60_000)
  answer(() => Promise.resolve('x'.repeat(2000)))
  assert.equal((await get()).length, 2000)
  assert.equal(hand(), undefined)
  assert.equal(cache.facts().entries, 0)
  assert.deepEqual(cache.facts().shelves[0], {
    tags: ['tenant acme', 'source hr'],
    entries: 0,
    bytes: 0,
  })
})

test('bytes bound what is kept, and the numbers of a shelf stay right while answers are pushed out', async () => {
  const { shelf, cache } = setUp({ maxBytes: 100_000 })
  for (let i = 0; i < 1000; i += 1) await shelf.get(`user ${i % 400}`)
  const { entries, bytes, maxBytes, shelves } = cache.facts()
  assert.ok(entries > 100 && entries < 400 && bytes <= maxBytes)
  assert.deepEqual(shelves[0], { tags: ['tenant acme', 'source hr'], entries, bytes })
})

test('a thousand callers share one load, and its failure', async () => {
  const { shelf, answer, world, pass } = setUp()
  const gate = Promise.withResolvers<string>()
  answer(() => gate.promise)
  const waiting = Array.from({ length: 1000 }, () => shelf.get('ada'))
  gate.reject(new Down('down'))
  for (const outcome of await Promise.allSettled(waiting)) assert.equal(outcome.status, 'rejected')
  pass(1000)
  answer(() => Promise.resolve('up'))
  const answers = await Promise.all(Array.from({ length: 1000 }, () => shelf.get('ada')))
  assert.deepEqual(new Set(answers.map(({ kept }) => kept.value)), new Set(['up']))
  assert.equal(world.calls.length, 2)
})

test('a load ends at its own deadline, and what it brings later is not kept', async () => {
  const { get, hand, answer, world } = setUp({ deadline: 5 })
  const gate = Promise.withResolvers<string>()
  answer(() => gate.promise)
  await assert.rejects(get(), /no result within 5 ms/)
  gate.resolve('too late')
  await settle()
  assert.equal(hand(), undefined)
  assert.equal(world.calls.length, 1)
})

test('a dead source is left alone for half a second, then twice as long each time, up to five', async () => {
  const { get, pass, down, world } = setUp()
  down()
  const askedAfter: number[] = []
  for (let tenths = 0; tenths < 300; tenths += 1) {
    const before = world.calls.length
    await assert.rejects(get(), LoadFailed)
    if (world.calls.length > before) askedAfter.push(tenths * 100)
    pass(100)
  }
  const waits = askedAfter.slice(1).map((at, i) => at - (askedAfter[i] ?? 0))
  assert.deepEqual(waits.slice(0, 4), [600, 1100, 2200, 4400])
  for (const wait of waits.slice(4)) assert.equal(wait, 5500)
})

test('a source that asks for more time gets it, within a minute', async () => {
  const cache = createSwrCache<string>(
    { clock: { now: () => START }, random: { bytes: (length) => Buffer.alloc(length) } },
    {
      maxEntries: 10,
      maxBytes: 10_000,
      sizeOf: (value) => value.length,
      failureOf: () => ({ asked: true, waitMilliseconds: 3_600_000 }),
      unexpected: () => undefined,
    },
  )
  const shelf = cache.shelf({
    tags: ['a'],
    version: '1',
    lives: LIVES,
    bridgesFailure: true,
    deadlineMilliseconds: 1000,
    load: () => Promise.reject(new Down('busy')),
  })
  await assert.rejects(
    shelf.get('ada'),
    (error) => error instanceof LoadFailed && error.retryAfterMilliseconds === 60_000,
  )
})

test('a bug is thrown as it is, remembered by nobody, and told when nobody waited', async () => {
  const { get, hand, pass, answer, world } = setUp({ lives: { stale: 600_000 } })
  answer(() => Promise.reject(new TypeError('a bug')))
  await assert.rejects(get(), TypeError)
  await assert.rejects(get(), TypeError)
  assert.equal(world.calls.length, 2)
  answer(() => Promise.resolve('fine'))
  await get()
  pass(60_000)
  answer(() => Promise.reject(new TypeError('a bug')))
  assert.equal(hand(), 'fine')
  await settle()
  assert.equal(world.bugs.length, 1)
})

test('after the clock was set back an answer from the future is not used, fresh or stale', async () => {
  const { get, hand, pass, down, answer } = setUp({ lives: { stale: 1e9, staleIfError: 1e9 } })
  await get()
  pass(-1)
  assert.equal(hand(), undefined)
  down()
  await assert.rejects(get(), LoadFailed)
  pass(-3_600_000)
  answer(() => Promise.resolve('new'))
  assert.equal(await get(), 'new', 'nor is a failure from the future a reason not to ask')
})

test('a purge by tag forgets answers, of other shelves none', async () => {
  const { open, cache } = setUp()
  const shelves = [
    open('1', ['tenant acme', 'source hr']),
    open('1', ['tenant acme', 'source crm']),
    open('1', ['tenant globex', 'source hr']),
  ] as const
  const fill = () => Promise.all(shelves.flatMap((shelf) => [shelf.get('ada'), shelf.get('bob')]))
  const left = () => shelves.map((shelf) => ['ada', 'bob'].filter((id) => shelf.last(id)).join())
  await fill()
  assert.equal(cache.purge({ tags: ['tenant acme', 'source hr'], ids: ['ada', 'eve'] }), 1)
  assert.deepEqual(left(), ['bob', 'ada,bob', 'ada,bob'])
  assert.equal(cache.purge({ tags: ['tenant acme', 'source hr'] }), 1)
  assert.deepEqual(left(), ['', 'ada,bob', 'ada,bob'])
  await fill()
  assert.equal(cache.purge({ tags: ['tenant acme'], ids: ['ada'] }), 2)
  assert.deepEqual(left(), ['bob', 'bob', 'ada,bob'])
  assert.equal(cache.purge({ tags: ['tenant acme'] }), 2)
  assert.deepEqual(left(), ['', '', 'ada,bob'])
})

for (const [what, ids] of [
  ['an id', ['ada']],
  ['everything', undefined],
] as const) {
  test(`a load that began before a purge of ${what} is answered, not kept, and not joined`, async () => {
    const written: string[] = []
    const second: SecondLevel<string> = {
      read: () => Promise.resolve(undefined),
      write: (_id, { value }) => written.push(value),
    }
    const { shelf, cache, answer, hand } = setUp({ second })
    const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const
    let calls = 0
    answer(() => (calls++ === 0 ? gates[0] : gates[1]).promise)
    const before = shelf.get('ada')
    await settle()
    cache.purge({ tags: ['tenant acme'], ids })
    const after = shelf.get('ada')
    gates[0].resolve('old')
    assert.equal((await before).kept.value, 'old')
    assert.equal(hand(), undefined)
    gates[1].resolve('new')
    assert.equal((await after).kept.value, 'new')
    assert.equal(hand(), 'new')
    await settle()
    assert.deepEqual(written, ['new'])
  })

  test(`the failure of a load that began before a purge of ${what} keeps nobody from asking`, async () => {
    const { shelf, cache, answer, get } = setUp()
    const gate = Promise.withResolvers<string>()
    answer(() => gate.promise)
    const before = shelf.get('ada')
    cache.purge({ tags: ['tenant acme'], ids })
    gate.reject(new Down('down'))
    await assert.rejects(before, LoadFailed)
    answer(() => Promise.resolve('up'))
    assert.equal(await get(), 'up')
  })
}

test('another version is another shelf; one that comes back has its answers, but not after a purge or many others', async () => {
  const { open, cache } = setUp()
  await open('1').get('ada')
  assert.equal(open('2').last('ada'), undefined)
  assert.ok(open('1').last('ada'))
  cache.purge({ tags: ['source hr'], ids: ['ada'] })
  assert.equal(open('1').last('ada'), undefined)
  await open('1').get('ada')
  for (const version of ['3', '4', '5', '6']) open(version)
  assert.equal(open('1').last('ada'), undefined)
})

test('the second level is read once on a miss, and what is fresh there spares the source', async () => {
  const kept = { value: 'shared', askedAt: START - 10_000, negative: false }
  const second: SecondLevel<string> = { read: () => Promise.resolve(kept), write: () => undefined }
  const { shelf, world, pass, hand } = setUp({ second })
  assert.deepEqual((await shelf.get('ada')).from, 'shared')
  assert.equal(hand(), 'shared')
  pass(50_000)
  assert.equal(hand(), undefined, 'its age counts from the question, not from when it was read')
  assert.equal((await shelf.get('ada')).kept.value, 'of ada')
  assert.equal(world.calls.length, 1)
})

test('what is no longer fresh at the second level stands in when the source fails, within the same hard limit', async () => {
  const kept = { value: 'shared', askedAt: START - 100_000, negative: false }
  const second: SecondLevel<string> = { read: () => Promise.resolve(kept), write: () => undefined }
  const { get, pass, down } = setUp({ second, lives: { staleIfError: 60_000 } })
  down()
  assert.equal(await get(), 'shared')
  pass(20_000)
  await assert.rejects(get(), LoadFailed)
})
