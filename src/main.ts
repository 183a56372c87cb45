#!/usr/bin/env node
/** Process entry: which command, and how it ends. */
import { Command, CommanderError } from 'commander'
import { commands } from './cli/commands.ts'
import { EXIT, type ExitCode } from './cli/exit-codes.ts'
import { CommandFailure, processTerminal } from './cli/terminal.ts'
import { machineFiles } from './config/files.ts'
import { VERSION } from './lib/version.ts'

const terminal = processTerminal(machineFiles)

const program = new Command('rolemint')
  .description("Exchanges a user's IdP token for a role-carrying token of its own.")
  .version(VERSION)
  .showSuggestionAfterError()
  .exitOverride()

const known = commands(terminal)
const [asked = ''] = process.argv.slice(2)
for (const [name, load] of Object.entries(known)) {
  // Anything else than a command is help, a version or a mistake, and those need to know them all.
  if (Object.hasOwn(known, asked) && name !== asked) continue
  const command = await load()
  program.addCommand(command)
  inheritSettings(command, program)
}

try {
  await program.parseAsync(process.argv)
} catch (error) {
  if (error instanceof CommandFailure) {
    endWith(error.exit, error.message.trimEnd())
  } else if (error instanceof CommanderError) {
    terminal.exit(error.exitCode === 0 ? EXIT.yes : EXIT.usage)
  } else {
    endWith(EXIT.bug, error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
}

/** Commands made apart have settings of their own: without this each would end the process itself, with 1 for a usage error. */
function inheritSettings(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent)
  for (const below of command.commands) inheritSettings(below, command)
}

/** Whatever a failed command left open must not keep the process: it ends once the last words are out. */
function endWith(code: ExitCode, lastWords: string): void {
  process.stderr.write(`${lastWords}\n`, () => process.stdout.write('', () => process.exit(code)))
}
