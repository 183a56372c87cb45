import { Command } from 'commander'
import type { Deployment } from '../compose.ts'
import type { Loaded } from '../config/load.ts'
import { effectiveTree } from '../config/show.ts'
import { EXIT } from './exit-codes.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { releaseStartupMemory } from './startup-memory.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

/** `rolemint serve -c FILE`: runs a deployment until it is told to stop. */
export function serveCommand(terminal: Terminal): Command {
  return new Command('serve')
    .description('Run rolemint with a configuration file until SIGTERM or SIGINT.')
    .requiredOption('-c, --config <file>', 'configuration file')
    .option('--set <key=value...>', 'override a setting, e.g. listen.public=127.0.0.1:8080')
    .action(async (options: { config: string; set?: readonly string[] }) => {
      const loaded = loadOrExplain(terminal, options.config, settings(options.set))
      const deployment = await start(loaded)
      releaseStartupMemory()
      const { public: open, admin } = await deployment.listen()
      terminal.stderr(
        `rolemint serves ${loaded.config.tenants.size} tenants at ${open}, admin ${admin}\n`,
      )
      await stopped(deployment)
    })
}

/** Composes the deployment. @throws {CommandFailure} when a part it cannot do without is missing. */
export async function start({ config, settings: effective }: Loaded): Promise<Deployment> {
  // Loaded here, not with the command line: most commands never need a server.
  const { compose } = await import('../compose.ts')
  return compose(config, { describeConfig: () => effectiveTree(effective) })
}

/** Resolves when the process was told to stop and everything is closed. A second signal ends it at once. */
export async function stopped(deployment: Deployment, before?: () => Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve()
        process.once(signal, () => process.exit(EXIT.bug))
      })
    }
  })
  await before?.()
  await deployment.close()
}

function settings(given: readonly string[] | undefined): ReadonlyMap<string, string> {
  return new Map(
    (given ?? []).map((setting) => {
      const equals = setting.indexOf('=')
      if (equals < 1) throw new CommandFailure(EXIT.usage, '--set takes key=value')
      return [setting.slice(0, equals), setting.slice(equals + 1)]
    }),
  )
}
