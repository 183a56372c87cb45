import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { Secret } from '../lib/secret.ts'
import { EXIT, type ExitCode } from './exit-codes.ts'
import type { Io } from './io.ts'

/** {@link Io} with what the commands that talk to servers need besides. */
export interface Terminal extends Io {
  /** All of standard input, as text. */
  readStdin(): Promise<string>
  /** The text of a file. @throws {CommandFailure} exit 2 when it cannot be read. */
  readFile(path: string): string
  readonly fetch: typeof fetch
}

/** A command ends with this exit code and this sentence on stderr. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
  readonly exit: ExitCode

  constructor(exit: ExitCode, message: string) {
    super(message)
    this.exit = exit
  }
}

/** The terminal of this process. */
export function processTerminal(files: Io['files']): Terminal {
  return {
    stdout: (data) => void process.stdout.write(data),
    stderr: (talk) => void process.stderr.write(talk),
    env: process.env,
    files,
    exit: (code) => {
      process.exitCode = code
    },
    readStdin: () => text(process.stdin),
    readFile,
    fetch,
  }
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    throw new CommandFailure(EXIT.usage, `cannot read ${path}`)
  }
}

/**
 * A token or another secret named on the command line: `@file`, or nothing (or `-`) for standard input. The secret itself is
 * refused: every user of the machine can read the arguments of a process.
 *
 * @throws {CommandFailure} exit 2.
 */
export async function readSecret(
  terminal: Terminal,
  argument: string | undefined,
  what: string,
): Promise<Secret> {
  if (argument !== undefined && argument !== '-' && !argument.startsWith('@')) {
    throw new CommandFailure(
      EXIT.usage,
      `give the ${what} on standard input or as @file: arguments are readable by other users`,
    )
  }
  const given =
    argument === undefined || argument === '-'
      ? await terminal.readStdin()
      : terminal.readFile(argument.slice(1))
  const value = given.trim()
  if (value === '') throw new CommandFailure(EXIT.usage, `the ${what} is empty`)
  return new Secret(value)
}
