import { createInterface } from 'node:readline/promises'

/** The person in front of a command, if there is one. */
export interface Screen {
  /** Characters of a line; undefined when stdout is no terminal. */
  readonly columns: number | undefined
  /** Asks on stderr and reads one line; undefined when stdin is no terminal, so nobody can be asked. */
  readonly ask: ((question: string) => Promise<string>) | undefined
}

/** The screen of this process. */
export function processScreen(): Screen {
  return {
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    ask: process.stdin.isTTY ? ask : undefined,
  }
}

async function ask(question: string): Promise<string> {
  // On stderr: stdout may be going into a file, and is data.
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await lines.question(question)
  } finally {
    lines.close()
  }
}
