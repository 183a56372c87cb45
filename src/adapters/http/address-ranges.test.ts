import assert from 'node:assert/strict'
import { BlockList } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { closedKind, type Kind, readNetwork } from './address-ranges.ts'

const kindOf = (address: string, ...allow: readonly string[]) =>
  closedKind(address, allow.map(readNetwork))

const CLOSED: Readonly<Record<Kind, readonly string[]>> = {
  metadata: ['169.254.169.254', '169.254.170.2', '100.100.100.200', '168.63.129.16'],
  unspecified: ['0.0.0.0', '0.1.2.3', '::', '0:0:0:0:0:0:0:0'],
  loopback: ['127.0.0.1', '127.255.255.254', '::1'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fd12::1'],
  shared: ['100.64.0.1', '100.127.255.255'],
  'link-local': ['169.254.0.1', 'fe80::1', 'febf::1'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  reserved: [
    '192.0.2.1',
    '198.18.0.1',
    '198.51.100.7',
    '203.0.113.9',
    '240.0.0.1',
    '255.255.255.255',
    '100::1',
    '2001:db8::1',
    '3fff::1',
    '4000::1',
  ],
}

test('everything that is not the public internet is closed, by name', () => {
  for (const [kind, addresses] of Object.entries(CLOSED))
    for (const address of addresses) assert.equal(kindOf(address), kind, address)
  assert.equal(kindOf('fd00:ec2::254'), 'metadata')
})

test('the neighbours of closed ranges are open', () => {
  for (const address of [
    '1.1.1.1',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '169.253.255.255',
    '172.15.255.255',
    '172.32.0.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450::1',
    '2001:4860:4860::8888',
  ])
    assert.equal(kindOf(address), undefined, address)
})

test('an inner address dressed as IPv6 is seen through (mapped, NAT64) or refused as such (6to4, Teredo, compatible)', () => {
  for (const [address, kind] of [
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['0:0:0:0:0:ffff:a00:1', 'private'],
    ['::FFFF:169.254.169.254', 'metadata'],
    ['64:ff9b::a9fe:a9fe', 'metadata'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['64:ff9b:1::a00:1', 'reserved'],
    ['2002:7f00:1::', 'reserved'],
    ['2001:0:4136:e378:8000:63bf:3fff:fdd2', 'reserved'],
    ['::127.0.0.1', 'reserved'],
    ['::ffff:0:127.0.0.1', 'reserved'],
  ] as const)
    assert.equal(kindOf(address), kind, address)
  assert.equal(kindOf('::ffff:1.1.1.1'), undefined)
  assert.equal(kindOf('64:ff9b::1.1.1.1'), undefined)
})

test('what is no address is closed', () => {
  for (const text of ['', 'localhost', '10.0.0', '010.0.0.1', '1.1.1.1/8', 'fe80::1%eth0', '::g'])
    assert.equal(kindOf(text), 'reserved', text)
})

test('a listed network is open, and only that', () => {
  assert.equal(kindOf('10.1.2.3', '10.1.0.0/16'), undefined)
  assert.equal(kindOf('::ffff:10.1.2.3', '10.1.0.0/16'), undefined)
  assert.equal(kindOf('10.2.0.1', '10.1.0.0/16'), 'private')
  assert.equal(kindOf('10.1.2.3', '10.1.2.4', '10.1.2.3'), undefined)
  assert.equal(kindOf('fd12:3::1', 'fd12::/16'), undefined)
  assert.equal(kindOf('127.0.0.1', '::/0'), 'loopback')
})

test('no list opens the metadata service of a cloud, multicast, or no address at all', () => {
  for (const kind of ['metadata', 'multicast', 'unspecified'] as const)
    for (const address of CLOSED[kind])
      assert.equal(kindOf(address, '0.0.0.0/0', '::/0', '169.254.0.0/16'), kind, address)
})

test('a network that is none is refused', () => {
  for (const text of [
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '::/129',
    'x/8',
    '10/8',
    '1.1.1.1/8/8',
  ])
    assert.throws(() => readNetwork(text), TypeError, text)
})

test('a network holds the same addresses as for Node', () => {
  const v4 = fc.ipV4().map((address) => ({ address, family: 'ipv4' as const, widest: 32 }))
  const v6 = fc.ipV6().map((address) => ({ address, family: 'ipv6' as const, widest: 128 }))
  const pair = fc.oneof(fc.tuple(v4, v4), fc.tuple(v6, v6))
  fc.assert(
    fc.property(pair, fc.nat(128), ([network, one], bits) => {
      const prefix = bits % (network.widest + 1)
      const list = new BlockList()
      list.addSubnet(network.address, prefix, network.family)
      const inside = list.check(one.address, one.family)
      const kind = kindOf(one.address)
      const allowed = kindOf(one.address, `${network.address}/${prefix}`)
      const opens = kind === undefined || !['metadata', 'multicast', 'unspecified'].includes(kind)
      // Mapped addresses are IPv4 to us and both to Node.
      fc.pre(!one.address.startsWith('::'))
      assert.equal(allowed, inside && opens ? undefined : kind)
    }),
    { numRuns: 2000 },
  )
})
