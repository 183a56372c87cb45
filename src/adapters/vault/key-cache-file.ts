import type { FileHandle, mkdir, open, rename, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Random } from '../../lib/id.ts'
import { isJsonObject, parseStrictJson } from '../../lib/strict-json.ts'

/** The functions of `node:fs/promises` that are used. */
export interface KeyCacheFiles {
  readonly open: typeof open
  readonly rename: typeof rename
  readonly unlink: typeof unlink
  readonly mkdir: typeof mkdir
}

/** A sealed private half as it is in the file. */
export interface CachedKey {
  readonly tenant: string
  readonly kid: string
  /** When its store last said that it has this key. Milliseconds since the epoch. */
  readonly confirmedAt: number
  readonly sealed: Buffer
}

/** The file of a key cache: read whole, replaced whole. */
export interface KeyCacheFile {
  /** All entries; none where there is no file. Rejects when it cannot be read or is not such a file. */
  read(): Promise<readonly CachedKey[]>
  /**
   * Replaces the entries by what `change` makes of them; the same list means that nothing is to be written. Durable on resolve.
   * Changes of one process come one after the other. Of two processes with one file the later may undo what the earlier
   * did a moment ago: an entry is then missing until it is confirmed again, or stays until it is too old.
   */
  change(change: (entries: readonly CachedKey[]) => readonly CachedKey[]): Promise<void>
}

/** Keys of a ring number a handful; this is for a thousand tenants. */
const MAX_BYTES = 8 * 1024 * 1024
const BOUNDS = { maxDepth: 4, maxMembers: 100_000 }

/** Opens nothing before the first call. */
export function createKeyCacheFile(
  { files, random }: { readonly files: KeyCacheFiles; readonly random: Random },
  file: string,
): KeyCacheFile {
  let last: Promise<unknown> = Promise.resolve()

  async function read(): Promise<readonly CachedKey[]> {
    let handle: FileHandle
    try {
      handle = await files.open(file, 'r')
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return []
      throw error
    }
    try {
      const { size } = await handle.stat()
      if (size > MAX_BYTES) throw new Error('The file of the key cache is too large to be one.')
      return parse(await handle.readFile('utf8'))
    } finally {
      await handle.close()
    }
  }

  /** Complete under another name before it gets its own: whoever reads finds the old file or the new one, also after a crash. */
  async function replace(entries: readonly CachedKey[]): Promise<void> {
    const folder = dirname(file)
    await files.mkdir(folder, { recursive: true, mode: 0o700 })
    const fresh = `${file}.${random.bytes(8).toString('hex')}.tmp`
    try {
      // 'x': nobody can have put a link there for us to write through.
      await writeDurably(await files.open(fresh, 'wx', 0o600), render(entries))
      await files.rename(fresh, file)
    } catch (error) {
      await files.unlink(fresh).catch(() => undefined)
      throw error
    }
    // The new name is durable with its folder.
    await syncFolder(files, folder)
  }

  async function apply(change: Parameters<KeyCacheFile['change']>[0]): Promise<void> {
    const before = await read().catch((error: unknown) => {
      if (codeOf(error) !== undefined) throw error
      return [] // a file that is no key cache holds nothing worth keeping
    })
    const after = change(before)
    if (after !== before) await replace(after)
  }

  return {
    read,
    change(change) {
      const next = last.then(() => apply(change))
      last = next.catch(() => undefined)
      return next
    },
  }
}

async function writeDurably(handle: FileHandle, text: string): Promise<void> {
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function syncFolder(files: KeyCacheFiles, folder: string): Promise<void> {
  const handle = await files.open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function render(entries: readonly CachedKey[]): string {
  const keys = entries.map(({ sealed, ...rest }) => ({
    ...rest,
    sealed: sealed.toString('base64'),
  }))
  return `${JSON.stringify({ version: 1, keys })}\n`
}

function parse(text: string): readonly CachedKey[] {
  const content = parseStrictJson(text.trimEnd(), BOUNDS)
  if (!isJsonObject(content) || content['version'] !== 1 || !Array.isArray(content['keys']))
    throw new Error('The file of the key cache is not one of this version.')
  return content['keys'].map((entry: unknown) => {
    const { tenant, kid, confirmedAt, sealed } = isJsonObject(entry) ? entry : {}
    if (
      typeof tenant !== 'string' ||
      typeof kid !== 'string' ||
      typeof confirmedAt !== 'number' ||
      typeof sealed !== 'string'
    )
      throw new Error('The file of the key cache holds an entry that is none.')
    return { tenant, kid, confirmedAt, sealed: Buffer.from(sealed, 'base64') }
  })
}

/** The code of an error of the system; undefined for one of our own. */
function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}
