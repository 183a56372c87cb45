import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aClient } from '../../test/fakes/policy.ts'
import { createSubjectWorld } from '../../test/fakes/subject.ts'
import { createMemoryCutoffStore } from '../adapters/memory/cutoff-store.ts'
import { createMemoryLedger } from '../adapters/memory/ledger.ts'
import { createCutoffRules } from '../cutoff/rules.ts'
import { isRefusal } from '../lib/refusal.ts'
import { Secret } from '../lib/secret.ts'
import { createMetrics } from '../observe/metrics.ts'
import { verifyOwnToken } from '../subject/own-token.ts'
import { createIntrospect } from './introspect.ts'

const soon = () => AbortSignal.timeout(30_000)

/** Introspection of a subject world's own tokens, with real cut-off rules that were read just now. */
async function createWorld() {
  const world = createSubjectWorld()
  const monotonic = { time: 0, now: () => monotonic.time }
  const rules = createCutoffRules({ store: createMemoryCutoffStore(), monotonic }, () => ({
    stalenessMilliseconds: 1000,
  }))
  await rules.refresh(soon())
  const own = {
    ...world.deps.own,
    cutOff(tenant: string, kid: string) {
      rules.mustBeFresh()
      return rules.isCutOff(tenant, kid)
    },
  }
  const client = aClient({ id: 'orders-api', grants: new Set(['introspect-any']) })
  const introspect = createIntrospect({
    authenticateClient: async () => ({ client, method: 'client_secret_basic', claims: [] }),
    verifyIssued: async (tenant, token, signal) =>
      (await verifyOwnToken({ ...world.deps, own }, tenant, token, world.limits, signal)).payload,
    ledger: createMemoryLedger({ clock: world.clock }),
    metrics: createMetrics(),
  })
  const ask = (text: string) => introspect(world.tenant, {}, new Secret(text), soon())
  const kill = () => {
    const times = { notBefore: world.clock.now(), at: world.clock.now() }
    const wanted = { tenant: 'acme', kind: 'kid', id: world.ownKey.kid, ...times } as const
    return rules.add({ ...wanted, reason: 'leaked', by: 'ops' }, soon())
  }
  return { world, monotonic, rules, ask, kill }
}

test('a token signed by a key that was killed a moment ago is inactive, though it was active before', async () => {
  const { world, ask, kill } = await createWorld()
  const text = world.record(world.mintOwn())
  // From the second sight on the token is in the verified-token cache; the third is answered from there.
  for (let sight = 1; sight <= 3; sight += 1) assert.equal((await ask(text)).active, true)
  await kill()
  assert.deepEqual(await ask(text), { active: false })
})

test('while the cut-offs are too old to know, introspection answers 503: neither active nor inactive', async () => {
  const { world, monotonic, rules, ask } = await createWorld()
  const text = world.record(world.mintOwn())
  assert.equal((await ask(text)).active, true)
  monotonic.time += 1001
  // What its code and `Retry-After` look like at the edge, http/render-refusal.test.ts says.
  await assert.rejects(
    ask(text),
    (error) => isRefusal(error, 'ledger_unavailable') && error.retryAfterSeconds === 2,
  )
  await rules.refresh(soon())
  assert.equal((await ask(text)).active, true)
})

test('a wall clock that is set back does not make old cut-offs fresh', async () => {
  const { world, monotonic, ask } = await createWorld()
  const text = world.record(world.mintOwn())
  monotonic.time += 1001
  world.clock.time -= 10_000
  await assert.rejects(ask(text), (error) => isRefusal(error, 'ledger_unavailable'))
})
