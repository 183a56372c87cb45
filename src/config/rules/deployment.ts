import { isIP } from 'node:net'
import { type ListenerOptions, type ListenOptions, toListenOptions } from '../../http/options.ts'
import { seconds } from '../../lib/option.ts'
import type { ConfigValues } from '../schema.ts'
import type { Path } from '../tree.ts'
import type { Checked } from '../walk.ts'
import { isLoopbackHost, type Report } from './report.ts'

const SKEW_CAP_SECONDS = 60

/** Rules about the process as a whole: listeners, store, limits. `readText` gives undefined for what cannot be read. */
export function checkDeployment(
  values: ConfigValues,
  readText: (path: string) => string | undefined,
  report: Report,
): void {
  const isDev = values.profile === 'dev'
  const listen = toListenOptions(values.listen)
  checkListeners(listen, isDev, report)
  for (const name of ['public', 'admin'] as const) {
    for (const part of ['cert', 'key'] as const) {
      const file = listen[name].tls?.[part]
      // The text itself goes no further: one of the two files is a private key.
      if (file === undefined || readText(file)?.includes('-----BEGIN ')) continue
      const message = `file ${file} cannot be read, or is no PEM`
      const mend = 'check the path and its permissions'
      report.error('config/missing-file', ['listen', name, 'tls', part], message, mend)
    }
  }
  checkStore(values, report)
  const skew = values.limits?.skew
  if (skew !== undefined && seconds(skew) > SKEW_CAP_SECONDS) {
    const message = `limits.skew is ${skew}; every second of it makes expired tokens live longer`
    report.error(
      'config/skew',
      ['limits', 'skew'],
      message,
      'at most 60s; keep the clocks in step by NTP',
    )
  }
}

function checkListeners(listen: ListenOptions, isDev: boolean, report: Report): void {
  const listeners = (['public', 'admin', 'probes'] as const).flatMap((name) => {
    const listener = listen[name]
    return listener ? [{ name, listener }] : []
  })
  for (const { name, listener } of listeners) {
    const path = ['listen', name]
    if (listener.port > 65_535)
      report.error(
        'config/bad-value',
        path,
        `port ${listener.port} does not exist`,
        'use 1 to 65535',
      )
    if (isDev && !isLoopbackHost(listener.host)) {
      const message = `profile dev never listens on ${listener.host}`
      report.error(
        'config/listen',
        path,
        message,
        `use 127.0.0.1:${listener.port}, or profile: production`,
      )
    }
    checkNetworks(listener.trustedProxies, [...path, 'trustedProxies'], report)
  }
  const isExposed = !isLoopbackHost(listen.admin.host) && !listen.admin.tls
  if (isExposed && !isDev) {
    const message = 'admin tokens would cross the network unencrypted'
    report.warning('config/listen', ['listen', 'admin'], message, 'add tls, or listen on 127.0.0.1')
  }
  const { public: open, admin, probes } = listen
  if (isSameDoor(open, admin)) {
    const message = 'listen.admin is the public listener'
    report.error('config/listen', ['listen', 'admin'], message, 'give it a port of its own')
  }
  if (!probes) return
  const meets = isSameDoor(open, probes) ? 'public' : 'admin'
  // Exactly the admin address means the admin listener itself.
  const isShared = probes.host === admin.host && probes.port === admin.port
  if (isSameDoor(open, probes) || (isSameDoor(admin, probes) && !isShared)) {
    const message = `listen.probes meets the ${meets} listener`
    report.error('config/listen', ['listen', 'probes'], message, 'give it a port of its own')
  }
}

function isAnywhere(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** True when two listeners would meet: the same port, on the same or on every address. Port 0 is never the same twice. */
function isSameDoor(one: ListenerOptions, other: ListenerOptions): boolean {
  if (one.port === 0 || one.port !== other.port) return false
  return one.host === other.host || isAnywhere(one.host) || isAnywhere(other.host)
}

/** Complains about what is neither an address nor `address/prefix`. */
export function checkNetworks(networks: readonly string[], path: Path, report: Report): void {
  for (const [index, network] of networks.entries()) {
    const [address = '', bits, ...more] = network.split('/')
    const version = isIP(address)
    const widest = version === 4 ? 32 : 128
    const isSized = bits === undefined || (/^[0-9]{1,3}$/.test(bits) && Number(bits) <= widest)
    if (version === 0 || !isSized || more.length > 0) {
      const place = [...path, index]
      report.error('config/bad-value', place, 'this is no network', 'write 10.0.0.0/8 or 192.0.2.1')
    }
  }
}

function checkStore(values: ConfigValues, report: Report): void {
  const url = values.store?.postgres?.reveal()
  if (!url || /^postgres(ql)?:\/\/[^\s]+$/.test(url)) return
  const message = 'what is behind store.postgres is no postgres:// URL'
  report.error(
    'config/secret-kind',
    ['store', 'postgres'],
    message,
    'write postgres://user:password@host/database',
  )
}

/** Every URL of the configuration: http only in profile `dev`, and there only to this machine. */
export function checkUrls(tree: Checked, isDev: boolean, report: Report): void {
  for (const { format, hashed, path } of tree.settings) {
    if (format !== 'url' || typeof hashed !== 'string') continue
    if (!URL.canParse(hashed)) {
      report.error('config/bad-value', path, 'this is no URL', 'write https://host/path')
    } else checkScheme(new URL(hashed), path, isDev, report)
  }
}

/** Complains about plain http where it is not allowed. */
export function checkScheme(url: URL, path: Path, isDev: boolean, report: Report): void {
  if (url.protocol !== 'http:' || (isDev && isLoopbackHost(url.hostname))) return
  const message = isDev
    ? 'plain http goes to loopback addresses only, also in profile dev'
    : 'plain http can be read and changed on the way'
  report.error(
    'config/insecure-url',
    path,
    message,
    isDev ? 'use https, or 127.0.0.1' : 'use https',
  )
}
