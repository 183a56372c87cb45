import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Found, Part } from '../../skip.ts'
import { freePort } from '../free-port.ts'
import { startRelay } from './relay.ts'
import {
  byIssuer,
  refusalOf,
  type Trusted,
  type Verifier,
  type VerifierOptions,
} from './verifier.ts'

/** An Apache with mod_oauth2 on this machine. */
export interface InstalledApache {
  readonly program: string
  readonly modules: string
}

const PROGRAMS = ['/usr/sbin/apache2', '/usr/sbin/httpd']
const MODULES = ['/usr/lib/apache2/modules', '/usr/lib64/httpd/modules']

/** Debian's packages of it; no Apache that runs as a service is touched. */
export const apacheOauth2: Part<InstalledApache> = {
  name: 'Apache httpd with mod_oauth2',
  mend: 'On Debian: apt-get install apache2 libapache2-mod-oauth2.',
  find(): Found<InstalledApache> {
    const program = PROGRAMS.find((path) => existsSync(path))
    if (program === undefined) return { missing: 'there is no Apache httpd' }
    const modules = MODULES.find((folder) => existsSync(join(folder, 'mod_oauth2.so')))
    return modules === undefined
      ? { missing: 'there is no mod_oauth2' }
      : { found: { program, modules } }
  },
}

const START_MILLISECONDS = 60_000
const DEADLINE_MILLISECONDS = 30_000
const THREADS = 8

/**
 * Apache httpd with mod_oauth2 in front of one file for each issuer: who gets the file was accepted. Each issuer's keys come
 * through a relay, since the module counts nothing.
 */
export async function startApacheVerifier(
  trusted: readonly Trusted[],
  { maxAgeSeconds }: VerifierOptions,
  installed: InstalledApache,
): Promise<Verifier> {
  const folder = mkdtempSync(join(tmpdir(), 'rolemint-apache-'))
  const relay = await startRelay(trusted.map(({ jwksUri }) => jwksUri))
  const port = await freePort()
  writeSite(folder, { port, installed, maxAgeSeconds }, trusted, (index) => relay.uri(index))
  const child = spawn(installed.program, ['-f', join(folder, 'httpd.conf'), '-DFOREGROUND'], {
    stdio: 'ignore',
    env: { PATH: process.env['PATH'] },
  })
  // TERM, not KILL: the parent takes its children with it.
  const killOnExit = () => void child.kill('SIGTERM')
  process.once('exit', killOnExit)
  const base = `http://127.0.0.1:${port}`
  const close = async () => {
    process.removeListener('exit', killOnExit)
    await end(child)
    await relay.close()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await untilServing(child, base, folder)
  } catch (error) {
    await close()
    throw error
  }
  const pathOf = byIssuer(trusted, (_, index) => `${base}/${index}`)
  return {
    kind: 'Apache mod_oauth2',
    verify: (issuer, token) =>
      refusalOf(async () => {
        const response = await fetch(pathOf(issuer), {
          headers: { authorization: `Bearer ${token}` },
          signal: AbortSignal.timeout(DEADLINE_MILLISECONDS),
        })
        const body = await response.text()
        if (response.status === 200 && body === 'accepted') return
        throw new Error(
          `${response.status} ${response.headers.get('www-authenticate') ?? 'claims do not fit'}`,
        )
      }),
    fetches: () => relay.count(),
    close,
  }
}

interface Site {
  readonly port: number
  readonly installed: InstalledApache
  readonly maxAgeSeconds: number
}

function writeSite(
  folder: string,
  { port, installed, maxAgeSeconds }: Site,
  trusted: readonly Trusted[],
  jwksUri: (index: number) => string,
): void {
  // Its own user has to get in.
  chmodSync(folder, 0o755)
  const files = join(folder, 'files')
  mkdirSync(files)
  const modules = ['mpm_event', 'authn_core', 'authz_core', 'oauth2']
  const verifying = [
    'jwks_uri.cache=jwks',
    `jwks_uri.expiry=${maxAgeSeconds}`, // left out it keeps a key set for a day, whatever max-age says
    'expiry=0', // or a token that was accepted once is not looked at again
    'verify.exp=required',
  ].join('&')
  const locations = trusted.map(({ issuer, audience }, index) => {
    writeFileSync(join(files, String(index)), 'accepted')
    // verify.iss=required fails always when keys come from a URI: the module then knows no issuer.
    return `<Location "/${index}">
        AuthType oauth2
        OAuth2TokenVerify jwks_uri ${jwksUri(index)} ${verifying}
        <RequireAll>
          Require oauth2_claim "iss:${issuer}"
          Require oauth2_claim "aud:${audience}"
        </RequireAll>
      </Location>`
  })
  const settings = [
    `ServerRoot "${folder}"`,
    `DefaultRuntimeDir "${folder}"`,
    `PidFile "${folder}/pid"`,
    `ErrorLog "${folder}/error.log"`,
    `DocumentRoot "${files}"`,
    `Listen 127.0.0.1:${port}`,
    'ServerName localhost',
    ...modules.map((name) => `LoadModule ${name}_module "${installed.modules}/mod_${name}.so"`),
    ...(process.getuid?.() === 0 ? ['User nobody', 'Group nogroup'] : []),
    'ServerLimit 1',
    'StartServers 1',
    `ThreadsPerChild ${THREADS}`,
    `MaxRequestWorkers ${THREADS}`,
    `MinSpareThreads ${THREADS}`,
    `MaxSpareThreads ${THREADS}`,
    // A connection that is closed while it is taken again would look like a refusal.
    'KeepAlive Off',
    `OAuth2Cache shm name=jwks&max_entries=${trusted.length + 8}&max_val_size=65536`,
    ...locations,
  ]
  writeFileSync(join(folder, 'httpd.conf'), `${settings.join('\n')}\n`)
}

async function untilServing(child: ChildProcess, base: string, folder: string): Promise<void> {
  const deadline = Date.now() + START_MILLISECONDS
  for (;;) {
    const answer = await fetch(`${base}/0`, { signal: AbortSignal.timeout(2000) }).catch(
      () => undefined,
    )
    if (answer?.status === 401) return
    if (child.exitCode !== null || Date.now() > deadline) {
      const log = join(folder, 'error.log')
      const said = existsSync(log) ? readFileSync(log, 'utf8').slice(-4000) : ''
      throw new Error(`Apache did not start: ${said}`)
    }
    await setTimeout(50)
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  await gone
}
