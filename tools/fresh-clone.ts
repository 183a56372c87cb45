/**
 * Clones the last commit into an empty folder and runs `npm test` there, as a stranger would: without this folder's
 * packages and without its Node on the PATH. Prints JSON.
 *
 *   node tools/fresh-clone.ts [--unit]      the whole suite, or unit tests alone
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { ROOT } from './run-tests.ts'

const folder = mkdtempSync(join(tmpdir(), 'rolemint-clone-'))
const clone = join(folder, 'rolemint')

/** What npm and this folder put into the environment would help the clone along. */
function strangersEnvironment(): NodeJS.ProcessEnv {
  const env = Object.entries(process.env).filter(
    ([name]) => !/^npm_|^NODE_|^ROLEMINT_|^INIT_CWD$/i.test(name),
  )
  const path = (process.env['PATH'] ?? '').split(delimiter)
  const PATH = path.filter((part) => !part.includes('node_modules')).join(delimiter)
  return { ...Object.fromEntries(env), PATH }
}

try {
  const cloned = spawnSync('git', ['clone', '--quiet', ROOT, clone], { encoding: 'utf8' })
  if (cloned.status !== 0) throw new Error(`git clone failed: ${cloned.stderr}`)
  const started = performance.now()
  const unit = process.argv.includes('--unit') ? ['--', '--unit'] : []
  const tested = spawnSync('npm', ['test', ...unit], {
    cwd: clone,
    env: strangersEnvironment(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 256 * 1024 * 1024,
  })
  const sum = (word: string) =>
    [...tested.stdout.matchAll(new RegExp(`^ℹ ${word} (\\d+)$`, 'gm'))].reduce(
      (total, [, n]) => total + Number(n),
      0,
    )
  console.log(
    JSON.stringify({
      exitCode: tested.status,
      passed: sum('pass'),
      failed: sum('fail'),
      seconds: Math.round((performance.now() - started) / 1000),
      ...(tested.status === 0 ? {} : { end: `${tested.stdout}${tested.stderr}`.slice(-2000) }),
    }),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
