import { hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '../../lib/id.ts'
import { isJsonObject, parseStrictJson } from '../../lib/strict-json.ts'
import type { KeySnapshot, KeySnapshots } from '../../subject/key-snapshots.ts'

/** Bounds of the folder. */
export interface DiskKeySnapshotsOptions {
  readonly folder: string
  /** Most files; the oldest make way. */
  readonly maxFiles: number
  /** Longest file; what is longer is not kept, and not read. */
  readonly maxBytes: number
}

/** A key set is at most 512 KiB as it is fetched; JSON escapes and the frame need some more. */
export const DISK_KEY_SNAPSHOT_DEFAULTS: Omit<DiskKeySnapshotsOptions, 'folder'> = {
  maxFiles: 4096,
  maxBytes: 768 * 1024,
}

const VERSION = 1
const OTHERS_MAY_WRITE = 0o022
const BOUNDS = { maxDepth: 20, maxMembers: 40_000 }
const OURS = /^[0-9a-f]{64}\.json$/
const ABANDONED = /^[0-9a-f]{64}\.json\.[0-9a-f]{16}\.tmp$/
/** A write takes no longer; what is older was left by a process that ended in the middle. */
const ABANDONED_MILLISECONDS = 60_000

/**
 * Snapshots as one small file for each place, named by the SHA-256 of the place, so that no address can name another file. Opens
 * nothing before the first call.
 *
 * Replicas may share the folder: a file is replaced whole by renaming, and the last one wins.
 */
export function createDiskKeySnapshots(
  { random }: { readonly random: Random },
  options: DiskKeySnapshotsOptions,
): KeySnapshots {
  const { folder, maxFiles, maxBytes } = options
  const fileOf = (place: string): string => join(folder, `${hash('sha256', place, 'hex')}.json`)
  /** Files believed to be in the folder; undefined until they were counted. */
  let files: number | undefined

  /** Makes room for one more file, now and then: counting the folder for every save would cost more than the save. */
  async function makeRoom(file: string, signal: AbortSignal): Promise<void> {
    if (await exists(file)) return
    if (files === undefined || files >= maxFiles) {
      files = await sweep(folder, maxFiles - 1, signal)
    }
    files += 1
  }

  return {
    async load(place, signal) {
      signal.throwIfAborted()
      try {
        return parse(await readBounded(fileOf(place), maxBytes), place)
      } catch (error) {
        // Torn, foreign, too large, not readable: as good as none, and replaced by the next reading.
        if (error instanceof Error) return undefined
        throw error
      }
    },

    async save(snapshot, signal) {
      signal.throwIfAborted()
      const text = `${JSON.stringify({ version: VERSION, ...snapshot })}\n`
      if (Buffer.byteLength(text) > maxBytes)
        throw new Error('The key set is too large to be kept.')
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const file = fileOf(snapshot.place)
      await makeRoom(file, signal)
      await replace(file, text, random, signal)
    },
  }
}

/** Complete under another name before it gets its own: whoever reads finds the old file or the new one, also after a crash. */
async function replace(
  file: string,
  text: string,
  random: Random,
  signal: AbortSignal,
): Promise<void> {
  const fresh = `${file}.${random.bytes(8).toString('hex')}.tmp`
  try {
    // 'x': nobody can have put a link there for us to write through.
    const handle = await open(fresh, 'wx', 0o600)
    try {
      await handle.writeFile(text, { signal })
      await handle.sync()
    } finally {
      await handle.close()
    }
    signal.throwIfAborted()
    await rename(fresh, file)
  } catch (error) {
    await unlink(fresh).catch(() => undefined)
    throw error
  }
  // The folder is not synced: a snapshot lost by a power cut costs one more question to the IdP.
}

async function readBounded(file: string, maxBytes: number): Promise<string> {
  // Not through a link, and never waiting for a writer: whoever may write to the folder must not make us read a device or a pipe.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle: FileHandle = await open(file, flags)
  try {
    const facts = await handle.stat()
    if (!facts.isFile()) throw new Error('not a file')
    if (facts.size > maxBytes) throw new Error('too large')
    // We make files that only we may write. Whoever can plant one chooses which keys count while its IdP is down.
    if ((facts.mode & OTHERS_MAY_WRITE) !== 0 && process.platform !== 'win32')
      throw new Error('writable by others')
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

function parse(text: string, place: string): KeySnapshot {
  const content = parseStrictJson(text.trimEnd(), BOUNDS)
  if (!isJsonObject(content) || content['version'] !== VERSION) throw new Error('not a snapshot')
  const { readAt, metadata, jwks, maxAgeSeconds } = content
  if (content['place'] !== place) throw new Error('a snapshot of another place')
  if (typeof readAt !== 'number' || !Number.isSafeInteger(readAt) || readAt < 0)
    throw new Error('a snapshot without a time')
  if (maxAgeSeconds !== undefined && !(typeof maxAgeSeconds === 'number' && maxAgeSeconds >= 0))
    throw new Error('a snapshot with an odd life')
  return { place, readAt, metadata, jwks, maxAgeSeconds }
}

/** Leaves at most `most` snapshots, the youngest; removes what crashed writers left. Gives how many there are now. */
async function sweep(folder: string, most: number, signal: AbortSignal): Promise<number> {
  const found: { file: string; at: number }[] = []
  for (const name of await readdir(folder)) {
    signal.throwIfAborted()
    const isAbandoned = ABANDONED.test(name)
    if (!OURS.test(name) && !isAbandoned) continue
    const file = join(folder, name)
    const at = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => undefined,
    )
    if (at === undefined) continue
    if (!isAbandoned) found.push({ file, at })
    else if (at < Date.now() - ABANDONED_MILLISECONDS) await unlink(file).catch(() => undefined)
  }
  found.sort((one, other) => other.at - one.at)
  for (const { file } of found.slice(most)) await unlink(file).catch(() => undefined)
  return Math.min(found.length, most)
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}
