/**
 * The bad-input corpus at the verifier: rows 1-47 of `reference/standards.md` §2.8 as far as they concern a subject token, and 52, 54-56.
 * Elsewhere: 31 (what a fetched document may be: `test/contracts/json-documents.ts`), 38 (expiry during enrichment: the exchange),
 * 42 (the pin itself: the ledger), 43 (encoding towards the source: the entitlement adapter).
 */
import assert from 'node:assert/strict'
import { constants, createHmac, createPublicKey, hash, privateEncrypt } from 'node:crypto'
import { suite, test } from 'node:test'
import { isRefusal, Refusal, type RefusalCode } from '../../src/lib/refusal.ts'
import type { AlgorithmName } from '../../src/subject/options.ts'
import type { DeclaredTokenType } from '../../src/subject/verified.ts'
import { base64url, jwksOf, mint, newTestKey, signInput, type TestKey } from '../fakes/jwt.ts'
import { anIdp } from '../fakes/policy.ts'
import {
  createSubjectWorld,
  ISSUER,
  JWKS_URI,
  START,
  type SubjectWorld,
  type SubjectWorldOptions,
} from '../fakes/subject.ts'

const DISCOVERY = `${ISSUER}/.well-known/openid-configuration`

/** Which requests may leave: none, or the two that read the keys of the configured issuer. */
const NONE: readonly string[] = []
const KEYS: readonly string[] = [DISCOVERY, JWKS_URI]

/** Brings a token and insists on the code, on the requests made, and on a reply that tells nothing of the token. */
async function attack(
  world: SubjectWorld,
  token: string,
  code: RefusalCode,
  requests: readonly string[],
  type: DeclaredTokenType = 'jwt',
): Promise<void> {
  const before = world.documents.asked.length
  const outcome = await world.subject(token, type).then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(outcome instanceof Refusal, `not refused: ${String(outcome)}`)
  assert.equal(outcome.code, code, outcome.message)
  assert.deepEqual(world.documents.asked.slice(before), requests)
  assert.match(outcome.message, /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/)
  for (const part of token.split('.').slice(0, 5))
    assert.ok(part.length < 8 || !outcome.message.includes(part.slice(0, 20)))
}

const isRefusedAs = (code: RefusalCode) => (error: unknown) => isRefusal(error, code)

/** Attacks on a fresh world each; the world's own good token is accepted, or the attack would prove nothing. */
function attacks(
  row: number | string,
  what: string,
  cases: Readonly<Record<string, (world: SubjectWorld) => string>>,
  code: RefusalCode,
  requests: readonly string[],
  options: SubjectWorldOptions = {},
): void {
  suite(`row ${row}: ${what}`, () => {
    for (const [name, make] of Object.entries(cases)) {
      test(`${name} is refused as ${code}`, async () => {
        const world = createSubjectWorld(options)
        await attack(world, make(world), code, requests)
        await world.subject(world.token())
      })
    }
  })
}

const withClaims =
  (over: Readonly<Record<string, unknown>>) =>
  (world: SubjectWorld): string =>
    world.token(over)
const withHeader =
  (header: Readonly<Record<string, unknown>>) =>
  (world: SubjectWorld): string =>
    world.token({}, header)
const literal = (text: string) => (): string => text
const parts = (token: string): [string, string, string] =>
  token.split('.') as [string, string, string]
const named = <T>(
  values: readonly T[],
  make: (value: T) => (world: SubjectWorld) => string,
): Record<string, (world: SubjectWorld) => string> =>
  Object.fromEntries(values.map((value) => [printable(value), make(value)]))
const printable = (value: unknown): string => (JSON.stringify(value) ?? 'undefined').slice(0, 80)

attacks(
  1,
  'a wrong number of parts',
  {
    ...named(['', '.', '..', 'a.b', 'a.b.c.d'], literal),
    'a trailing dot': (world) => `${world.token()}.`,
    'a missing signature': (world) => world.token().slice(0, world.token().lastIndexOf('.')),
  },
  'malformed_token',
  NONE,
)

attacks(
  2,
  'a JWE',
  {
    'five parts': literal(`${base64url('{"alg":"dir","enc":"A256GCM"}')}..aaaa.bbbb.cccc`),
    RSA1_5: literal(`${base64url('{"alg":"RSA1_5","enc":"A128CBC-HS256"}')}.aa.bb.cc.dd`),
  },
  'malformed_token',
  NONE,
)

