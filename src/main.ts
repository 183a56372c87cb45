#!/usr/bin/env node
/** Process entry: which command, and how it ends. */
import { Command, CommanderError } from 'commander'
import { accessCommand } from './cli/access.ts'
import { adminCommand } from './cli/admin.ts'
import { clientCommand } from './cli/client.ts'
import { configCommand } from './cli/config.ts'
import { EXIT } from './cli/exit-codes.ts'
import { keysCommand } from './cli/keys.ts'
import { serveCommand } from './cli/serve.ts'
import { statusCommand } from './cli/status.ts'
import { CommandFailure, processTerminal } from './cli/terminal.ts'
import { tokenCommand } from './cli/token.ts'
import { upCommand } from './cli/up.ts'
import { machineFiles } from './config/files.ts'
import { VERSION } from './lib/version.ts'

const terminal = processTerminal(machineFiles)

const program = new Command('rolemint')
  .description("Exchanges a user's IdP token for a role-carrying token of its own.")
  .version(VERSION)
  .showSuggestionAfterError()
  .exitOverride()

for (const command of [
  upCommand(terminal),
  serveCommand(terminal),
  statusCommand(terminal),
  configCommand(terminal),
  tokenCommand(terminal),
  accessCommand(terminal),
  keysCommand(terminal),
  clientCommand(terminal),
  adminCommand(terminal),
]) {
  program.addCommand(command)
}

try {
  await program.parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommandFailure) {
    terminal.stderr(`${error.message.trimEnd()}\n`)
    terminal.exit(error.exit)
  } else if (error instanceof CommanderError) {
    terminal.exit(error.exitCode === 0 ? EXIT.yes : EXIT.usage)
  } else {
    terminal.stderr(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    terminal.exit(EXIT.bug)
  }
}
