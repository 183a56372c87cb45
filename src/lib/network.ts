/** Network addresses as text: what of two addresses is one caller. Knows no socket. */

/** How a dual-stack socket begins the name of an IPv4 peer: `::ffff:10.0.0.1`. */
export const MAPPED = '::ffff:'

/** An IPv4 address in the guise of IPv6 is the IPv4 address it holds: limits and networks know it by that. */
export function plainAddress(address: string): string {
  return address.startsWith(MAPPED) && address.includes('.')
    ? address.slice(MAPPED.length)
    : address
}

/**
 * What one caller can be expected to hold: an IPv4 address, or the /64 that every IPv6 host may choose its address from (RFC 6177), in one spelling.
 * A zone (`%eth0`) says which way it came and is left out.
 */
export function networkOf(address: string): string {
  const plain = plainAddress(address.toLowerCase().split('%', 1)[0] ?? '')
  if (!plain.includes(':')) return plain
  const [head = '', tail] = plain.split('::', 2)
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - rest.length)
  const all = [...groups, ...Array<string>(zeros).fill('0'), ...rest]
  const first = all.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, ''))
  return `${first.join(':')}::/64`
}
