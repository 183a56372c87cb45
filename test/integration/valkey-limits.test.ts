/** Rate limits of three replicas while the Valkey they share is killed, frozen, flushed and restarted under load (reliability.md §4 row 12). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createMemoryRateStore } from '../../src/adapters/memory/rate-store.ts'
import { openValkey } from '../../src/adapters/valkey/open.ts'
import type { RateStore } from '../../src/admission/rate-store.ts'
import { createSharedOrLocal } from '../../src/admission/shared-or-local.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import { createUpstreams } from '../../src/resilience/upstreams.ts'
import { startValkey, type ValkeyServer, valkeyServer } from '../fakes/valkey.ts'
import { suiteNeeding } from '../skip.ts'

const REPLICAS = 3
const LIMIT = { count: 100, perMilliseconds: 1000 }
const PAUSE_MILLISECONDS = 5
const random = createSystemRandom()

/** A replica as compose builds it: Valkey behind its upstream, and its own share beside it. */
function createReplica(server: ValkeyServer) {
  const valkey = openValkey(
    {
      clock: systemClock,
      random,
      upstreams: createUpstreams({ random }),
      tenants: () => ['acme'],
      changed: () => undefined,
    },
    { url: server.url, seal: new Secret('a secret of the deployment, 32 bytes') },
  )
  let alone = 0
  const store = createSharedOrLocal(
    {
      shared: valkey.rates,
      local: createMemoryRateStore(),
      countedAlone: () => (alone += 1),
    },
    () => REPLICAS,
  )
  return { valkey, store, alone: () => alone }
}

type Replica = ReturnType<typeof createReplica>

/** Waits for half a second in which no replica had to count alone. A busy machine may lose a reply now and then. */
async function untilTogether(replicas: readonly Replica[], ask: () => Promise<unknown>) {
  const deadline = Date.now() + 60_000
  const counts = () => replicas.map((replica) => replica.alone()).join()
  for (let before = ''; before !== counts(); ) {
    assert.ok(Date.now() < deadline, 'a replica still counts alone')
    before = counts()
    await ask()
    await setTimeout(500)
  }
}

/** Asks as fast as four callers of each replica can, and notes when one was let in and how long the longest waited. */
function startLoad(stores: readonly RateStore[]) {
  const admitted: number[] = []
  let asked = 0
  let longest = 0
  const over = new AbortController()
  const caller = async (store: RateStore): Promise<void> => {
    const signal = new AbortController().signal
    while (!over.signal.aborted) {
      const began = performance.now()
      const [answer] = await store.take([{ key: 'client\0acme\0web', rate: LIMIT }], signal)
      const ended = performance.now()
      asked += 1
      longest = Math.max(longest, ended - began)
      if (answer?.waitMilliseconds === 0) admitted.push(ended)
      await setTimeout(PAUSE_MILLISECONDS)
    }
  }
  const callers = stores.flatMap((store) => Array.from({ length: 4 }, () => caller(store)))
  return {
    longest: () => longest,
    asked: () => asked,
    admittedSince: (since: number) => admitted.filter((at) => at >= since).length,
    async end(): Promise<void> {
      over.abort()
      await Promise.all(callers)
    },
  }
}

suiteNeeding('limits while Valkey fails', valkeyServer, (binary) => {
  test('an outage admits no more than twice the limit, and does not shut everybody out', async (t) => {
    const server = await startValkey(binary)
    const replicas = Array.from({ length: REPLICAS }, () => createReplica(server))
    const other = { key: 'client\0acme\0other', rate: LIMIT }
    const askAll = () =>
      Promise.all(
        replicas.map(async ({ store }) => store.take([other], new AbortController().signal)),
      )
    await untilTogether(replicas, askAll)
    const aloneAtStart = replicas.map(({ alone }) => alone())
    const load = startLoad(replicas.map(({ store }) => store))
    const started = performance.now()
    let losses = 0
    /** Does what a fault does, and says what was let in during the second after it. */
    const phase = async (name: string, act: () => unknown): Promise<void> => {
      const before = performance.now()
      await act()
      await setTimeout(1000)
      const seconds = (performance.now() - before) / 1000
      const passed = load.admittedSince(before)
      // The GCRA envelope of any stretch of time: the burst and what was worked off. Two of them, and a burst for each loss of memory.
      const most = 2 * (LIMIT.count + LIMIT.count * seconds)
      t.diagnostic(
        `${name}: ${passed} in ${seconds.toFixed(2)} s, ${(passed / (LIMIT.count * seconds)).toFixed(2)} times the rate`,
      )
      assert.ok(passed <= most, `${name}: ${passed} passed, at most ${most} may`)
      assert.ok(passed > 0, `${name}: everybody was shut out`)
    }
    try {
      await phase('well', () => undefined)
      await phase('killed', () => server.kill())
      losses += 1
      await phase('restarted, empty', () => server.restart())
      await phase('frozen', () => server.stop())
      await phase('thawed', () => server.cont())
      losses += 1
      await phase('flushed', () => server.flush())
      await phase('well again', () => undefined)
      const seconds = (performance.now() - started) / 1000
      const total = load.admittedSince(started)
      const most = 2 * (LIMIT.count + LIMIT.count * seconds) + losses * LIMIT.count
      t.diagnostic(
        `${total} of ${load.asked()} asked in ${seconds.toFixed(1)} s, at most ${Math.floor(most)} may; longest wait ${load.longest().toFixed(0)} ms`,
      )
      assert.ok(total <= most)
      for (const [i, { alone }] of replicas.entries())
        assert.ok(alone() > (aloneAtStart[i] ?? 0), 'a replica did not count alone')
      await untilTogether(replicas, () => setTimeout(0))
    } finally {
      await load.end()
      await Promise.all(replicas.map(({ valkey }) => valkey.close()))
      server.cont()
      await server.close()
    }
  })
})
