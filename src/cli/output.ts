import { Option } from 'commander'
import { stringify } from 'yaml'
import type { Terminal } from './terminal.ts'

/** How results are printed. */
const FORMATS = ['table', 'json', 'yaml'] as const

/** One of the formats. */
export type Format = (typeof FORMATS)[number]

/** The option by which a command is told how to print. */
export function outputOption(): Option {
  return new Option('-o, --output <format>', 'how to print').choices(FORMATS).default('table')
}

/** Prints the same facts for a person or a machine. `rows` is how the table shows them, first row the heads. */
export function print(
  terminal: Terminal,
  format: Format,
  facts: unknown,
  rows: readonly (readonly string[])[],
): void {
  if (format === 'json') terminal.stdout(`${JSON.stringify(facts, null, 2)}\n`)
  else if (format === 'yaml') terminal.stdout(stringify(facts))
  else terminal.stdout(table(rows))
}

/** Columns as wide as their widest cell, two spaces apart. Control characters of untrusted text cannot reach the terminal. */
export function table(rows: readonly (readonly string[])[]): string {
  const clean = rows.map((row) => row.map(printable))
  const widths: number[] = []
  for (const row of clean)
    row.forEach((cell, index) => void (widths[index] = Math.max(widths[index] ?? 0, cell.length)))
  return clean
    .map(
      (row) =>
        `${row
          .map((cell, index) => cell.padEnd(widths[index] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}

/** The text without control and bidirectional characters, which could rewrite what the terminal shows. */
export function printable(given: string): string {
  return given.replace(/[\p{Cc}\p{Bidi_Control}]/gu, '?')
}