attacks(
  '3, 4',
  'JSON serialisations and polyglots',
  {
    flattened: (world) => {
      const [header, payload, signature] = parts(world.token())
      return JSON.stringify({ protected: header, payload, signature })
    },
    general: (world) => {
      const [header, payload, signature] = parts(world.token())
      return JSON.stringify({ payload, signatures: [{ protected: header, signature }] })
    },
    'JSON that splits into three at its dots': (world) => {
      const [header, payload, signature] = parts(world.token())
      return `{"x":"${header}.${payload}.${signature}","protected":"${header}"}`
    },
  },
  'malformed_token',
  NONE,
)

attacks(
  '5, 6',
  'sizes',
  {
    'a megabyte of dots': literal('.'.repeat(1_000_000)),
    'a token over 16 KiB': withClaims({ pad: 'x'.repeat(16_384) }),
  },
  'token_too_large',
  NONE,
)

attacks(
  '7, 8',
  'other spellings of a good token',
  {
    'a leading space': (world) => ` ${world.token()}`,
    'a trailing newline': (world) => `${world.token()}\n`,
    'a newline in the payload': (world) => world.token().replace('.', '.\n'),
    padding: (world) => `${world.token()}==`,
    'the +/ alphabet': (world) => {
      const [header, payload, signature] = parts(world.token({ pad: '???>>>~~~' }))
      return `${header}.${payload.replaceAll('-', '+').replaceAll('_', '/')}.${signature}`
    },
    'trailing bits in the signature': (world) => {
      const token = world.token()
      // 64 bytes end in two bits of data: the last character is one of A, Q, g, w.
      return token.slice(0, -1) + String.fromCharCode(token.charCodeAt(token.length - 1) + 1)
    },
  },
  'malformed_token',
  NONE,
)

attacks(
  9,
  'a header that is not plain UTF-8',
  named(['bom', 'utf-16', 'latin-1'] as const, (kind) => (world) => {
    const text = '{"alg":"ES256","kid":"idp-1"}'
    const bytes = {
      bom: Buffer.from(`\ufeff${text}`),
      'utf-16': Buffer.from(text, 'utf16le'),
      'latin-1': Buffer.from(text.replace('idp', 'idpé'), 'latin1'),
    }
    return mint({ key: world.key, rawHeader: bytes[kind], payload: world.claims() })
  }),
  'malformed_token',
  NONE,
)

attacks(
  10,
  'duplicate names',
  {
    'alg twice': (world) =>
      mint({
        key: world.key,
        rawHeader: '{"alg":"none","kid":"idp-1","alg":"ES256"}',
        payload: world.claims(),
      }),
    'aud twice': (world) => duplicate(world, '"aud":"rolemint"'),
    'aud twice, once with an escape': (world) => duplicate(world, '"\\u0061ud":"rolemint"'),
    'a name twice deep inside': (world) => duplicate(world, '"x":[{"y":{"a":1,"a":2}}]'),
  },
  'malformed_token',
  NONE,
)

function duplicate(world: SubjectWorld, member: string): string {
  return mint({
    key: world.key,
    rawPayload: `{${member},${JSON.stringify(world.claims()).slice(1)}`,
  })
}

attacks(
  '11, 12',
  'payloads that are no object, too deep or too large',
  named(
    [
      '[]',
      '"iss"',
      '1',
      'null',
      `{"x":${'['.repeat(4000)}${']'.repeat(4000)}}`,
      `{"x":[${'[],'.repeat(3000)}0]}`,
    ],
    (text) => (world) => mint({ key: world.key, rawPayload: text }),
  ),
  'malformed_token',
  NONE,
)

test('row 13: claims named __proto__ and constructor are inert', async () => {
  const world = createSubjectWorld({ idp: { requiredClaims: ['constructor'] } })
  const inherit = mint({
    key: world.key,
    rawPayload: `{"__proto__":{"constructor":1},${JSON.stringify(world.claims()).slice(1)}`,
  })
  await attack(world, inherit, 'missing_claim', KEYS)
  const { evidence } = await world.subject(world.token({ constructor: { prototype: 1 } }))
  assert.equal(evidence.sub, 'u1')
  const identity = mint({
    key: world.key,
    rawPayload: '{"__proto__":{"iss":"https://login.example","sub":"root"},"aud":"rolemint"}',
  })
  await attack(world, identity, 'missing_claim', NONE)
})

