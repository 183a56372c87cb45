/** The built rolemint, which is what is deployed and therefore what is measured. */
import { spawnSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const ROOT = join(import.meta.dirname, '..')
const SRC = join(ROOT, 'src')
const DIST = join(ROOT, 'dist')

/** What `rolemint` runs as. */
export const BUILT_MAIN = join(DIST, 'main.js')

/** A module of the build, given by its path in `src` without extension; its types are those of the source. */
export async function importBuilt<T>(name: string): Promise<T> {
  return (await import(pathToFileURL(join(DIST, `${name}.js`)).href)) as T
}

/** Builds when any source is newer than what was made of it. @throws {Error} when it does not compile. */
export function ensureBuilt(say: (text: string) => void): void {
  if (!staleSource(SRC, DIST)) return
  say('building dist')
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const project = join(ROOT, 'tsconfig.build.json')
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', project], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`rolemint does not compile:\n${stdout}`)
}

/** The first source file whose build is missing or older. */
export function staleSource(src: string, dist: string): string | undefined {
  const names = readdirSync(src, { recursive: true, encoding: 'utf8' })
  return names.find((name) => {
    if (!name.endsWith('.ts') || name.endsWith('.test.ts')) return false
    const built = statSync(join(dist, name.replace(/\.ts$/, '.js')), { throwIfNoEntry: false })
    return !built || built.mtimeMs < statSync(join(src, name)).mtimeMs
  })
}
