/** A terminal for commands under test: makers only, no state. */
import assert from 'node:assert/strict'
import { type Command, CommanderError } from 'commander'
import { EXIT } from '../../src/cli/exit-codes.ts'
import { CommandFailure, type Terminal } from '../../src/cli/terminal.ts'
import { machineFiles } from '../../src/config/files.ts'

/** How a command ended, and what it said. */
export interface Ran {
  exit: number
  stdout: string
  stderr: string
}

/** Runs the command that `make` gives as `main.ts` would; whatever of the terminal a test does not name is empty or refused. */
export async function ranCommand(
  make: (terminal: Terminal) => Command,
  line: readonly string[],
  parts: Partial<Terminal> = {},
): Promise<Ran> {
  const ran: Ran = { exit: EXIT.yes, stdout: '', stderr: '' }
  const terminal: Terminal = {
    stdout: (data) => void (ran.stdout += data),
    stderr: (talk) => void (ran.stderr += talk),
    env: { ROLEMINT_ADMIN_TOKEN: 'rma_x' },
    files: machineFiles,
    exit: (code) => void (ran.exit = code),
    readStdin: () => Promise.resolve(''),
    readFile(path) {
      throw new CommandFailure(EXIT.usage, `cannot read ${path}`)
    },
    fetch: () => assert.fail('nothing is asked'),
    ...parts,
  }
  const command = make(terminal)
  for (const each of [command, ...command.commands])
    each.exitOverride().configureOutput({
      writeErr: (text) => terminal.stderr(text),
      writeOut: (text) => terminal.stdout(text),
    })
  try {
    await command.parseAsync(line, { from: 'user' })
  } catch (error) {
    if (error instanceof CommandFailure) {
      ran.exit = error.exit
      ran.stderr += error.message
    } else if (error instanceof CommanderError) ran.exit = EXIT.usage
    else throw error
  }
  return ran
}

/** An admin API that answers everything with this; what it was asked is kept. */
export function adminApi(answer: unknown, status = 200) {
  const asked: (readonly [method: string | undefined, path: string, body: unknown])[] = []
  const fetch: Terminal['fetch'] = (input, init) => {
    const { pathname, search } = new URL(input instanceof Request ? input.url : input)
    const body: unknown = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined
    asked.push([init?.method, pathname + search, body])
    return Promise.resolve(Response.json(answer, { status }))
  }
  return { asked, fetch }
}
