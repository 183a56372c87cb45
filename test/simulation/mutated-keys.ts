import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { createKeys } from '../../src/keys/keys.ts'
import type { Mutation, Plant } from './mutations.ts'

const KEYS_ROOM = new URL('../../src/keys/', import.meta.url)
const SOURCE = new URL('../../src/', import.meta.url)

/**
 * The `createKeys` of a copy of the keys room with this bug planted. The product itself is not touched.
 *
 * @throws {Error} when the text that the bug replaces does not stand in the file exactly once: the table is then out of date.
 */
export async function keysWith({ name, plants }: Mutation): Promise<typeof createKeys> {
  const folder = await mkdtemp(join(tmpdir(), 'rolemint-mutation-'))
  try {
    const copy = join(folder, 'keys')
    await mkdir(copy)
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    for (const each of await readdir(KEYS_ROOM)) {
      if (!each.endsWith('.ts') || each.endsWith('.test.ts')) continue
      const text = await readFile(new URL(each, KEYS_ROOM), 'utf8')
      const planted = plants
        .filter(({ file }) => file === each)
        .reduce((before, plant) => put(name, before, plant), text)
      // Other rooms are the real ones, so that their errors are the same classes.
      await writeFile(join(copy, each), planted.replaceAll("from '../", `from '${SOURCE.href}`))
    }
    const room: { createKeys: typeof createKeys } = await import(
      pathToFileURL(join(copy, 'keys.ts')).href
    )
    return room.createKeys
  } finally {
    await rm(folder, { recursive: true })
  }
}

function put(name: string, text: string, { from, to }: Plant): string {
  if (text.split(from).length !== 2)
    throw new Error(`The bug "${name}" cannot be planted: its text does not stand there once.`)
  return text.replace(from, () => to)
}
