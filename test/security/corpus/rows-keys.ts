/** Rows 16-35: which key, by which algorithm, and what a header must not say about it. */
import { constants, createHmac, createPublicKey, hash, privateEncrypt } from 'node:crypto'
import type { AlgorithmName } from '../../../src/subject/options.ts'
import { base64url, newTestKey, signInput } from '../../fakes/jwt.ts'
import { type Attack, attacks, each, IDP_DOORS, withHeader } from './attack.ts'
import { type Forge, parts } from './forge.ts'

const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n

/** A good token whose signature is replaced by what `change` makes of it. */
const resigned =
  (change: (signature: Buffer, input: string, forge: Forge) => Buffer): Attack['spoil'] =>
  (forge) => {
    const token = forge.token()
    const [header, payload, signature] = parts(token)
    const input = `${header}.${payload}`
    return `${input}.${change(Buffer.from(signature, 'base64url'), input, forge).toString('base64url')}`
  }

const scalar = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
const pair = (r: bigint, s: bigint): Attack['spoil'] =>
  resigned(() => Buffer.concat([scalar(r), scalar(s)]))
const r = (signature: Buffer): Buffer => signature.subarray(0, 32)
const s = (signature: Buffer): Buffer => signature.subarray(32)

/** A JWS keyed by text that anybody can have (CVE-2023-48223). */
const hmac =
  (alg: string, secretOf: (forge: Forge) => string | Buffer): Attack['spoil'] =>
  (forge) => {
    const input = `${base64url(JSON.stringify({ ...forge.header({ alg }), kid: forge.keys.rs.kid }))}.${base64url(JSON.stringify(forge.claims()))}`
    return `${input}.${createHmac(`sha${alg.slice(2)}`, secretOf(forge))
      .update(input)
      .digest('base64url')}`
  }
const publicRsa = (forge: Forge) => createPublicKey(forge.keys.rs.privateKey)
const pem = (forge: Forge): string =>
  publicRsa(forge).export({ type: 'spki', format: 'pem' }).toString()

/** Signed by one key of the issuer as the algorithm of another. */
const as =
  (key: 'es' | 'rs' | 'ps' | 'ed', alg: string, signAs?: AlgorithmName): Attack['spoil'] =>
  (forge) =>
    forge.token(
      {},
      { alg, kid: forge.keys[key].kid },
      {
        key: forge.keys[key],
        ...(signAs === undefined ? {} : { signAs }),
      },
    )

/** An RSA block of 256 bytes: type, filling, a zero, the content, and bytes behind it. */
function block(type: number, fill: number, content: Buffer, tail = 0): Buffer {
  const filling = Buffer.alloc(253 - content.length - tail, fill)
  return Buffer.concat([
    Buffer.from([0, type]),
    filling,
    Buffer.alloc(1),
    content,
    Buffer.alloc(tail, 0x41),
  ])
}
/** An RS256 token over a block of our making. */
const padded =
  (blockOf: (info: Buffer, digest: Buffer) => Buffer): Attack['spoil'] =>
  (forge) => {
    const { rs } = forge.keys
    const [header, payload] = parts(forge.token({}, { alg: 'RS256', kid: rs.kid }, { key: rs }))
    const digest = hash('sha256', `${header}.${payload}`, 'buffer')
    const info = Buffer.concat([
      Buffer.from('3031300d060960864801650304020105000420', 'hex'),
      digest,
    ])
    const signature = privateEncrypt(
      { key: rs.privateKey, padding: constants.RSA_NO_PADDING },
      blockOf(info, digest),
    )
    return `${header}.${payload}.${signature.toString('base64url')}`
  }
const WITHOUT_NULL = Buffer.from('302f300b06096086480165030402010420', 'hex')

const salted =
  (saltLength: number): Attack['spoil'] =>
  (forge) =>
    forge.token({}, { alg: 'PS256', kid: forge.keys.ps.kid }, { key: forge.keys.ps, saltLength })

/** A good EdDSA token with another signature. */
const edSigned =
  (change: (signature: Buffer) => Buffer): Attack['spoil'] =>
  (forge) => {
    const { ed } = forge.keys
    const [header, payload, signature] = parts(
      forge.token({}, { alg: 'EdDSA', kid: ed.kid }, { key: ed }),
    )
    return `${header}.${payload}.${change(Buffer.from(signature, 'base64url')).toString('base64url')}`
  }

const turned = (bytes: Buffer): Buffer => Buffer.from([...bytes].toReversed())

