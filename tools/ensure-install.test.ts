import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'

/** A folder with a lockfile, the script, and an npm that only notes how it was called. */
function makeClone(npmExitCode = 0) {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-install-'))
  mkdirSync(join(folder, 'tools'))
  const script = join(folder, 'tools/ensure-install.cjs')
  cpSync(fileURLToPath(new URL('ensure-install.cjs', import.meta.url)), script)
  const npm = join(folder, 'npm.cjs')
  writeFileSync(
    npm,
    `const fs = require('node:fs')
     fs.mkdirSync('node_modules', { recursive: true })
     fs.appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n')
     process.exitCode = ${npmExitCode}`,
  )
  const lock = (text: string) => writeFileSync(join(folder, 'package-lock.json'), text)
  lock('{}')
  const stamp = join(folder, 'node_modules/.rolemint-lock')
  return {
    lock,
    hasStamp: () => existsSync(stamp),
    run: () => {
      // The script asks `node` on the PATH for its version; that is to be the one that runs this test.
      const PATH = `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`
      const env = { ...process.env, npm_execpath: npm, PATH }
      return spawnSync(process.execPath, [script], { env, encoding: 'utf8' })
    },
    calls: () => {
      const file = join(folder, 'calls')
      return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

suite('installing before start and test', () => {
  test('a clone without packages is installed once, and again when the lockfile changes', () => {
    const clone = makeClone()
    try {
      assert.equal(clone.run().status, 0)
      assert.equal(clone.run().status, 0)
      assert.equal(clone.calls().length, 1)
      clone.lock('{"changed":true}')
      assert.equal(clone.run().status, 0)
      assert.equal(clone.calls().length, 2)
    } finally {
      clone.remove()
    }
  })

  test('the install leaves package.json alone and brings development and platform packages whatever NODE_ENV says', () => {
    const clone = makeClone()
    try {
      clone.run()
      assert.match(clone.calls()[0] ?? '', /^install --no-save .*--include=dev --include=optional/)
    } finally {
      clone.remove()
    }
  })

  test('a failed install says how to mend it, fails, and is tried again next time', () => {
    const clone = makeClone(1)
    try {
      const { status, stderr } = clone.run()
      assert.equal(status, 1)
      assert.match(stderr, /npm install ended with 1\.[^]*To mend it:/)
      assert.equal(clone.hasStamp(), false)
      clone.run()
      assert.equal(clone.calls().length, 2)
    } finally {
      clone.remove()
    }
  })

  test('it runs where only an old Node is: nothing in it needs more than Node 18', () => {
    const script = readFileSync(new URL('ensure-install.cjs', import.meta.url), 'utf8')
    // Newer than 18 and easy to slip in; the syntax itself is checked by the CI, which starts on an old Node.
    assert.doesNotMatch(
      script,
      /toSorted|import\.meta|Promise\.withResolvers|parseEnv|globSync|\bimport\b.*from/,
    )
  })
})
