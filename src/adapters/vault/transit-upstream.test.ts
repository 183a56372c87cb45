import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createSystemRandom } from '../../lib/id.ts'
import { DependencyUnavailable } from '../../lib/unavailable.ts'
import { BreakerOpen } from '../../resilience/breaker.ts'
import { createUpstreams } from '../../resilience/upstreams.ts'
import { createTransitBreaker } from './transit-upstream.ts'
import { VaultError } from './vault-error.ts'

const down = () => Promise.reject(new DependencyUnavailable('down'))
const forbidden = () => Promise.reject(new VaultError('POST', 'transit/sign/x', 403, []))
const well = () => Promise.resolve('signed')

function createWorld() {
  const upstreams = createUpstreams({ random: createSystemRandom() })
  const breaker = createTransitBreaker(upstreams, { timeoutMilliseconds: 30_000 })
  return { upstreams, breaker }
}

test('five batches without an answer, each asked once, and Transit is not asked any more', async () => {
  const { upstreams, breaker } = createWorld()
  let asked = 0
  for (let batch = 0; batch < 7; batch += 1)
    await breaker
      .run(() => {
        asked += 1
        return down()
      })
      .catch(() => undefined)
  assert.equal(asked, 5)
  await assert.rejects(breaker.run(well), BreakerOpen)
  assert.ok(breaker.retryAfterSeconds() >= 1)
  const [facts] = upstreams.list()
  assert.deepEqual([facts?.name, facts?.kind, facts?.state], ['vault transit', 'vault', 'open'])
})

test('refusals of Transit are answers, however many come', async () => {
  const { breaker } = createWorld()
  for (let batch = 0; batch < 30; batch += 1)
    await assert.rejects(breaker.run(forbidden), VaultError)
  assert.equal(await breaker.run(well), 'signed')
})

test('an operator can keep it from being asked', async () => {
  const { upstreams, breaker } = createWorld()
  await breaker.run(well)
  upstreams.named('vault transit')?.holdOpen()
  await assert.rejects(breaker.run(well), BreakerOpen)
})
