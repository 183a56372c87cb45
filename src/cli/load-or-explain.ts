import { type Loaded, loadConfig } from '../config/load.ts'
import { ConfigError } from '../config/problem.ts'
import { renderProblems } from '../config/render.ts'
import { EXIT } from './exit-codes.ts'
import { CommandFailure, type Terminal } from './terminal.ts'

/** The checked configuration in `path`; warnings go to stderr. @throws {CommandFailure} exit 3, its message the framed problems. */
export function loadOrExplain(
  terminal: Terminal,
  path: string,
  flags: ReadonlyMap<string, string> = new Map(),
): Loaded {
  try {
    const loaded = loadConfig({ path, flags, files: terminal.files, env: terminal.env })
    if (loaded.warnings.length > 0) terminal.stderr(renderProblems(loaded.warnings))
    return loaded
  } catch (error) {
    if (error instanceof ConfigError) {
      throw new CommandFailure(EXIT.configInvalid, renderProblems(error.problems))
    }
    throw error
  }
}
