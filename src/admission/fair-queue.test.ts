import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { createFairQueue } from './fair-queue.ts'

interface Entry {
  readonly since: number
  readonly id: string
}

const entry = (id: string, since = 0): Entry => ({ id, since })

const drained = (queue: ReturnType<typeof createFairQueue<Entry>>, isNewest = true) => {
  const ids: string[] = []
  for (let next = queue.next(isNewest); next; next = queue.next(isNewest)) ids.push(next.id)
  return ids
}

suite('fair queue', () => {
  test('of one tenant the newest goes first, or the oldest, as is asked', () => {
    const queue = createFairQueue<Entry>()
    for (const id of ['1', '2', '3', '4']) queue.push('a', entry(id))
    assert.equal(queue.next(false)?.id, '1')
    assert.deepEqual(drained(queue), ['4', '3', '2'])
  })

  test('a tenant with a thousand waiting makes another wait for one of them, not for all', () => {
    const queue = createFairQueue<Entry>()
    for (let i = 0; i < 1000; i++) queue.push('loud', entry(`loud ${i}`))
    queue.push('quiet', entry('quiet'))
    assert.equal(drained(queue).indexOf('quiet'), 1)
  })

  test('those who waited too long come out, the others stay', () => {
    const queue = createFairQueue<Entry>()
    queue.push('a', entry('a1', 1))
    queue.push('a', entry('a5', 5))
    queue.push('b', entry('b2', 2))
    assert.deepEqual(
      queue.expire(5).map(({ id }) => id),
      ['a1', 'b2'],
    )
    assert.equal(queue.lengthOf('b'), 0)
    assert.deepEqual(drained(queue), ['a5'])
  })

  test('nobody is lost and nobody comes out twice, in any order of calls', () => {
    const call = fc.oneof(
      fc.record({ push: fc.constantFrom('a', 'b', 'c') }),
      fc.constantFrom('newest' as const, 'oldest' as const),
      fc.constant('expire' as const),
    )
    fc.assert(
      fc.property(fc.array(call), (calls) => {
        const queue = createFairQueue<Entry>()
        const out: string[] = []
        let pushed = 0
        for (const [at, each] of calls.entries()) {
          if (each === 'newest' || each === 'oldest')
            out.push(...[queue.next(each === 'newest')].flatMap((found) => found?.id ?? []))
          else if (each === 'expire') out.push(...queue.expire(at - 5).map(({ id }) => id))
          else queue.push(each.push, entry(String(pushed++), at))
          const byTenant = ['a', 'b', 'c'].map((tenant) => queue.lengthOf(tenant))
          assert.equal(
            byTenant.reduce((sum, length) => sum + length),
            queue.length,
          )
          assert.equal(queue.length, pushed - out.length)
        }
        out.push(...drained(queue))
        assert.equal(new Set(out).size, pushed)
        assert.equal(queue.length, 0)
      }),
    )
  })
})
