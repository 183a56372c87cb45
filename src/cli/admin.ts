import { createHash } from 'node:crypto'
import { Command, Option } from 'commander'
import type { AdminTokenStore } from '../http/admin-tokens.ts'
import { ADMIN_ROLES, type AdminRole } from '../http/options.ts'
import { createSystemRandom } from '../lib/id.ts'
import { Secret } from '../lib/secret.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { openState } from './serve.ts'
import type { Terminal } from './terminal.ts'

const LIFE_MILLISECONDS = 60 * 60 * 1000
const STORE_DEADLINE_MILLISECONDS = 5000

/** `rolemint admin token -c FILE`: the way in when nothing else works, for an hour. */
export function adminCommand(terminal: Terminal): Command {
  const admin = new Command('admin').description('Access for operators.')
  admin
    .command('token')
    .description(
      'Make a break-glass token, valid for an hour. Needs access to the store, so it works without a running server.',
    )
    .requiredOption('-c, --config <file>', 'configuration file of the deployment')
    .addOption(new Option('--role <role>', 'what it may do').choices(ADMIN_ROLES).default('admin'))
    .requiredOption('--by <name>', 'who asks; it is recorded')
    .action(async (options: { config: string; role: AdminRole; by: string }) => {
      const { config } = loadOrExplain(terminal, options.config)
      const stores = await openState(config)
      try {
        const token = await issueAdminToken(stores.adminTokens, options.role, options.by)
        terminal.stdout(`${token.reveal()}\n`)
        terminal.stderr(
          `role ${options.role}, valid for an hour; put it into ROLEMINT_ADMIN_TOKEN\n`,
        )
      } finally {
        await stores.close()
      }
    })
  return admin
}

/** Makes a break-glass token of 256 bits and stores its hash. */
export async function issueAdminToken(
  store: AdminTokenStore,
  role: AdminRole,
  by: string,
): Promise<Secret> {
  const token = `rma_${createSystemRandom().bytes(32).toString('base64url')}`
  const hash = createHash('sha256').update(token).digest()
  const record = { hash, role, by, expiresAt: Date.now() + LIFE_MILLISECONDS }
  await store.add(record, AbortSignal.timeout(STORE_DEADLINE_MILLISECONDS))
  return new Secret(token)
}
