import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { callbackify } from 'node:util'
import { buildConnector, errors, Pool } from 'undici'
import {
  closedKind,
  isNeverCalled,
  type Kind,
  type Network,
  readNetwork,
} from './address-ranges.ts'

/** Where calls may go. */
export interface EgressOptions {
  /** Networks (`10.0.0.0/8`, `fd12::/16`) or addresses that are called although they are not public. */
  readonly allow: readonly string[]
  /** Loopback is called; only the dev profile may. */
  readonly allowLoopback: boolean
}

/** What the guard takes from outside. */
export interface EgressDeps {
  /** All addresses of a name. Left out: the system's resolver, with its hosts file and search domains. */
  readonly lookup?: (hostname: string) => Promise<readonly ResolvedAddress[]>
}

/** One address of a name. */
export interface ResolvedAddress {
  readonly address: string
  readonly family: number
}

/** How one dependency is connected to. */
export interface PoolOptions {
  /** Sockets at the same time; more requests wait for one, under their own deadline. */
  readonly connections: number
  /** For name, TCP and TLS together. */
  readonly connectMilliseconds: number
  /** Until the headers are there, and between two pieces of a body. A backstop: the caller's signal is the real deadline. */
  readonly idleMilliseconds?: number
}

/** The one place that opens connections to addresses that come from configuration, IdPs or clients. */
export interface Egress {
  /**
   * A pool of connections to one origin, for one dependency: nobody else's slow answers use up its sockets. The caller closes it.
   *
   * Its requests fail with {@link EgressRefused} when the name leads to an address that may not be called.
   */
  pool(origin: string, options: PoolOptions): Pool
}

/** The address of a host may not be called. The message names the host and not the address. */
export class EgressRefused extends Error {
  override readonly name = 'EgressRefused'
  readonly code = 'EGRESS_REFUSED'
  readonly kind: Kind

  constructor(host: string, kind: Kind) {
    super(
      isNeverCalled(kind)
        ? `the address of ${host} is ${WORDS[kind]}, and such addresses are never called`
        : `the address of ${host} is ${WORDS[kind]}; name its network in outbound.allow`,
    )
    this.kind = kind
  }
}

const WORDS: Readonly<Record<Kind, string>> = {
  metadata: 'the metadata service of a cloud',
  unspecified: 'unspecified',
  loopback: 'loopback',
  private: 'private',
  shared: 'shared (behind the NAT of a carrier)',
  'link-local': 'link-local',
  multicast: 'multicast',
  reserved: 'reserved',
}

const LOOPBACK = ['127.0.0.0/8', '::1']
const IDLE_MILLISECONDS = 30_000
const MAX_HEADER_BYTES = 16 * 1024

/**
 * Guards against server-side request forgery: whoever can choose a name or a DNS answer must not make us call inside our network.
 *
 * The address is checked when the connection is made and is the one connected to, so a name that resolves differently the second time
 * (DNS rebinding) gains nothing; TLS and `Host` keep the name. One bad address among several refuses the name: a public name that also
 * points inside is a mistake or an attack. No redirect is followed, and no proxy of the environment is used: undici does neither unless told.
 */
export function createEgress(
  { allow, allowLoopback }: EgressOptions,
  { lookup = lookupAll }: EgressDeps = {},
): Egress {
  const networks = [...allow, ...(allowLoopback ? LOOPBACK : [])].map(readNetwork)

  return {
    pool(origin, { connections, connectMilliseconds, idleMilliseconds = IDLE_MILLISECONDS }) {
      return new Pool(origin, {
        connections,
        connect: guardedConnector(networks, lookup, connectMilliseconds),
        // One request at a time on a connection: behind a slow answer another user's would wait.
        pipelining: 1,
        headersTimeout: idleMilliseconds,
        bodyTimeout: idleMilliseconds,
        maxHeaderSize: MAX_HEADER_BYTES,
      })
    },
  }
}

function guardedConnector(
  networks: readonly Network[],
  lookup: NonNullable<EgressDeps['lookup']>,
  timeout: number,
): buildConnector.connector {
  const connect = buildConnector({
    timeout,
    // HTTP/2 would put all requests on one connection, behind one another's loss and flow control.
    allowH2: false,
    lookup: checkedLookup(networks, lookup),
  })
  return (target, callback) => {
    // Node asks no resolver for an address that is written out, so it has to be looked at here.
    const kind = isIP(target.hostname) === 0 ? undefined : closedKind(target.hostname, networks)
    if (kind === undefined) connect(target, within(timeout, callback))
    // Later, as a connection would fail: undici is still setting up when it calls us.
    else queueMicrotask(() => callback(new EgressRefused(target.hostname, kind), null))
  }
}

/**
 * A callback that hears of a connection in time or not at all. undici's own timers tick once a second, so that 200 ms would be a second;
 * and what comes too late is closed.
 */
function within(milliseconds: number, callback: buildConnector.Callback): buildConnector.Callback {
  let isOver = false
  const timer = setTimeout(() => {
    isOver = true
    callback(new errors.ConnectTimeoutError('no connection in time'), null)
  }, milliseconds)
  return (...outcome) => {
    clearTimeout(timer)
    const [, socket] = outcome
    if (isOver) socket?.destroy()
    else callback(...outcome)
  }
}

/** What sockets resolve names with: all addresses, all checked, and only those are connected to. */
function checkedLookup(
  networks: readonly Network[],
  lookup: NonNullable<EgressDeps['lookup']>,
): LookupFunction {
  const resolve = callbackify(async (hostname: string) => {
    const found = await lookup(hostname)
    const [first] = found
    if (first === undefined) throw new Error('the name has no address')
    for (const { address } of found) {
      const kind = closedKind(address, networks)
      if (kind !== undefined) throw new EgressRefused(hostname, kind)
    }
    return { first, found }
  })
  return (hostname, { all }, callback) =>
    resolve(hostname, (error, checked) => {
      if (error) callback(error, [])
      else if (all) callback(null, [...checked.found])
      else callback(null, checked.first.address, checked.first.family)
    })
}

function lookupAll(hostname: string): Promise<readonly ResolvedAddress[]> {
  return systemLookup(hostname, { all: true })
}
