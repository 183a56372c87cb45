import { readdirSync, readFileSync, statSync } from 'node:fs'

/** The files of the machine as the loader sees them; synchronous, because nothing else runs while a configuration loads. */
export interface ConfigFiles {
  /** The whole file as UTF-8 text. Throws what `node:fs` throws: an error with a `code` such as `ENOENT`. */
  read(path: string): string
  /** Names (not paths) of what is in a folder; without it, patterns in `include` match nothing. */
  list?(folder: string): readonly string[]
  /** Permission bits of a file (`stat` mode); undefined where the system has none. */
  mode?(path: string): number | undefined
}

/** The real files. */
export const machineFiles: ConfigFiles = {
  read: (path) => readFileSync(path, 'utf8'),
  list: (folder) => readdirSync(folder),
  // Windows makes the bits up: nothing can be concluded from them.
  mode: (path) => (process.platform === 'win32' ? undefined : statSync(path).mode),
}
