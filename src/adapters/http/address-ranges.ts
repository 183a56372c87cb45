import { isIPv4, isIPv6 } from 'node:net'

/** An address as a number, so that a range is a comparison. */
interface Address {
  readonly version: 4 | 6
  readonly value: bigint
}

/** All addresses that begin with the same bits. */
export interface Network extends Address {
  readonly prefix: number
}

/** Why an address is none of the public internet. `metadata`: the service of a cloud that hands out credentials to whoever asks. */
export type Kind =
  | 'metadata'
  | 'unspecified'
  | 'loopback'
  | 'private'
  | 'shared'
  | 'link-local'
  | 'multicast'
  | 'reserved'

/**
 * What is not the public internet, narrowest meaning first (IANA special-purpose registries for IPv4 and IPv6, RFC 6890). For IPv6 it
 * is the other way round: only 2000::/3 is given out as global unicast, so everything outside is closed and the list names what is inside.
 */
const RANGES: readonly (readonly [Kind, ...string[]])[] = [
  // AWS, GCP, Azure (also 169.254.169.254), ECS and EKS credentials, Azure's host, Alibaba, Oracle.
  ['metadata', '169.254.169.254', '169.254.170.2', '169.254.170.23', '168.63.129.16'],
  ['metadata', '100.100.100.200', '192.0.0.192', 'fd00:ec2::254', 'fd00:ec2::23', 'fd20:ce::254'],
  ['unspecified', '0.0.0.0/8', '::'],
  ['loopback', '127.0.0.0/8', '::1'],
  ['private', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7', 'fec0::/10'],
  ['shared', '100.64.0.0/10'], // RFC 6598, behind the NAT of a carrier
  ['link-local', '169.254.0.0/16', 'fe80::/10'],
  ['multicast', '224.0.0.0/4', 'ff00::/8'],
  // Protocol assignments, documentation, the dead 6to4 relays, benchmarks, the future, broadcast.
  ['reserved', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15'],
  ['reserved', '198.51.100.0/24', '203.0.113.0/24', '240.0.0.0/4'],
  // Teredo and ORCHID, documentation, 6to4: all of them either lead nowhere or hold an IPv4 address that somebody else chose.
  ['reserved', '2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'],
]

const CLOSED: readonly (readonly [Kind, Network])[] = RANGES.flatMap(([kind, ...texts]) =>
  texts.map((text) => [kind, readNetwork(text)] as const),
)
const GLOBAL_UNICAST = readNetwork('2000::/3')
/** Forms of IPv6 that stand for the IPv4 address in their last 32 bits: RFC 4291 §2.5.5.2, and the well-known prefix of RFC 6052. */
const STANDS_FOR_IPV4 = ['::ffff:0:0/96', '64:ff9b::/96'].map(readNetwork)

/** What no list of networks opens: there is never an API of a partner, and much to lose. */
const NEVER: ReadonlySet<Kind> = new Set(['metadata', 'unspecified', 'multicast'])

/**
 * What is wrong with calling an address; undefined when it is public or in `allow`.
 *
 * An address that is none, or that cannot be read, is `reserved`.
 */
export function closedKind(text: string, allow: readonly Network[]): Kind | undefined {
  const address = plain(readAddress(text))
  if (address === undefined) return 'reserved'
  const kind = kindOf(address)
  if (kind === undefined || NEVER.has(kind)) return kind
  return allow.some((network) => isIn(address, network)) ? undefined : kind
}

/** Whether nothing opens it. */
export function isNeverCalled(kind: Kind): boolean {
  return NEVER.has(kind)
}

/** `10.0.0.0/8`, or one address. @throws {TypeError} when it is neither. */
export function readNetwork(text: string): Network {
  const [first = '', bits, ...more] = text.split('/')
  const address = readAddress(first)
  const widest = address?.version === 4 ? 32 : 128
  const prefix = bits === undefined ? widest : /^[0-9]{1,3}$/.test(bits) ? Number(bits) : widest + 1
  if (address === undefined || prefix > widest || more.length > 0)
    throw new TypeError(`not a network: ${text}`)
  return { ...address, prefix }
}

function kindOf(address: Address): Kind | undefined {
  const known = CLOSED.find(([, network]) => isIn(address, network))
  if (known) return known[0]
  return address.version === 4 || isIn(address, GLOBAL_UNICAST) ? undefined : 'reserved'
}

function isIn({ version, value }: Address, network: Network): boolean {
  if (version !== network.version) return false
  const rest = BigInt((version === 4 ? 32 : 128) - network.prefix)
  return value >> rest === network.value >> rest
}

/** The IPv4 address behind a form of IPv6 that only wraps it: a list of IPv4 networks would not see it otherwise. */
function plain(address: Address | undefined): Address | undefined {
  if (!address || !STANDS_FOR_IPV4.some((network) => isIn(address, network))) return address
  return { version: 4, value: address.value & 0xffff_ffffn }
}

function readAddress(text: string): Address | undefined {
  if (isIPv4(text)) {
    const value = text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n)
    return { version: 4, value }
  }
  // With a zone (`fe80::1%eth0`) it is link-local at best, and only this machine knows where that leads.
  if (!isIPv6(text) || text.includes('%')) return undefined
  // The URL parser writes every form the same way: no dots, one `::`.
  const [head = '', tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return {
    version: 6,
    value: groups.reduce((sum, part) => (sum << 16n) | BigInt(`0x${part}`), 0n),
  }
}
