/**
 * Runs before `npm start` and `npm test`: installs when the lockfile is not the one that was installed from.
 *
 * Plain CommonJS for any Node from 18 on: the Node 24 that runs everything else is one of the packages installed here.
 * `npm install`, not `npm ci`: the latter refuses a lockfile when a registry lacks a package of a foreign platform.
 */
'use strict'
const { spawnSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const { existsSync, readFileSync, writeFileSync } = require('node:fs')
const { delimiter, join } = require('node:path')

const OLDEST_NODE = [24, 12]
const root = join(__dirname, '..')
const modules = join(root, 'node_modules')
const stampFile = join(modules, '.rolemint-lock')

/** What the installed packages were made from; another platform's node_modules, say on a shared disk, is no use either. */
function wantedStamp() {
  const lock = readFileSync(join(root, 'package-lock.json'))
  return `${createHash('sha256').update(lock).digest('hex')} ${process.platform} ${process.arch}\n`
}

function installedStamp() {
  return existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : ''
}

function install() {
  console.error('rolemint: installing packages (once for each lockfile, about half a minute) ...')
  // include: NODE_ENV=production or an npm setting would leave out the demo and the Node that runs it.
  const args = [
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--include=dev',
    '--include=optional',
    '--loglevel=error',
  ]
  const npm = process.env.npm_execpath
  const done =
    npm && /\.c?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
      : spawnSync('npm', args, {
          cwd: root,
          stdio: ['ignore', 2, 2],
          shell: process.platform === 'win32',
        })
  if (done.error) throw new Error(`npm did not start (${done.error.message})`)
  if (done.status !== 0)
    throw new Error(`npm install ended with ${done.status === null ? done.signal : done.status}`)
}

/** The Node that `npm start` will find: npm puts node_modules/.bin first, where the node-* packages link theirs. */
function checkNode() {
  const path = `${join(modules, '.bin')}${delimiter}${process.env.PATH || ''}`
  const asked = spawnSync('node', ['--version'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: path, Path: path },
    shell: process.platform === 'win32',
  })
  const version = (asked.stdout || '').trim()
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return
  throw new Error(
    `Node ${version || 'none'} was found, but rolemint needs ${OLDEST_NODE.join('.')} or newer, ` +
      `and npm brings none for ${process.platform} ${process.arch}`,
  )
}

try {
  const wanted = wantedStamp()
  if (installedStamp() !== wanted) {
    install()
    checkNode()
    writeFileSync(stampFile, wanted)
  }
} catch (error) {
  console.error(`
rolemint: the packages could not be installed: ${error.message}.
To mend it:
  1. see that npm reaches its registry:   npm ping
  2. start from nothing:                  rm -rf node_modules && npm install --no-save
  3. where npm brings no Node (macOS), install Node ${OLDEST_NODE.join('.')} or newer and try again.`)
  process.exitCode = 1
}
