/** Who sent a request when proxies stand between us and its sender. */
import { BlockList, isIP } from 'node:net'
import { plainAddress } from '../lib/network.ts'

/** Says of a plain address whether it is one of the trusted proxies. @throws {TypeError} when one of those is no network. */
export function createIsProxy(
  trustedProxies: readonly string[],
): (address: string | undefined) => boolean {
  const trusted = networks(trustedProxies)
  return (address) =>
    address !== undefined && trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

const MOST_HOPS = 20

/**
 * The last hop that is no trusted proxy. What stands left of it was written by that hop or by anyone before it, so a caller may put there what it likes.
 * A hop that is no address ends the search: nothing beyond it can be believed.
 */
export function forwardedFor(
  header: string | string[] | undefined,
  isProxy: (address: string) => boolean,
): string | undefined {
  const hops = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',')
  let last: string | undefined
  for (const hop of hops.slice(-MOST_HOPS).toReversed()) {
    const address = addressOf(hop.trim())
    if (address === undefined) return last
    if (!isProxy(address)) return address
    last = address
  }
  return last
}

/** An address as proxies write it: alone, with a port, or in brackets. */
function addressOf(hop: string): string | undefined {
  const bare = /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop
  const plain = plainAddress(bare.toLowerCase())
  // A zone (`%eth0`) means something on the proxy alone.
  return isIP(plain) !== 0 && !plain.includes('%') ? plain : undefined
}

function networks(list: readonly string[]): BlockList {
  const trusted = new BlockList()
  for (const network of list) {
    const [address = '', prefix] = network.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? (version === 6 ? 128 : 32) : Number(prefix)
    if (version === 0 || !Number.isInteger(bits) || bits < 0 || bits > (version === 6 ? 128 : 32))
      throw new TypeError(`not a network: ${network}`)
    trusted.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return trusted
}
