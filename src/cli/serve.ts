import { Command } from 'commander'
import type { Addresses, Deployment } from '../compose.ts'
import type { openStores as OpenStores, Stores } from '../compose-stores.ts'
import type { Config } from '../config/config.ts'
import type { Loaded } from '../config/load.ts'
import { effectiveTree } from '../config/show.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import { loadOrExplain } from './load-or-explain.ts'
import { refuseRisks, secureProcess, thisMachine } from './process-safety.ts'
import { releaseStartupMemory } from './startup-memory.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

/** `rolemint serve -c FILE`: runs a deployment until it is told to stop. */
export function serveCommand(terminal: Terminal): Command {
  return new Command('serve')
    .description('Run rolemint with a configuration file until SIGTERM or SIGINT.')
    .requiredOption('-c, --config <file>', 'configuration file')
    .option('--set <key=value...>', 'override a setting, e.g. listen.public=127.0.0.1:8080')
    .action(async (options: { config: string; set?: readonly string[] }) => {
      // First of all: the configuration already holds secrets.
      const machine = thisMachine()
      const risks = secureProcess(machine)
      const loaded = loadOrExplain(terminal, options.config, settings(options.set))
      refuseRisks(risks, loaded.config.profile, { machine, terminal })
      const deployment = await start(loaded)
      releaseStartupMemory()
      const { public: open, admin } = await openPorts(deployment)
      terminal.stderr(
        `rolemint serves ${loaded.config.tenants.size} tenants at ${open}, admin ${admin}\n`,
      )
      await stopped(deployment)
    })
}

/** Opens what is durable. @throws {CommandFailure} naming the store that could not be opened. */
export async function openState(
  config: Config,
  parts: Parameters<typeof OpenStores>[1] = {},
): Promise<Stores> {
  const { openStores } = await import('../compose-stores.ts')
  return openStores(config, parts).catch((error: unknown) => {
    throw failure(EXIT.unreachable, `the store (${placeOf(config)}) could not be opened`, error)
  })
}

/** Composes the deployment. @throws {CommandFailure} when its store or one of its keys cannot be opened. */
export async function start({ config, settings: effective }: Loaded): Promise<Deployment> {
  // Loaded here, not with the command line: most commands never need a server.
  const { compose } = await import('../compose.ts')
  try {
    return await compose(config, {
      openStores: openState,
      describeConfig: () => effectiveTree(effective),
    })
  } catch (error) {
    if (error instanceof Error && error.name === 'PrivateHalfError')
      throw failure(EXIT.configInvalid, 'rolemint does not start', error)
    throw error
  }
}

/**
 * Opens the ports, or closes everything again: one port that opened would keep a process alive that serves nobody.
 *
 * @throws {CommandFailure} when one is taken or may not be opened.
 */
export async function openPorts(deployment: Deployment): Promise<Addresses> {
  try {
    return await deployment.listen()
  } catch (error) {
    await deployment.close()
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const exit = LISTEN_EXITS[code]
    if (exit === undefined) throw error
    throw failure(exit, 'a port could not be opened', error)
  }
}

const LISTEN_EXITS: Readonly<Record<string, ExitCode>> = {
  EADDRINUSE: EXIT.conflict,
  EACCES: EXIT.notPermitted,
  EADDRNOTAVAIL: EXIT.configInvalid,
}

/** What went wrong and why, without the stack: the operator has to mend something, not us. */
function failure(exit: ExitCode, what: string, error: unknown): CommandFailure {
  return new CommandFailure(
    exit,
    `${what}: ${error instanceof Error ? error.message : String(error)}`,
  )
}

/** Where the store is, without the address and password of a database. */
function placeOf({ store }: Config): string {
  return store.kind === 'sqlite' ? store.path : 'PostgreSQL'
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
