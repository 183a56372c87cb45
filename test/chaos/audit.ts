import { openStores } from '../../src/compose-stores.ts'
import { loadConfig } from '../../src/config/load.ts'
import { digestOf } from '../fakes/jwt.ts'

const STORE_MILLISECONDS = 10_000

/** How many of these tokens the ledger of a deployment does not hold, by the SHA-256 of their signing input. No server needs to run. */
export async function findMissing(configFile: string, tokens: readonly string[]): Promise<number> {
  const { config } = loadConfig({ path: configFile, env: {} })
  const [tenant = ''] = config.tenants.keys()
  const stores = await openStores(config)
  try {
    let missing = 0
    for (const token of tokens) {
      const signal = AbortSignal.timeout(STORE_MILLISECONDS)
      if (!(await stores.ledger.holds(tenant, digestOf(token), signal))) missing += 1
    }
    return missing
  } finally {
    await stores.close()
  }
}
