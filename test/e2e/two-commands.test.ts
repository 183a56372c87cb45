/** What a stranger does first: clone, `npm start`, paste the line that the banner shows. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { suite, test } from 'node:test'
import { bareEnvironment, ROOT, type Started, startProgram } from '../chaos/processes.ts'
import { freePort } from '../fakes/free-port.ts'
import { type Part, suiteNeeding } from '../skip.ts'

const READY = /Ctrl-C stops everything/
const INSTALL_MILLISECONDS = 180_000

/** npm and the packages it would install, and a clone to install them in. */
const registry: Part<string> = {
  name: 'a package registry, git, curl and bash',
  mend: 'Install them, and see that `npm ping` answers.',
  find() {
    for (const tool of ['git', 'curl', 'bash', 'npm']) {
      const asked = spawnSync(tool, ['--version'], {
        encoding: 'utf8',
        env: strangersEnvironment(),
      })
      if (asked.status !== 0) return { missing: `${tool} did not start` }
    }
    const inside = spawnSync('git', ['rev-parse', '--verify', 'HEAD'], { cwd: ROOT })
    if (inside.status !== 0) return { missing: 'this folder is no git repository with a commit' }
    // Not `npm ping`: a mirror may serve packages without answering that.
    const asked = spawnSync('npm', ['view', 'lru-cache', 'version', '--fetch-retries=0'], {
      encoding: 'utf8',
      env: strangersEnvironment(),
      timeout: 20_000,
    })
    const found = asked.status === 0 && /^\d+\./.test(asked.stdout)
    return found ? { found: 'npm' } : { missing: 'npm does not reach its registry' }
  },
}

/** The PATH of the machine: neither our packages nor our Node. */
function strangersEnvironment(): NodeJS.ProcessEnv {
  const parts = (process.env['PATH'] ?? '').split(delimiter)
  const npmSettings = Object.entries(process.env).filter(([name]) =>
    // How this machine reaches its registry, as a stranger's machine would be set up too.
    /^(npm_config_|HTTPS?_PROXY$|NO_PROXY$|NODE_EXTRA_CA_CERTS$|SSL_CERT_)/i.test(name),
  )
  return bareEnvironment({
    ...Object.fromEntries(npmSettings),
    PATH: parts.filter((part) => !part.includes('node_modules')).join(delimiter),
  })
}

/** The curl of a banner, which goes over several lines. */
function curlOf(banner: string): string {
  const line = /^ {2}(curl (?:[^\n]*\\\n)*[^\n]*)/m.exec(banner)?.[1]
  assert.ok(line !== undefined, `the banner has no curl: ${banner}`)
  return line
}

/** Runs a line in bash as if pasted into a terminal in this folder. */
function paste(line: string, cwd: string): Record<string, unknown> {
  const pasted = spawnSync('bash', ['-c', line], { cwd, encoding: 'utf8', timeout: 30_000 })
  assert.equal(pasted.status, 0, pasted.stderr)
  return JSON.parse(pasted.stdout) as Record<string, unknown>
}

function assertToken(answer: Record<string, unknown>): void {
  const { access_token: token, issued_token_type: type } = answer
  assert.ok(typeof token === 'string', JSON.stringify(answer))
  assert.equal(type, 'urn:ietf:params:oauth:token-type:access_token')
  const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
    roles?: unknown
  }
  assert.deepEqual(payload.roles, ['orders.admin'])
}

/** Processes that still belong to the group, or work in the folder. */
function leftOver(group: number, folder: string): string[] {
  const listed = spawnSync('ps', ['-eo', 'pid=,pgid=,stat=,args='], { encoding: 'utf8' })
  return listed.stdout.split('\n').filter((line) => {
    const [, pgid, stat = ''] = line.trim().split(/\s+/)
    // A zombie has ended; whoever started it has not asked yet.
    return !stat.startsWith('Z') && (Number(pgid) === group || line.includes(folder))
  })
}

/** Ctrl-C: the whole group is told, and has to be gone. */
async function interrupt(started: Started, folder: string): Promise<void> {
  started.kill('SIGINT')
  await started.ended
  assert.deepEqual(leftOver(started.pid, folder), [])
}