attacks(
  14,
  'alg none in every spelling',
  Object.fromEntries(
    ['none', 'None', 'NONE', 'nOnE', 'none '].flatMap((alg) => [
      [`${printable(alg)} with a signature`, withHeader({ alg })],
      [
        `${printable(alg)} without one`,
        (world: SubjectWorld) => unsigned(world.token({}, { alg })),
      ],
    ]),
  ),
  'algorithm_not_allowed',
  NONE,
)

function unsigned(token: string): string {
  return token.slice(0, token.lastIndexOf('.') + 1)
}

attacks(
  15,
  'an alg that is missing or no text',
  named([undefined, 7, ['ES256'], null, {}], (alg) => withHeader({ alg })),
  'malformed_token',
  NONE,
)
attacks(
  15,
  'an alg in another case',
  named(['es256', 'Es256', 'ES256 '], (alg) => withHeader({ alg })),
  'algorithm_not_allowed',
  NONE,
)

test('row 16: HS256 keyed with any public form of the RSA key is refused before any key is read', async () => {
  const world = createSubjectWorld({ key: newTestKey('RS256', 'idp-1'), algorithms: ['RS256'] })
  const publicKey = createPublicKey(world.key.privateKey)
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const forms = [
    pem,
    pem.trimEnd(),
    ` ${pem}`,
    publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
    publicKey.export({ type: 'spki', format: 'der' }),
    JSON.stringify(world.key.publicJwk),
    Buffer.from(world.key.publicJwk.n ?? '', 'base64url'),
  ]
  for (const secret of forms)
    await attack(world, hmac(world, secret), 'algorithm_not_allowed', NONE)
})

test('row 17: HS256 with an empty key is refused although the JWK names no algorithm', async () => {
  const world = createSubjectWorld()
  const { alg: _, ...jwk } = world.key.publicJwk
  world.serve({ keys: [jwk] })
  await attack(world, hmac(world, ''), 'algorithm_not_allowed', NONE)
  await world.subject(world.token())
})

