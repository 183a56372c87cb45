import { basename, dirname } from 'node:path'
import type { ConfigFiles } from '../../src/config/files.ts'

/** Files that exist only here: absolute path → text. */
export function fakeConfigFiles(
  files: Readonly<Record<string, string>>,
  modes: Readonly<Record<string, number>> = {},
): ConfigFiles {
  return {
    read(path) {
      const text = files[path]
      if (text === undefined) throw absent(path)
      return text
    },
    list(folder) {
      const names = Object.keys(files).filter((path) => dirname(path) === folder)
      if (names.length === 0) throw absent(folder)
      return names.map((path) => basename(path))
    },
    mode: (path) => modes[path] ?? 0o600,
  }
}

function absent(path: string): Error {
  return Object.assign(new Error(`no file ${path}`), { code: 'ENOENT' })
}