suiteNeeding('fresh clone', registry, () => {
  test('fresh clone: npm start reaches a working curl exchange within 60 s, install included', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'rolemint-stranger-'))
    const clone = join(folder, 'rolemint')
    let started: Started | undefined
    try {
      const cloned = spawnSync('git', ['clone', '--quiet', ROOT, clone], { encoding: 'utf8' })
      assert.equal(cloned.status, 0, cloned.stderr)
      assert.equal(existsSync(join(clone, 'node_modules')), false)

      const [open, admin] = [await freePort(), await freePort()]
      const began = performance.now()
      const ports = ['--public', `127.0.0.1:${open}`, '--admin', `127.0.0.1:${admin}`]
      started = startProgram('npm', ['start', '--', ...ports], {
        cwd: clone,
        env: strangersEnvironment(),
        group: true,
      })
      await started.says(READY, INSTALL_MILLISECONDS)
      assertToken(paste(curlOf(started.stderr()), clone))
      const seconds = (performance.now() - began) / 1000
      t.diagnostic(`clone to token: ${seconds.toFixed(1)} s, install included`)
      assert.ok(seconds <= 60, `it took ${seconds} s`)

      assertNothingTracked(clone)
      await interrupt(started, folder)
    } finally {
      started?.kill('SIGKILL')
      await started?.ended
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

/** What `npm start` makes must not show up as a change that somebody commits by mistake: there are secrets in it. */
function assertNothingTracked(clone: string): void {
  const status = spawnSync('git', ['status', '--porcelain'], { cwd: clone, encoding: 'utf8' })
  assert.equal(status.stdout, '')
}

suite('up', () => {
  test('with packages installed, it takes a moment from the start to the first token', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'rolemint-up-'))
    let started: Started | undefined
    try {
      const [open, admin] = [await freePort(), await freePort()]
      const began = performance.now()
      const ports = ['--public', `127.0.0.1:${open}`, '--admin', `127.0.0.1:${admin}`]
      started = startProgram(process.execPath, [`${ROOT}src/main.ts`, 'up', ...ports], {
        cwd: folder,
        group: true,
      })
      await started.says(READY)
      assertToken(paste(curlOf(started.stderr()), folder))
      const seconds = (performance.now() - began) / 1000
      t.diagnostic(`start to first token: ${seconds.toFixed(2)} s`)
      // Far above what it takes: the bench judges the time, this only tells health from collapse.
      assert.ok(seconds < 10, `it took ${seconds} s`)
      assert.equal(started.stdout(), '')
      await interrupt(started, folder)
    } finally {
      started?.kill('SIGKILL')
      await started?.ended
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('a second time in the same folder it keeps its keys and its secret', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rolemint-up-'))
    const seen: unknown[] = []
    try {
      const [open, admin] = [await freePort(), await freePort()]
      for (const _ of ['first', 'second']) {
        const ports = ['--public', `127.0.0.1:${open}`, '--admin', `127.0.0.1:${admin}`]
        const started = startProgram(process.execPath, [`${ROOT}src/main.ts`, 'up', ...ports], {
          cwd: folder,
          group: true,
        })
        try {
          await started.says(READY)
          const jwks = await (await fetch(`http://127.0.0.1:${open}/jwks`)).text()
          seen.push([jwks, readFileSync(join(folder, '.rolemint/client-secret'), 'utf8')])
          await interrupt(started, folder)
        } finally {
          started.kill('SIGKILL')
          await started.ended
        }
      }
      assert.deepEqual(seen[0], seen[1])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  for (const listener of ['public', 'admin']) {
    test(`it never listens beyond this machine: --${listener} 0.0.0.0 exits 3`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'rolemint-up-'))
      try {
        const args = [`${ROOT}src/main.ts`, 'up', `--${listener}`, '0.0.0.0:8080']
        const started = startProgram(process.execPath, args, { cwd: folder, group: true })
        const { code } = await started.ended
        assert.equal(code, 3, started.stderr())
        assert.match(started.stderr(), /never listens on 0\.0\.0\.0/)
        assert.deepEqual(leftOver(started.pid, folder), [])
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})
