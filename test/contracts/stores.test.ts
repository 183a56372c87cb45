import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe } from 'node:test'
import { createMemoryAdminTokenStore } from '../../src/adapters/memory/admin-token-store.ts'
import { createMemoryConsumerStore } from '../../src/adapters/memory/consumer-store.ts'
import { createMemoryCutoffStore } from '../../src/adapters/memory/cutoff-store.ts'
import { createMemoryLedger } from '../../src/adapters/memory/ledger.ts'
import { createMemoryPrivateKeyStore } from '../../src/adapters/memory/private-key-store.ts'
import { createMemoryRingStore } from '../../src/adapters/memory/ring-store.ts'
import { createMemoryUsageStore } from '../../src/adapters/memory/usage-store.ts'
import { createPostgresStore } from '../../src/adapters/sql/postgres-store.ts'
import { createSqliteStore } from '../../src/adapters/sql/sqlite-store.ts'
import type { SqlStore } from '../../src/adapters/sql/store.ts'
import { createSystemRandom } from '../../src/lib/id.ts'
import { Secret } from '../../src/lib/secret.ts'
import { type Postgres, startPostgres } from '../fakes/postgres.ts'
import { postgres as postgresPart, suiteNeeding } from '../skip.ts'
import { adminTokenStoreContract } from './admin-token-store.ts'
import { consumerStoreContract } from './consumer-store.ts'
import { cutoffStoreContract } from './cutoff-store.ts'
import { ledgerContract } from './ledger.ts'
import { privateKeyStoreContract } from './private-key-store.ts'
import { ringStoreContract } from './ring-store.ts'
import { usageStoreContract } from './usage-store.ts'

function settableClock() {
  let milliseconds = 0
  return {
    now: () => milliseconds,
    set: (to: number) => {
      milliseconds = to
    },
  }
}

const close = async () => {}

type Clock = ReturnType<typeof settableClock>

/** A place where state is kept: opens stores on it, as often as wanted. */
interface Place {
  readonly open: (clock: Clock) => Promise<SqlStore>
  readonly remove: () => void
}

/** Two stores over one place, and whatever is opened later; all closed together. */
async function openTwo(place: Place) {
  const clock = settableClock()
  let stores = await Promise.all([place.open(clock), place.open(clock)])
  const closeAll = async () => {
    await Promise.all(stores.map((store) => store.close()))
  }
  const [first, second] = stores
  return {
    first,
    second,
    setTime: clock.set,
    async reopen() {
      await closeAll()
      const store = await place.open(clock)
      stores = [store] as unknown as typeof stores
      return store
    },
    async close() {
      await closeAll()
      place.remove()
    },
  }
}

function sqlContracts(name: string, newPlace: () => Promise<Place>): void {
  const kek = new Secret(Buffer.alloc(32, 7))
  const open = async () => openTwo(await newPlace())

  ledgerContract(name, async () => {
    const two = await open()
    return {
      ...two,
      ledger: two.first.ledger,
      second: two.second.ledger,
      reopen: async () => (await two.reopen()).ledger,
    }
  })
  ringStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      rings: two.first.rings,
      second: two.second.rings,
      reopen: async () => (await two.reopen()).rings,
    }
  })
  privateKeyStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      keys: two.first.privateKeys(kek),
      second: two.second.privateKeys(kek),
      reopen: async () => (await two.reopen()).privateKeys(kek),
    }
  })
  adminTokenStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      tokens: two.first.adminTokens,
      second: two.second.adminTokens,
      reopen: async () => (await two.reopen()).adminTokens,
    }
  })
  cutoffStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      cutoffs: two.first.cutoffs,
      second: two.second.cutoffs,
      reopen: async () => (await two.reopen()).cutoffs,
    }
  })
  usageStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      usage: two.first.usage,
      second: two.second.usage,
      reopen: async () => (await two.reopen()).usage,
    }
  })
  consumerStoreContract(name, async () => {
    const two = await open()
    return {
      ...two,
      consumers: two.first.consumers,
      second: two.second.consumers,
      reopen: async () => (await two.reopen()).consumers,
    }
  })
}

describe('memory', () => {
  ledgerContract('memory', async () => {
    const clock = settableClock()
    const ledger = createMemoryLedger({ clock })
    return { ledger, second: ledger, setTime: clock.set, reopen: async () => ledger, close }
  })
  ringStoreContract('memory', async () => {
    const rings = createMemoryRingStore()
    return { rings, second: rings, reopen: async () => rings, close }
  })
  privateKeyStoreContract('memory', async () => {
    const keys = createMemoryPrivateKeyStore()
    return { keys, second: keys, reopen: async () => keys, close }
  })
  adminTokenStoreContract('memory', async () => {
    const tokens = createMemoryAdminTokenStore()
    return { tokens, second: tokens, reopen: async () => tokens, close }
  })
  cutoffStoreContract('memory', async () => {
    const cutoffs = createMemoryCutoffStore()
    return { cutoffs, second: cutoffs, reopen: async () => cutoffs, close }
  })
  usageStoreContract('memory', async () => {
    const usage = createMemoryUsageStore()
    return { usage, second: usage, reopen: async () => usage, close }
  })
  consumerStoreContract('memory', async () => {
    const consumers = createMemoryConsumerStore()
    return { consumers, second: consumers, reopen: async () => consumers, close }
  })
})

describe('sqlite', () => {
  sqlContracts('sqlite', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rolemint-sqlite-'))
    const path = join(folder, 'state.db')
    return {
      open: (clock) => createSqliteStore({ clock, random: createSystemRandom() }, { path }),
      remove: () => rmSync(folder, { recursive: true, force: true }),
    }
  })
})

suiteNeeding('postgres', postgresPart, (native) => {
  // Each test has a database of its own, so the suites may run side by side; most of their time is waiting.
  describe('one server', { concurrency: 4 }, () => {
    let postgres: Postgres | undefined
    before(async () => {
      postgres = await startPostgres(native, { fsync: false })
    })
    after(() => postgres?.stop())

    sqlContracts('postgres', async () => {
      if (postgres === undefined) throw new Error('PostgreSQL was not started.')
      const url = await postgres.createDatabase()
      return {
        open: (clock) => createPostgresStore({ clock, random: createSystemRandom() }, { url }),
        remove: () => {},
      }
    })
  })
})
