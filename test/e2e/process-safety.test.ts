/** What a crash leaves behind: real processes that abort with a secret in memory, and what is in the core file. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeDeployment } from '../chaos/deployment.ts'
import { bareEnvironment, ROOT, startProgram, startServing } from '../chaos/processes.ts'
import { at } from '../fakes/sts.ts'
import { type Found, type Part, suiteNeeding } from '../skip.ts'

/** Whether core files are written where a process works. */
function coreFiles(): Found<true> {
  const pattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim()
  if (/^\||\//.test(pattern)) return { missing: `core dumps go to ${pattern}` }
  const allowed = spawnSync('sh', ['-c', 'ulimit -c unlimited'], { stdio: 'ignore' })
  return allowed.status === 0 ? { found: true } : { missing: 'the hard limit is lower' }
}

/** Holds 32 secret bytes that it has from its environment in hex, so that they are nowhere as they are but in its memory. */
const holder = (before: string) => `
  ${before}
  globalThis.held = Buffer.from(process.env.CANARY, 'hex')
  process.stderr.write(require('node:fs').readFileSync('/proc/self/coredump_filter', 'utf8') + 'ready\\n')
  setInterval(() => globalThis.held.length, 1000)
`

const SECURED = `
  const { secureProcess, thisMachine } = require(${JSON.stringify(`${ROOT}src/cli/process-safety.ts`)})
  if (secureProcess(thisMachine()).length > 0) process.exit(9)
`

interface Crash {
  readonly filter: string
  /** The core file; undefined when none was written. */
  readonly core: Buffer | undefined
}

async function crash(folder: string, canary: Buffer, before: string): Promise<Crash> {
  // `exec`, so that the signal reaches Node itself; the limit is its own from then on.
  const started = startProgram(
    'sh',
    [
      '-c',
      'ulimit -c unlimited 2>/dev/null; exec "$@"',
      'sh',
      process.execPath,
      '-e',
      holder(before),
    ],
    { cwd: folder, env: bareEnvironment({ CANARY: canary.toString('hex') }) },
  )
  const [, filter = ''] = await started.says(/([0-9a-f]{8})\nready\n/)
  started.kill('SIGABRT')
  const { signal } = await started.ended
  assert.equal(signal, 'SIGABRT')
  const name = readdirSync(folder).find((one) => one.startsWith('core'))
  if (name === undefined) return { filter, core: undefined }
  const file = join(folder, name)
  assert.ok(statSync(file).size < 2 ** 31)
  return { filter, core: readFileSync(file) }
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-core-'))
  try {
    await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const linux: Part<true> = {
  name: '/proc',
  mend: 'Run on Linux.',
  find: () =>
    process.platform === 'linux' ? { found: true } : { missing: `this is ${process.platform}` },
}

// Where the kernel writes core files is not ours to set: elsewhere the filter is all that can be looked at, and the run says so.
suiteNeeding('core files of a crashed process', linux, () => {
  const look = coreFiles()
  const lookedInto = (context: { diagnostic(line: string): void }) => {
    if ('missing' in look) context.diagnostic(`no core file to look into: ${look.missing}`)
    return 'found' in look
  }

  test('control: without the call, a core file holds the secret', async (context) => {
    await inFolder(async (folder) => {
      const canary = randomBytes(32)
      const { core, filter } = await crash(folder, canary, '')
      assert.notEqual(filter, '00000000')
      if (!lookedInto(context)) return
      assert.ok(core, 'no core file was written')
      assert.ok(core.includes(canary), 'the control proves nothing')
    })
  })

  test('an attacker who gets the core file of a crash finds no secret in it', async (context) => {
    await inFolder(async (folder) => {
      const canary = randomBytes(32)
      const { core, filter } = await crash(folder, canary, SECURED)
      assert.equal(filter, '00000000')
      if (!lookedInto(context)) return
      assert.ok(core, 'no core file was written, which proves nothing')
      assert.equal(core.includes(canary), false)
      // Nor half of it, nor as text.
      assert.equal(core.includes(canary.subarray(0, 8)), false)
      assert.equal(core.includes(canary.toString('hex')), false)
    })
  })
})

suiteNeeding('a server that runs', linux, () => {
  test('rolemint serve leaves all memory out of core dumps', async () => {
    const disk = await writeDeployment()
    try {
      const server = await startServing(disk.configFile)
      try {
        // Threads share their memory, and with it this filter: the workers of the store have no other.
        const filter = readFileSync(`/proc/${server.pid}/coredump_filter`, 'utf8')
        assert.equal(filter.trim(), '00000000')
      } finally {
        server.kill('SIGKILL')
        await server.ended
      }
    } finally {
      await disk.close()
    }
  })

  test('rolemint serve in production does not start with an inspector, and exits 3 with the mend', async () => {
    const disk = await writeDeployment((tree) => {
      tree['profile'] = 'production'
      at(tree, 'tenants.acme.sources.hr')['url'] = 'https://hr.acme.example/users/{user}'
    })
    try {
      const started = startProgram(process.execPath, [
        '--inspect=127.0.0.1:0',
        `${ROOT}src/main.ts`,
        'serve',
        '-c',
        disk.configFile,
      ])
      const { code } = await started.ended
      assert.equal(code, 3)
      assert.match(started.stderr(), /inspector[^\n]*\n {2}mend: start without --inspect/)
    } finally {
      await disk.close()
    }
  })
})
