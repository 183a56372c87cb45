/**
 * `rolemint serve` without a ledger: what the ledger-cost row compares with. Build, configuration and all other parts are the
 * same. An entry of the bench, because a switch in the product could cost a deployment its records.
 */

import type * as AdminTokens from '../src/adapters/memory/admin-token-store.ts'
import type * as Consumers from '../src/adapters/memory/consumer-store.ts'
import type * as Cutoffs from '../src/adapters/memory/cutoff-store.ts'
import type * as PrivateKeys from '../src/adapters/memory/private-key-store.ts'
import type * as Rings from '../src/adapters/memory/ring-store.ts'
import type * as Usage from '../src/adapters/memory/usage-store.ts'
import type * as Serve from '../src/cli/serve.ts'
import type * as StartupMemory from '../src/cli/startup-memory.ts'
import type * as Compose from '../src/compose.ts'
import type * as Load from '../src/config/load.ts'
import { importBuilt } from './built.ts'
import { createNoLedger } from './no-ledger.ts'

const memory = 'adapters/memory'
const { compose } = await importBuilt<typeof Compose>('compose')
const { loadConfig } = await importBuilt<typeof Load>('config/load')
const { openPorts, stopped } = await importBuilt<typeof Serve>('cli/serve')
const { releaseStartupMemory } = await importBuilt<typeof StartupMemory>('cli/startup-memory')
const adminTokens = await importBuilt<typeof AdminTokens>(`${memory}/admin-token-store`)
const privateKeys = await importBuilt<typeof PrivateKeys>(`${memory}/private-key-store`)
const rings = await importBuilt<typeof Rings>(`${memory}/ring-store`)
const cutoffs = await importBuilt<typeof Cutoffs>(`${memory}/cutoff-store`)
const usage = await importBuilt<typeof Usage>(`${memory}/usage-store`)
const consumers = await importBuilt<typeof Consumers>(`${memory}/consumer-store`)

const { config } = loadConfig({ path: process.argv[2] ?? '', env: {} })
const stores = {
  ledger: createNoLedger(),
  rings: rings.createMemoryRingStore(),
  cutoffs: cutoffs.createMemoryCutoffStore(),
  usage: usage.createMemoryUsageStore(),
  consumers: consumers.createMemoryConsumerStore(),
  privateKeys: privateKeys.createMemoryPrivateKeyStore(),
  adminTokens: adminTokens.createMemoryAdminTokenStore(),
  close: () => Promise.resolve(),
}
const deployment = await compose(config, { stores })
releaseStartupMemory()
await openPorts(deployment)
await stopped(deployment)