function hmac(world: SubjectWorld, secret: string | Buffer): string {
  const input = `${base64url('{"alg":"HS256","kid":"idp-1"}')}.${base64url(JSON.stringify(world.claims()))}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

test('row 18: a token whose algorithm is not the one of its key is refused', async () => {
  const world = createSubjectWorld({
    key: newTestKey('PS256', 'idp-1'),
    algorithms: ['PS256', 'RS256', 'ES256', 'ES384'],
  })
  const signed = (alg: AlgorithmName): string =>
    mint({ key: world.key, header: { alg }, signAs: alg, payload: world.claims() })
  await attack(world, signed('RS256'), 'algorithm_not_allowed', KEYS)
  await world.subject(signed('PS256'))
  const mislabelled = { ...newTestKey('ES256', 'curve').publicJwk, alg: 'ES384' }
  world.serve({ keys: [mislabelled, world.key.publicJwk] })
  world.clock.time += 600_000
  await attack(
    world,
    world.token({ iat: START + 600, exp: START + 900 }, { alg: 'ES384', kid: 'curve' }),
    'invalid_signature',
    KEYS,
  )
})

test('row 19: an algorithm that this issuer may not use is refused, valid signature or not', async () => {
  const world = createSubjectWorld({ algorithms: ['ES384', 'RS256'] })
  await attack(world, world.token(), 'algorithm_not_allowed', NONE)
})

test('row 20: ES256 signatures with r or s of zero or n, DER-encoded, too short or too long are refused', async () => {
  const world = createSubjectWorld()
  const good = world.token()
  await world.subject(good)
  const [header, payload, signature] = parts(good)
  const bytes = Buffer.from(signature, 'base64url')
  const order = Buffer.from(
    'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
    'hex',
  )
  const zero = Buffer.alloc(32)
  const one = Buffer.from(`${'00'.repeat(31)}01`, 'hex')
  const [r, s] = [bytes.subarray(0, 32), bytes.subarray(32)]
  const der = Buffer.from(
    signInput('ES256', world.key.privateKey, `${header}.${payload}`)
      .toString('hex')
      .replace(/^(.{64})(.{64})$/, '3044022000$1022000$2'),
    'hex',
  )
  for (const forged of [
    Buffer.concat([zero, zero]),
    Buffer.concat([order, order]),
    Buffer.concat([zero, order]),
    Buffer.concat([one, order]),
    Buffer.concat([order, one]),
    Buffer.concat([zero, s]),
    Buffer.concat([r, zero]),
    Buffer.concat([one, one]),
    Buffer.alloc(64, 0xff),
    bytes.subarray(0, 63),
    Buffer.concat([bytes, Buffer.alloc(1)]),
    Buffer.concat([zero, bytes, zero]),
    der,
  ])
    await attack(
      world,
      `${header}.${payload}.${forged.toString('base64url')}`,
      'invalid_signature',
      NONE,
    )
})

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

test('row 21: RS256 signatures over a block with any other padding than PKCS#1 v1.5 are refused', async () => {
  const world = createSubjectWorld({ key: newTestKey('RS256', 'idp-1'), algorithms: ['RS256'] })
  const [header, payload] = parts(world.token())
  await world.subject(world.token())
  const digest = hash('sha256', `${header}.${payload}`, 'buffer')
  const info = Buffer.concat([Buffer.from('3031300d060960864801650304020105000420', 'hex'), digest])
  const bare = Buffer.concat([
    Buffer.from('302f300b0609608648016503040201', 'hex'),
    Buffer.from('0420', 'hex'),
    digest,
  ])
  const sign = (content: Buffer): string =>
    privateEncrypt(
      { key: world.key.privateKey, padding: constants.RSA_NO_PADDING },
      content,
    ).toString('base64url')
  // The well-padded block is accepted, so what is refused below is refused for its padding.
  await world.subject(`${header}.${payload}.${sign(block(1, 0xff, info))}`)
  for (const forged of [
    block(2, 0xff, info),
    block(0, 0, info),
    block(1, 0, info),
    block(1, 0xfe, info),
    block(1, 0xff, info, 32),
    block(1, 0xff, info, 200),
    block(1, 0xff, bare),
    block(1, 0xff, digest),
    block(1, 0xff, Buffer.alloc(0)),
  ])
    await attack(world, `${header}.${payload}.${sign(forged)}`, 'invalid_signature', NONE)
})

test('row 22: a PS256 signature with another salt length, or changed, is refused', async () => {
  const world = createSubjectWorld({ key: newTestKey('PS256', 'idp-1'), algorithms: ['PS256'] })
  await world.subject(world.token())
  for (const saltLength of [0, 20, 31, 33, 48])
    await attack(
      world,
      mint({ key: world.key, payload: world.claims({ saltLength }), saltLength }),
      'invalid_signature',
      NONE,
    )
})

attacks(
  23,
  'signatures that are empty, cut or of another token',
  {
    empty: (world) => unsigned(world.token()),
    'cut in half': (world) => {
      const [header, payload, signature] = parts(world.token())
      return `${header}.${payload}.${Buffer.from(signature, 'base64url').subarray(0, 32).toString('base64url')}`
    },
    'of another token': (world) => {
      const [header, payload] = parts(world.token({ sub: 'root' }))
      return `${header}.${payload}.${parts(world.token())[2]}`
    },
    'of another header': (world) => {
      const [, payload, signature] = parts(world.token())
      return `${parts(world.token({}, { typ: 'JWT' }))[0]}.${payload}.${signature}`
    },
  },
  'invalid_signature',
  KEYS,
)

test('row 24: an Ed25519 key of small order, under which anybody can sign, is not used', async () => {
  const world = createSubjectWorld({ key: newTestKey('EdDSA', 'idp-1'), algorithms: ['EdDSA'] })
  const identity = Buffer.from(`01${'00'.repeat(31)}`, 'hex')
  world.serve({
    keys: [{ kty: 'OKP', crv: 'Ed25519', kid: 'idp-1', x: identity.toString('base64url') }],
  })
  const [header, payload] = parts(world.token())
  const forged = Buffer.concat([identity, Buffer.alloc(32)]).toString('base64url')
  await attack(world, `${header}.${payload}.${forged}`, 'invalid_signature', KEYS)
})

suite('rows 25-27: keys and places of keys in the header are never followed', () => {
  const evil = newTestKey('ES256', 'idp-1')
  for (const header of [
    { jwk: evil.publicJwk },
    { jku: 'https://attacker.example/jwks' },
    { jku: 'http://169.254.169.254/latest/meta-data/' },
    { jku: 'file:///etc/passwd' },
    { x5u: 'gopher://attacker.example/' },
    { x5c: ['MIIB'] },
  ]) {
    test(`${printable(header)} is refused and no request leaves`, async () => {
      const world = createSubjectWorld()
      await attack(
        world,
        mint({ key: evil, header, payload: world.claims() }),
        'malformed_token',
        NONE,
      )
    })
  }
})

attacks(
  28,
  'a kid that is no short printable text',
  named(['', 'a\u0000b', 'a\r\nb', 'k'.repeat(1024), 1, {}, ['idp-1']], (kid) =>
    withHeader({ kid }),
  ),
  'malformed_token',
  NONE,
)
attacks(
  28,
  'a kid that is a path, SQL or a command',
  named(
    ['../../dev/null', "' OR 1=1 --", '|/bin/sh', 'https://attacker.example/', 'IDP-1'],
    (kid) => withHeader({ kid }),
  ),
  'invalid_signature',
  KEYS,
)
test('row 28: a token without kid is refused, with one key published and with two', async () => {
  const world = createSubjectWorld()
  await attack(world, world.token({}, { kid: undefined }), 'invalid_signature', NONE)
  world.serve(jwksOf(world.key, newTestKey('ES256', 'idp-2')))
  await attack(world, world.token({}, { kid: undefined }), 'invalid_signature', NONE)
})

test('row 29: a thousand tokens with unknown kids cause one reading of the keys in 10 s', async () => {
  const world = createSubjectWorld()
  for (let round = 0; round < 1000; round++)
    await attack(
      world,
      world.token({}, { kid: `made-up-${round}` }),
      'invalid_signature',
      round === 0 ? KEYS : NONE,
    )
  world.clock.time += 10_000
  // The discovery document lives on its own, so that is the key set alone.
  await attack(world, world.token({}, { kid: 'made-up' }), 'invalid_signature', [JWKS_URI])
  await attack(world, world.token({}, { kid: 'made-up-too' }), 'invalid_signature', NONE)
})

suite('row 30: a key that the gate refuses verifies nothing, although it made the signature', () => {
  const key = newTestKey('ES256', 'idp-1')
  const weak = newTestKey('RS256', 'idp-1', 1024)
  const jwk = key.publicJwk
  const sets: readonly (readonly [string, TestKey, unknown])[] = [
    ['duplicate kid', key, { keys: [jwk, newTestKey('ES256', 'idp-1').publicJwk] }],
    [
      'a symmetric key of the same kid',
      key,
      { keys: [{ kty: 'oct', kid: 'idp-1', k: 'AA' }, jwk] },
    ],
    [
      'private key published',
      key,
      {
        keys: [key.privateKey.export({ format: 'jwk' })].map((each) => ({ ...each, kid: 'idp-1' })),
      },
    ],
    ['RSA-1024', weak, jwksOf(weak)],
    ['use enc', key, { keys: [{ ...jwk, use: 'enc' }] }],
    ['key_ops encrypt', key, { keys: [{ ...jwk, key_ops: ['encrypt'] }] }],
    ['off-curve point', key, { keys: [{ ...jwk, x: jwk.y }] }],
  ]
  for (const [name, signer, jwks] of sets) {
    test(name, async () => {
      const world = createSubjectWorld({ key: signer, algorithms: ['ES256', 'RS256'] })
      world.serve(jwks)
      await attack(world, world.token(), 'invalid_signature', KEYS)
    })
  }
  test('e of 1, under which every text is its own signature', async () => {
    const rsa = newTestKey('RS256', 'idp-1')
    const world = createSubjectWorld({ key: rsa, algorithms: ['RS256'] })
    world.serve({ keys: [{ ...rsa.publicJwk, e: 'AQ' }] })
    await attack(world, world.token(), 'invalid_signature', KEYS)
  })
})

test('row 31: while the keys cannot be read the answer is to try again, and no token is believed', async () => {
  const world = createSubjectWorld()
  world.documents.put(JWKS_URI, new Error('answered with a media type that is not JSON'))
  await attack(world, world.token(), 'idp_keys_unavailable', KEYS)
  await attack(world, world.token(), 'idp_keys_unavailable', NONE)
})

test('row 32: a key of one IdP does not sign for another, although both use the same kid', async () => {
  const world = createSubjectWorld()
  const other = newTestKey('ES256', 'idp-1')
  const idp = anIdp({
    name: 'partner',
    issuer: 'https://partner.example',
    keySource: { kind: 'inline', jwks: jwksOf(other) },
    userClaim: 'sub',
    subjectPrefix: 'p:',
  })
  const tenant = { ...world.tenant, idps: new Map([...world.tenant.idps, ['partner', idp]]) }
  const client = { ...world.client, idps: ['login', 'partner'] }
  const asPartner = world.claims({ iss: 'https://partner.example' })
  assert.equal(
    (await world.subject(mint({ key: other, payload: asPartner }), 'jwt', { tenant, client }))
      .evidence.sub,
    'p:u1',
  )
  for (const [key, payload] of [
    [world.key, asPartner],
    [other, world.claims()],
  ] as const) {
    await assert.rejects(
      world.subject(mint({ key, payload }), 'jwt', { tenant, client }),
      isRefusedAs('invalid_signature'),
    )
  }
})

attacks(
  '33, 34, 35',
  'header members that change how a token is read',
  named(
    [
      { crit: ['x-unknown'], 'x-unknown': 1 },
      { crit: [] },
      { crit: ['exp', 'exp'] },
      { crit: ['alg'] },
      { crit: ['b64'], b64: false },
      { b64: false },
      { zip: 'DEF' },
      { p2c: 2 ** 31 },
      { enc: 'A256GCM' },
      { cty: 'JWT' },
      { cty: 'application/jwt' },
    ] as Readonly<Record<string, unknown>>[],
    withHeader,
  ),
  'malformed_token',
  NONE,
)

attacks(
  36,
  'no exp',
  { 'missing exp': withClaims({ exp: undefined }), 'missing iat': withClaims({ iat: undefined }) },
  'missing_claim',
  KEYS,
)
attacks(
  36,
  'exp, nbf and iat that are no times',
  {
    ...named([String(START + 300), -1, 2 ** 53, null, {}, true, [START]], (exp) =>
      withClaims({ exp }),
    ),
    ...Object.fromEntries(['nbf', 'iat'].map((name) => [name, withClaims({ [name]: `${START}` })])),
    infinity: (world) =>
      mint({
        key: world.key,
        rawPayload: JSON.stringify(world.claims()).replace(/"exp":\d+/, '"exp":1e999'),
      }),
  },
  'malformed_token',
  KEYS,
)
test('row 36: a fractional exp is met to the fraction', async () => {
  const world = createSubjectWorld({ skewSeconds: 0 })
  const token = world.token({ exp: START + 0.5 })
  world.clock.time += 499
  await world.subject(token)
  world.clock.time += 1
  await attack(world, token, 'expired', NONE)
})

test('row 37: times are judged with the skew, to the second: exp, nbf, iat and the age of the token', async () => {
  const world = createSubjectWorld({ idp: { maxAgeSeconds: 600 } })
  await world.subject(world.token({ exp: START - 29 }))
  await attack(world, world.token({ exp: START - 30 }), 'expired', NONE)
  await attack(world, world.token({ exp: START - 31 }), 'expired', NONE)
  await world.subject(world.token({ nbf: START + 30 }))
  await attack(world, world.token({ nbf: START + 31 }), 'not_yet_valid', NONE)
  await world.subject(world.token({ iat: START + 30 }))
  await attack(world, world.token({ iat: START + 31 }), 'not_yet_valid', NONE)
  await world.subject(world.token({ iat: START - 630 }))
  await attack(world, world.token({ iat: START - 631 }), 'expired', NONE)
})
test('row 37: without skew a token is expired at exp', async () => {
  const world = createSubjectWorld({ skewSeconds: 0 })
  await attack(world, world.token({ exp: START }), 'expired', KEYS)
  await world.subject(world.token({ exp: START + 1 }))
})

attacks(
  39,
  'an iss that is nearly the one of the IdP',
  named(
    [
      'https://LOGIN.example',
      'https://login.example/',
      'https://login.example.',
      'https://login.example:443',
      'https://user@login.example',
      'https://login.example?x',
      'https://login.example#',
      'https://lоgin.example',
      ' https://login.example',
      'https://login.example\u0000',
      'http://login.example',
      'https://attacker.example',
    ],
    (iss) => withClaims({ iss }),
  ),
  'untrusted_issuer',
  NONE,
)
attacks(
  39,
  'an iss that is no text',
  named([[ISSUER], { 0: ISSUER }, 7, null, ''], (iss) => withClaims({ iss })),
  'malformed_token',
  NONE,
)
attacks(39, 'no iss', { missing: withClaims({ iss: undefined }) }, 'missing_claim', NONE)

attacks(
  40,
  'another audience',
  named(
    ['https://rp.example', 'rolemint2', 'role', 'ROLEMINT', ' rolemint', ['rolemint '], ['a', 'b']],
    (aud) => withClaims({ aud }),
  ),
  'wrong_audience',
  KEYS,
)
attacks(
  40,
  'an aud that is neither a text nor a list of texts',
  named([[], '', 7, null, { rolemint: 1 }, ['rolemint', 7], [['rolemint']]], (aud) =>
    withClaims({ aud }),
  ),
  'malformed_token',
  KEYS,
)
attacks(40, 'no aud', { missing: withClaims({ aud: undefined }) }, 'missing_claim', KEYS)
test('row 40: an audience list with us and others is accepted', async () => {
  const world = createSubjectWorld()
  await world.subject(world.token({ aud: ['other', 'rolemint'] }))
})

attacks(
  41,
  'a sub that is no short printable text',
  named(
    ['', 'x'.repeat(4096), 'a\nb', 'a\u0000', '\u202eadmin', 'a\u200bb', '\ue000', 7, null, ['u1']],
    (sub) => withClaims({ sub }),
  ),
  'malformed_token',
  KEYS,
)
attacks(41, 'no sub', { missing: withClaims({ sub: undefined }) }, 'missing_claim', KEYS)

const UPN_WORLD: SubjectWorldOptions = { idp: { userClaim: 'upn', upnDomains: ['acme.example'] } }
suite('rows 41, 43: a UPN that is none, is not ours to accept, or carries something else', () => {
  for (const upn of [
    '',
    'ada',
    '@acme.example',
    'ada@',
    'ada@@acme.example',
    'ada@acme.example@acme.example',
    'аda@acme.example',
    'ada@аcme.example',
    'ada@evil.example',
    'ada@acme.example.evil.example',
    'ada@sub.acme.example',
    'ada@-acme.example',
    'ada@acme..example',
    'ada @acme.example',
    'ada\r\nX-Admin: 1@acme.example',
    'ada\u0000@acme.example',
    '"ada"@acme.example',
    'ada)(uid=*@acme.example',
    'ada<x>@acme.example',
    `${'a'.repeat(250)}@acme.example`,
    '\u202eada@acme.example',
    'e\u0301@acme.example',
    7,
    ['ada@acme.example'],
  ]) {
    test(`${printable(upn)} is refused`, async () => {
      const world = createSubjectWorld(UPN_WORLD)
      await attack(world, world.token({ upn }), 'invalid_upn', KEYS)
      await world.subject(world.token({ upn: "o'neil+x@Acme.Example" }))
    })
  }
  test('an absent one is not replaced by another claim (CVE-2026-96447)', async () => {
    const world = createSubjectWorld(UPN_WORLD)
    await attack(
      world,
      world.token({ preferred_username: 'ada@acme.example', email: 'ada@acme.example' }),
      'missing_claim',
      KEYS,
    )
  })
})

test('row 42: the same UPN with another sub asks for the same pin as another owner', async () => {
  const world = createSubjectWorld(UPN_WORLD)
  const pinOf = async (sub: string) =>
    (await world.subject(world.token({ sub, upn: 'ada@acme.example' }))).claims[0]
  const [first, second] = [await pinOf('u1'), await pinOf('u2')]
  assert.ok(first?.kind === 'pin' && second?.kind === 'pin')
  assert.equal(first.key, second.key)
  assert.notEqual(first.owner, second.owner)
})

attacks(
  44,
  'tokens of other kinds',
  {
    ...named(
      [
        'logout+jwt',
        'secevent+jwt',
        'dpop+jwt',
        'client-authentication+jwt',
        'token-introspection+jwt',
        'statuslist+jwt',
        'txntoken+jwt',
        'oauth-authz-req+jwt',
        'application/logout+jwt',
        'JOSE',
        'text/jwt',
        '',
      ],
      (typ) => withHeader({ typ }),
    ),
    'a logout token without typ': withClaims({
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    }),
    ...named(['Refresh', 'Offline', 'Logout'], (typ) => withClaims({ typ })),
  },
  'wrong_type',
  KEYS,
)

test('row 44: the kinds that are exchanged are told without case and with or without application/', async () => {
  const world = createSubjectWorld()
  for (const typ of [
    undefined,
    'JWT',
    'jwt',
    'application/JWT',
    'at+jwt',
    'AT+JWT',
    'application/at+jwt',
  ])
    await world.subject(world.token({}, { typ }))
})

test('row 45: an ID token declared access token, and the reverse, are refused', async () => {
  const world = createSubjectWorld()
  for (const claim of ['nonce', 'at_hash', 'c_hash', 's_hash']) {
    await world.subject(world.token({ [claim]: 'x' }), 'id_token')
    await attack(world, world.token({ [claim]: 'x' }), 'wrong_type', NONE, 'access_token')
  }
  await attack(world, world.token({ typ: 'ID' }), 'wrong_type', NONE, 'access_token')
  await attack(world, world.token({ typ: 'Bearer' }), 'wrong_type', NONE, 'id_token')
  await attack(world, world.token({}, { typ: 'at+jwt' }), 'wrong_type', NONE, 'id_token')
  await world.subject(world.token({ typ: 'Bearer' }, { typ: 'at+jwt' }), 'access_token')
})

test('row 46: a client assertion, a DPoP proof and a status list of ours are no subject tokens', async () => {
  const world = createSubjectWorld({ client: { exchangeOwn: true } })
  const assertion = mint({
    key: world.key,
    payload: {
      iss: 'orders-web',
      sub: 'orders-web',
      aud: 'https://sts.example',
      iat: START,
      exp: START + 60,
      jti: 'j',
    },
  })
  await attack(world, assertion, 'untrusted_issuer', NONE)
  const proof = mint({
    key: world.key,
    header: { typ: 'dpop+jwt', jwk: world.key.publicJwk },
    payload: { htm: 'POST', htu: 'https://sts.example/token', iat: START, jti: 'j' },
  })
  await attack(world, proof, 'malformed_token', NONE)
  await attack(
    world,
    world.record(world.mintOwn({}, { typ: 'statuslist+jwt' })),
    'wrong_type',
    NONE,
  )
})

attacks(
  47,
  'a token that was issued to another client',
  {
    azp: withClaims({ azp: 'other' }),
    client_id: withClaims({ azp: undefined, client_id: 'other' }),
    'azp ours, client_id another': withClaims({ client_id: 'other' }),
    'neither, and we are not in aud': withClaims({ azp: undefined }),
    'a name that ours begins with': withClaims({ azp: 'orders' }),
  },
  'wrong_presenter',
  KEYS,
)
attacks(
  47,
  'an azp or client_id that is no text',
  { azp: withClaims({ azp: ['orders-web'] }), client_id: withClaims({ client_id: 7 }) },
  'malformed_token',
  KEYS,
)

test('rows 52, 54: a token bound to a key is not taken as a bearer token, of an IdP or our own', async () => {
  const world = createSubjectWorld({ client: { exchangeOwn: true } })
  await attack(world, world.token({ cnf: { jkt: 'x' } }), 'proof_required', KEYS)
  await attack(
    world,
    world.record(world.mintOwn({ cnf: { 'x5t#S256': 'x' } })),
    'proof_required',
    NONE,
  )
})

test('row 52: re-exchanging a token of ours keeps its act and its past', async () => {
  const world = createSubjectWorld({ client: { exchangeOwn: true } })
  const { evidence } = await world.subject(
    world.record(world.mintOwn({ act: { sub: 'svc' }, lineage: ['root'], origin_jti: 'root' })),
  )
  assert.deepEqual(evidence.act, { sub: 'svc' })
  assert.deepEqual(evidence.own?.lineage, ['root'])
  assert.equal(evidence.own?.sessionExp, START + 43_200)
})

test('row 55: a token of a disabled issuer, or one this client may not bring, is refused and no request leaves', async () => {
  const disabled = createSubjectWorld({ idp: { disabled: true } })
  await attack(disabled, disabled.token(), 'untrusted_issuer', NONE)
  const foreign = createSubjectWorld({ client: { idps: [] } })
  await attack(foreign, foreign.token(), 'untrusted_issuer', NONE)
})

test('row 56: a token of one tenant is none at another, of its IdP or our own', async () => {
  const world = createSubjectWorld({ client: { exchangeOwn: true } })
  const globex = {
    ...world.tenant,
    name: 'globex',
    issuer: 'https://sts.globex.example',
    idps: new Map(),
  }
  for (const token of [world.token(), world.record(world.mintOwn())]) {
    await world.subject(token)
    await assert.rejects(
      world.subject(token, 'jwt', { tenant: globex }),
      isRefusedAs('untrusted_issuer'),
    )
  }
  // Even under an issuer that both would share: keys and records are asked for by tenant.
  const twin = { ...world.tenant, name: 'globex' }
  await assert.rejects(
    world.subject(world.record(world.mintOwn()), 'jwt', { tenant: twin }),
    isRefusedAs('invalid_signature'),
  )
})
