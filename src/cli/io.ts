import type { ConfigFiles } from '../config/files.ts'
import type { ExitCode } from './exit-codes.ts'

/**
 * What a command may touch of the process it runs in, so that tests run commands without one.
 * Data goes to `stdout`, talk to `stderr`: a pipe behind a command never has to skip a sentence.
 */
export interface Io {
  /** Writes as is; the caller ends its lines. */
  stdout(text: string): void
  /** Writes as is; the caller ends its lines. */
  stderr(text: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  readonly files: ConfigFiles
  /** Remembers how the process is to end; it does not end it, so that buffered output is not lost. */
  exit(code: ExitCode): void
}
