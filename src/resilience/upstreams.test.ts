import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSystemRandom } from '../lib/id.ts'
import { type UpstreamOptions, UpstreamRefused } from './upstream.ts'
import { createUpstreams } from './upstreams.ts'

const named = (name: string): UpstreamOptions => ({
  name,
  tenant: 'acme',
  kind: 'source',
  totalMilliseconds: 800,
  concurrency: 8,
  judge: () => ({ kind: 'failure', retryable: false }),
})

const well = () => Promise.resolve('well')
const down = () => Promise.reject(new Error('down'))

function createWorld(most?: number) {
  const forgotten: string[] = []
  const upstreams = createUpstreams(
    {
      random: createSystemRandom(),
      observe: { forgotten: ({ name }) => void forgotten.push(name) },
    },
    most === undefined ? {} : { most },
  )
  const names = () => upstreams.list().map(({ name }) => name)
  return { upstreams, forgotten, names }
}

test('a name is one dependency, however often it is asked for', async () => {
  const { upstreams, names } = createWorld()
  for (let call = 0; call < 10; call += 1)
    await assert.rejects(upstreams.for(named('a')).call(down), /down/)
  await assert.rejects(upstreams.for(named('a')).call(well), UpstreamRefused)
  assert.equal(await upstreams.for(named('b')).call(well), 'well')
  assert.deepEqual(names(), ['a', 'b'])
  assert.equal(upstreams.named('a')?.facts().state, 'open')
  assert.equal(upstreams.named('c'), undefined)
})

test('options that came later are those in force', () => {
  const { upstreams } = createWorld()
  upstreams.for(named('a'))
  upstreams.for({ ...named('a'), tenant: 'other' })
  assert.deepEqual(
    upstreams.list().map(({ tenant }) => tenant),
    ['other'],
  )
})

test('beyond the bound the one that was not asked for longest is forgotten, but none that an operator holds open', async () => {
  const { upstreams, forgotten, names } = createWorld(3)
  for (const name of ['a', 'b', 'c']) upstreams.for(named(name))
  upstreams.named('b')?.holdOpen()
  upstreams.for(named('a'))
  for (const name of ['d', 'e', 'f']) upstreams.for(named(name))
  assert.deepEqual(forgotten, ['c', 'a', 'd'])
  assert.deepEqual(names(), ['b', 'e', 'f'])
  await assert.rejects(upstreams.for(named('b')).call(well), UpstreamRefused)
})

test('it stays bounded even when everything is held open', () => {
  const { upstreams, names } = createWorld(2)
  for (const name of ['a', 'b', 'c']) upstreams.for(named(name)).holdOpen()
  assert.deepEqual(names(), ['b', 'c'])
})