/** The same S, as RFC 8032 §5.1.7 forbids it: grown by the order of the group. S is little-endian. */
function addOrder(signature: Buffer): Buffer {
  const grown = BigInt(`0x${turned(signature.subarray(32)).toString('hex')}`) + ED25519_ORDER
  const big = Buffer.from(grown.toString(16).padStart(64, '0'), 'hex')
  return Buffer.concat([signature.subarray(0, 32), turned(big)])
}

/** Signed by a key of the attacker, which the header brings along or points to. */
const withEvilKey =
  (
    headerOf: (evil: object, origin: string) => Readonly<Record<string, unknown>>,
  ): Attack['spoil'] =>
  (forge, world) => {
    const evil = newTestKey('ES256', forge.keys.es.kid)
    return forge.token({}, headerOf(evil.publicJwk, world.attacker.origin), { key: evil })
  }
/** The same header on a token that is signed as it should be. */
const withGoodKey =
  (headerOf: (origin: string) => Readonly<Record<string, unknown>>): Attack['spoil'] =>
  (forge, world) =>
    forge.token({}, headerOf(world.attacker.origin))

const ASKED = { outbound: 1 } as const

export const KEY_ROWS: readonly Attack[] = [
  ...attacks(16, 'algorithm_not_allowed', {
    'HS256 with the PEM of the RSA key': hmac('HS256', pem),
    'HS256 with the PEM and no newline': hmac('HS256', (forge) => pem(forge).trimEnd()),
    'HS256 with the PEM behind a space (CVE-2026-34950)': hmac(
      'HS256',
      (forge) => ` ${pem(forge)}`,
    ),
    'HS256 with the PEM in PKCS#1': hmac('HS256', (forge) =>
      publicRsa(forge).export({ type: 'pkcs1', format: 'pem' }).toString(),
    ),
    'HS256 with the DER': hmac('HS256', (forge) =>
      publicRsa(forge).export({ type: 'spki', format: 'der' }),
    ),
    'HS256 with the JWK': hmac('HS256', (forge) => JSON.stringify(forge.keys.rs.publicJwk)),
    'HS256 with the modulus': hmac('HS256', (forge) =>
      Buffer.from(forge.keys.rs.publicJwk.n ?? '', 'base64url'),
    ),
    'HS384 with the PEM': hmac('HS384', pem),
    'HS512 with the PEM': hmac('HS512', pem),
  }),

  ...attacks(17, 'algorithm_not_allowed', {
    'HS256 with an empty key (CVE-2026-44699)': hmac('HS256', () => ''),
    'HS256 with a zero byte': hmac('HS256', () => Buffer.alloc(1)),
    'HS256 with the word undefined': hmac('HS256', () => 'undefined'),
  }),

  ...attacks(18, 'algorithm_not_allowed', {
    'RS256 by the PS256 key': as('ps', 'RS256', 'RS256'),
    'PS256 by the RS256 key': as('rs', 'PS256', 'PS256'),
    'ES256 named with the key of RS256': as('rs', 'ES256'),
    'RS256 named with the key of ES256': as('es', 'RS256'),
    'EdDSA named with the key of ES256': as('es', 'EdDSA'),
    'ES384 named with a key on P-256': as('es', 'ES384', 'ES384'),
  }),

  ...attacks(19, 'algorithm_not_allowed', {
    'ES384 by a key that the issuer publishes but may not use': (forge, { foreignAlgorithm }) =>
      forge.token({}, { alg: 'ES384', kid: foreignAlgorithm.kid }, { key: foreignAlgorithm }),
    'RS512 by the RS256 key': as('rs', 'RS512', 'RS512'),
  }),

  ...attacks(20, 'invalid_signature', {
    'r = s = 0 (CVE-2022-21449)': pair(0n, 0n),
    'r = 0': resigned((signature) => Buffer.concat([scalar(0n), s(signature)])),
    's = 0': resigned((signature) => Buffer.concat([r(signature), scalar(0n)])),
    'r = s = n': pair(P256_ORDER, P256_ORDER),
    'r = n, s = 1': pair(P256_ORDER, 1n),
    'r = 1, s = n': pair(1n, P256_ORDER),
    'r = 0, s = n': pair(0n, P256_ORDER),
    'r = s = 1': pair(1n, 1n),
    'r = s = n - 1': pair(P256_ORDER - 1n, P256_ORDER - 1n),
    'all bits set': resigned(() => Buffer.alloc(64, 0xff)),
    's and r exchanged': resigned((signature) => Buffer.concat([s(signature), r(signature)])),
    '63 bytes': resigned((signature) => signature.subarray(0, 63)),
    '65 bytes, a zero behind': resigned((signature) => Buffer.concat([signature, Buffer.alloc(1)])),
    '65 bytes, a zero in front': resigned((signature) =>
      Buffer.concat([Buffer.alloc(1), signature]),
    ),
    '128 bytes, each half padded': resigned((signature) =>
      Buffer.concat([Buffer.alloc(32), r(signature), Buffer.alloc(32), s(signature)]),
    ),
    'DER-encoded': resigned((signature) => der(signature)),
    'signed as ES384': (forge) => forge.token({}, {}, { signAs: 'ES384' }),
  }),

  ...attacks(21, 'invalid_signature', {
    'block type 2': padded((info) => block(2, 0xff, info)),
    'block type 0': padded((info) => block(0, 0, info)),
    'filled with zeros': padded((info) => block(1, 0, info)),
    'filled with 0xfe': padded((info) => block(1, 0xfe, info)),
    'bytes behind the digest (CVE-2006-4339)': padded((info) => block(1, 0xff, info, 32)),
    'hardly any filling': padded((info) => block(1, 0xff, info, 200)),
    'no NULL in the algorithm': padded((_, digest) =>
      block(1, 0xff, Buffer.concat([WITHOUT_NULL, digest])),
    ),
    'the digest alone': padded((_, digest) => block(1, 0xff, digest)),
    'no digest': padded(() => block(1, 0xff, Buffer.alloc(0))),
    'another token of the same key': (forge) => {
      const { rs } = forge.keys
      const sign = (over: object) =>
        parts(forge.token({ ...over }, { alg: 'RS256', kid: rs.kid }, { key: rs }))
      const [header, payload] = sign({ sub: 'root' })
      return `${header}.${payload}.${sign({})[2]}`
    },
  }),

  ...attacks(
    22,
    'invalid_signature',
    each([0, 20, 31, 33, 48, 64], (length) => salted(length)),
  ),
  ...attacks(22, 'invalid_signature', {
    'one bit changed': (forge, world) => {
      const [header, payload, signature] = parts(salted(32)(forge, world))
      const bytes = Buffer.from(signature, 'base64url')
      bytes[100] = (bytes[100] ?? 0) ^ 1
      return `${header}.${payload}.${bytes.toString('base64url')}`
    },
    'PKCS#1 v1.5 instead': as('ps', 'PS256', 'RS256'),
    'SHA-384 instead': as('ps', 'PS256', 'PS384'),
  }),

  ...attacks(23, 'invalid_signature', {
    none: resigned(() => Buffer.alloc(0)),
    'one byte': resigned((signature) => signature.subarray(0, 1)),
    half: resigned((signature) => signature.subarray(0, 32)),
    zeros: resigned(() => Buffer.alloc(64)),
    'of another token': (forge) => {
      const [header, payload] = parts(forge.token({ sub: 'root' }))
      return `${header}.${payload}.${parts(forge.token())[2]}`
    },
    'of another header': (forge) => {
      const jti = { jti: 'one' }
      const [header] = parts(forge.token(jti, { x: 1 }))
      const [, payload, signature] = parts(forge.token(jti))
      return `${header}.${payload}.${signature}`
    },
    'of the payload alone': resigned((_, input, forge) =>
      signInput('ES256', forge.keys.es.privateKey, input.split('.')[1] ?? ''),
    ),
    'by a stranger with the same kid': (forge) =>
      forge.token({}, {}, { key: newTestKey('ES256', forge.keys.es.kid) }),
  }),

  ...attacks(24, 'invalid_signature', {
    'S + L, a second spelling': edSigned(addOrder),
    'S = 0, R = identity': edSigned(() => Buffer.concat([Buffer.from([1]), Buffer.alloc(63)])),
    '63 bytes': edSigned((signature) => signature.subarray(0, 63)),
    '65 bytes': edSigned((signature) => Buffer.concat([signature, Buffer.alloc(1)])),
    'all bits set': edSigned(() => Buffer.alloc(64, 0xff)),
  }),

  ...attacks(25, 'malformed_token', {
    'jwk with the attacker key (CVE-2018-0114)': withEvilKey((jwk) => ({ jwk })),
    'jwk with the right key': (forge) => forge.token({}, { jwk: forge.keys.es.publicJwk }),
    'jwk null': withHeader({ jwk: null }),
  }),

  ...attacks(26, 'malformed_token', {
    'jku to the attacker': withEvilKey((_, origin) => ({ jku: `${origin}/jwks` })),
    'jku to the attacker, signed as it should be': withGoodKey((origin) => ({
      jku: `${origin}/jwks`,
    })),
    'x5u to the attacker': withEvilKey((_, origin) => ({ x5u: `${origin}/cert.pem` })),
    'jku to the metadata service': withEvilKey(() => ({
      jku: 'http://169.254.169.254/latest/meta-data/',
    })),
    'jku to a file': withEvilKey(() => ({ jku: 'file:///etc/passwd' })),
    'x5u by gopher': withEvilKey((_, origin) => ({ x5u: origin.replace('http:', 'gopher:') })),
    'jku that is no text': withHeader({ jku: 7 }),
  }),
  // `iss` is the other place that names an address; nothing is looked for there unless it is configured.
  ...attacks(26, 'untrusted_issuer', {
    'iss of the attacker, with discovery there': (forge, world) =>
      forge.token({ iss: world.attacker.origin }),
  }),

  ...attacks(27, 'malformed_token', {
    'x5c with a self-signed chain': withEvilKey(() => ({
      x5c: [Buffer.from('MII self-signed').toString('base64')],
    })),
    'x5c beside a good signature': withHeader({ x5c: ['MIIB'] }),
  }),

  ...attacks(
    28,
    'malformed_token',
    each(['', 'a\0b', 'a\r\nb', 'k'.repeat(1024), 'kéy', 1, {}, null, ['idp-es']], (kid) =>
      withHeader({ kid }),
    ),
  ),
  ...attacks(
    28,
    'invalid_signature',
    each(
      [
        '../../dev/null',
        "' OR 1=1 --",
        '|/bin/sh',
        '__proto__',
        'constructor',
        '*',
        undefined,
      ] as const,
      (kid) => withHeader({ kid }),
    ),
  ),
  ...attacks(28, 'invalid_signature', {
    'the address of the attacker': (forge, world) =>
      forge.token({}, { kid: `${world.attacker.origin}/jwks` }),
    'the right one in capitals': (forge) =>
      forge.token({}, { kid: forge.keys.es.kid.toUpperCase() }),
  }),
  ...attacks(28, 'malformed_token', { '10 KB': withHeader({ kid: 'k'.repeat(10_240) }) }),

  ...attacks(32, 'invalid_signature', {
    'the key of one issuer for another, same kid': (forge, { remoteKey }) =>
      forge.token({}, { kid: forge.keys.es.kid }, { key: remoteKey }),
  }),
  ...attacks(
    32,
    'invalid_signature',
    {
      'and the reverse': (forge, world) =>
        world.idp('remote', { ...forge.keys.es, kid: world.remoteKey.kid }).token(),
    },
    { doors: IDP_DOORS, ...ASKED },
  ),
  ...attacks(
    32,
    'invalid_signature',
    {
      'the key of one client for another': (forge, world) =>
        world.client('client-remote', { ...forge.keys.es, kid: world.remoteKey.kid }).token(),
    },
    { doors: ['assertion'], ...ASKED },
  ),

  ...attacks(
    33,
    'malformed_token',
    each(
      [
        { crit: ['x-unknown'], 'x-unknown': 1 },
        { crit: [] },
        { crit: 'exp' },
        { crit: null },
        { crit: ['exp', 'exp'] },
        { crit: ['alg'] },
        { crit: ['absent'] },
        { crit: ['b64'], b64: false },
        { crit: ['b64'], b64: true },
        { b64: false },
      ] as Readonly<Record<string, unknown>>[],
      withHeader,
    ),
  ),
  ...attacks(
    34,
    'malformed_token',
    each(
      [{ zip: 'DEF' }, { p2c: 2 ** 31 }, { enc: 'A256GCM' }] as Readonly<Record<string, unknown>>[],
      withHeader,
    ),
  ),
  ...attacks(
    35,
    'malformed_token',
    each(
      [{ cty: 'JWT' }, { cty: 'application/jwt' }, { cty: 7 }] as Readonly<
        Record<string, unknown>
      >[],
      withHeader,
    ),
  ),
  ...attacks(35, 'malformed_token', {
    'a token as the payload': (forge) =>
      forge.token({}, { cty: 'jwt' }, { rawPayload: forge.token() }),
    'a token as the payload, unsaid': (forge) => forge.token({}, {}, { rawPayload: forge.token() }),
  }),
]

function der(signature: Buffer): Buffer {
  const content = Buffer.concat([derInteger(r(signature)), derInteger(s(signature))])
  return Buffer.concat([Buffer.from([0x30, content.length]), content])
}

function derInteger(bytes: Buffer): Buffer {
  const positive = (bytes[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes
  return Buffer.concat([Buffer.from([2, positive.length]), positive])
}
