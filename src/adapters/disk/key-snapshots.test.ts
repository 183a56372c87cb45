import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { aSnapshot, keySnapshotsContract } from '../../../test/contracts/key-snapshots.ts'
import { createSystemRandom } from '../../lib/id.ts'
import { createMemoryKeySnapshots } from '../memory/key-snapshots.ts'
import { createDiskKeySnapshots, DISK_KEY_SNAPSHOT_DEFAULTS } from './key-snapshots.ts'

const soon = () => AbortSignal.timeout(30_000)

function openFolder(bounds: Partial<typeof DISK_KEY_SNAPSHOT_DEFAULTS> = {}) {
  const above = mkdtempSync(join(tmpdir(), 'rolemint-snapshots-'))
  const folder = join(above, 'idp-keys')
  const open = () =>
    createDiskKeySnapshots(
      { random: createSystemRandom() },
      { folder, ...DISK_KEY_SNAPSHOT_DEFAULTS, ...bounds },
    )
  return { folder, open, close: () => rmSync(above, { recursive: true, force: true }) }
}

keySnapshotsContract('memory', async () => {
  const snapshots = createMemoryKeySnapshots()
  return { snapshots, reopen: () => snapshots, close: async () => {} }
})

keySnapshotsContract('disk', async () => {
  const { open, close } = openFolder()
  return { snapshots: open(), reopen: open, close: async () => close() }
})

/** One saved snapshot and the file it is in. */
async function withSaved(
  check: (given: { file: string; load: () => Promise<unknown> }) => Promise<void>,
) {
  const { folder, open, close } = openFolder()
  try {
    await open().save(aSnapshot(), soon())
    const [name = ''] = readdirSync(folder)
    await check({
      file: join(folder, name),
      load: () => open().load(aSnapshot().place, soon()),
    })
  } finally {
    close()
  }
}

test('files are for the owner alone, and nothing but the snapshot is left behind', async () => {
  await withSaved(async ({ file }) => {
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(statSync(join(file, '..')).mode & 0o777, 0o700)
    assert.deepEqual(readdirSync(join(file, '..')), [file.split('/').at(-1)])
  })
})

test('a file torn at any byte is as good as none', async () => {
  await withSaved(async ({ file, load }) => {
    const whole = readFileSync(file)
    // The last byte is the line's end.
    for (let length = 0; length < whole.length - 1; length++) {
      writeFileSync(file, whole.subarray(0, length))
      assert.equal(await load(), undefined, `cut at ${length}`)
    }
    writeFileSync(file, whole)
    assert.notEqual(await load(), undefined)
  })
})

test('a file that is no snapshot, or one of another place, is as good as none', async () => {
  await withSaved(async ({ file, load }) => {
    const good = JSON.stringify({ version: 1, ...aSnapshot() })
    for (const text of [
      '',
      'null',
      '[]',
      '{}',
      '<html></html>',
      good.replace('"version":1', '"version":2'),
      good.replace('login.example"', 'evil.example"'),
      good.replace(/"readAt":\d+/, '"readAt":"now"'),
      good.replace(/"readAt":\d+/, '"readAt":-1'),
      good.replace(/"readAt":\d+/, '"readAt":1e300'),
      good.replace('"maxAgeSeconds":600', '"maxAgeSeconds":"600"'),
      good.replace('"maxAgeSeconds":600', '"maxAgeSeconds":-1'),
      good.replace('"version":1', '"version":1,"place":"x"'),
    ]) {
      writeFileSync(file, text)
      assert.equal(await load(), undefined, text.slice(0, 60))
    }
    writeFileSync(file, good)
    assert.notEqual(await load(), undefined)
  })
})

test('a snapshot planted by another user, as a writable file or behind a link, is not read', async () => {
  await withSaved(async ({ file, load }) => {
    chmodSync(file, 0o622)
    assert.equal(await load(), undefined)
    chmodSync(file, 0o600)
    assert.notEqual(await load(), undefined)
    const elsewhere = `${file}.elsewhere`
    writeFileSync(elsewhere, readFileSync(file), { mode: 0o600 })
    rmSync(file)
    symlinkSync(elsewhere, file)
    assert.equal(await load(), undefined)
  })
})

test('a pipe or a folder in the place of a file makes nobody wait', async () => {
  await withSaved(async ({ file, load }) => {
    rmSync(file)
    execFileSync('mkfifo', ['-m', '600', file])
    assert.equal(await load(), undefined)
  })
})

test('what is too large is neither kept nor read, and what was kept stays', async () => {
  const { folder, open, close } = openFolder({ maxBytes: 1000 })
  try {
    await open().save(aSnapshot(), soon())
    const large = aSnapshot({ jwks: { keys: ['x'.repeat(1000)] } })
    await assert.rejects(open().save(large, soon()), /too large/)
    assert.equal((await open().load(large.place, soon()))?.readAt, aSnapshot().readAt)
    const [name = ''] = readdirSync(folder)
    writeFileSync(join(folder, name), JSON.stringify({ version: 1, ...large }))
    assert.equal(await open().load(large.place, soon()), undefined)
  } finally {
    close()
  }
})

test('the number of files is bounded: the oldest make way, and what crashed writers left goes too', async () => {
  const { folder, open, close } = openFolder({ maxFiles: 5 })
  try {
    const snapshots = open()
    for (let n = 0; n < 20; n++) {
      await snapshots.save(aSnapshot({ place: `p${n}` }), soon())
      const seconds = 1_000_000 + n
      for (const name of readdirSync(folder)) {
        const file = join(folder, name)
        if (statSync(file).mtimeMs > 2_000_000_000) utimesSync(file, seconds, seconds)
      }
      assert.ok(readdirSync(folder).length <= 5)
    }
    assert.notEqual(await snapshots.load('p19', soon()), undefined)
    assert.equal(await snapshots.load('p0', soon()), undefined)
    const [name = ''] = readdirSync(folder)
    const left = join(folder, `${name}.0123456789abcdef.tmp`)
    writeFileSync(left, 'torn')
    utimesSync(left, 1, 1)
    await open().save(aSnapshot({ place: 'one more' }), soon())
    assert.equal(readdirSync(folder).filter((entry) => entry.endsWith('.tmp')).length, 0)
  } finally {
    close()
  }
})

test('a folder that cannot be written fails the save and leaves nothing', async () => {
  const { folder, open, close } = openFolder()
  try {
    writeFileSync(folder, 'a file where the folder should be')
    await assert.rejects(open().save(aSnapshot(), soon()))
    assert.equal(await open().load(aSnapshot().place, soon()), undefined)
  } finally {
    close()
  }
})
