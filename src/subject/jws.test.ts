import assert from 'node:assert/strict'
import { test } from 'node:test'
import { base64url, mint, newTestKey } from '../../test/fakes/jwt.ts'
import { isRefusal, type RefusalCode } from '../lib/refusal.ts'
import { foldMediaType, parseCompactJws } from './jws.ts'

const LIMITS = { tokenBytes: 16_384 }

function refuses(token: string, code: RefusalCode, limits = LIMITS): void {
  assert.throws(
    () => parseCompactJws(token, limits),
    (error) => isRefusal(error, code),
    token.slice(0, 100),
  )
}

/** A token with this header; the signature is never looked at by the parser. */
function withHeader(header: string | Buffer, payload: string | Buffer = '{}'): string {
  return `${base64url(header)}.${base64url(payload)}.AAAA`
}

test('a well-formed token is read: header, claims, signing input and signature', () => {
  const key = newTestKey('ES256', 'k1')
  const token = mint({ key, header: { typ: 'at+jwt' }, payload: { sub: 'ada', n: 1.5 } })
  const parsed = parseCompactJws(token, LIMITS)
  assert.equal(parsed.alg, 'ES256')
  assert.equal(parsed.kid, 'k1')
  assert.equal(parsed.typ, 'at+jwt')
  assert.deepEqual({ ...parsed.payload }, { sub: 'ada', n: 1.5 })
  assert.equal(`${parsed.signingInput}.${parsed.signature.toString('base64url')}`, token)
})

test('a token is refused at one byte over the limit, by its size', () => {
  const token = withHeader('{"alg":"ES256"}')
  assert.ok(parseCompactJws(token, { tokenBytes: token.length }))
  refuses(token, 'token_too_large', { tokenBytes: token.length - 1 })
})

test('a megabyte of dots is refused without making a million strings', () => {
  const dots = '.'.repeat(1_000_000)
  const limits = { tokenBytes: 2_000_000 }
  refuses(dots, 'malformed_token', limits)
  const before = process.memoryUsage().heapUsed
  for (let round = 0; round < 100; round++) refuses(dots, 'malformed_token', limits)
  // split() would make 100 arrays of a million entries: gigabytes. A hundred refusals are some 200 KB.
  assert.ok(process.memoryUsage().heapUsed - before < 32_000_000)
})

test('a wrong number of parts is refused', () => {
  for (const token of ['', '.', '..', 'a.b', 'a.b.c.d', 'a.b.c.d.e', 'a.b.c.', '....'])
    refuses(token, 'malformed_token')
})

test('padding, whitespace, the +/ alphabet and other characters are refused in every part', () => {
  const parts = withHeader('{"alg":"ES256"}').split('.')
  for (const spoilt of [
    '=',
    ' ',
    '\n',
    '+',
    '/',
    '?',
    '"',
    '{',
    '\u0000',
    '\u00e9',
    '\ud83d\ude00',
  ]) {
    for (const index of [0, 1, 2]) {
      for (const place of [0, 2, 4]) {
        const bad = parts.map((part, at) =>
          at === index ? part.slice(0, place) + spoilt + part.slice(place) : part,
        )
        refuses(bad.join('.'), 'malformed_token')
      }
    }
  }
})

test('trailing bits that are not zero are refused: two spellings of one token', () => {
  const [header, payload] = withHeader('{"alg":"ES256"}').split('.')
  assert.ok(parseCompactJws(`${header}.${payload}.AA`, LIMITS))
  refuses(`${header}.${payload}.AB`, 'malformed_token')
  refuses(`${header}.${payload}.A`, 'malformed_token')
})

test('a header over 2 KiB is refused although the token is within its limit', () => {
  refuses(
    withHeader(JSON.stringify({ alg: 'ES256', kid: 'k', x: 'y'.repeat(2048) })),
    'malformed_token',
  )
})

test('a header or payload that is no JSON object in plain UTF-8 is refused', () => {
  const texts = [
    '[]',
    '"x"',
    '1',
    'null',
    'true',
    '',
    '{',
    '{"a":1,}',
    "{'a':1}",
    '\ufeff{}',
    '{}{}',
  ]
  const bytes = [
    Buffer.from('{"alg":"ES256"}', 'utf16le'),
    Buffer.from('{"alg":"ES256","x":"\xff"}', 'latin1'),
  ]
  for (const bad of [...texts, ...bytes]) {
    refuses(withHeader(bad), 'malformed_token')
    refuses(withHeader('{"alg":"ES256"}', bad), 'malformed_token')
  }
})

test('duplicate names in header or payload are refused, also when spelt with escapes', () => {
  refuses(withHeader('{"alg":"ES256","alg":"ES256"}'), 'malformed_token')
  refuses(withHeader('{"alg":"ES256"}', '{"aud":"a","\\u0061ud":"b"}'), 'malformed_token')
})

test('every header member that changes how a token is read, or brings a key, is refused', () => {
  for (const extra of [
    { crit: ['exp'] },
    { crit: [] },
    { crit: ['alg', 'alg'] },
    { crit: null },
    { crit: ['b64'], b64: false },
    { b64: true },
    { zip: 'DEF' },
    { enc: 'A256GCM' },
    { p2c: 2 ** 31 },
    { jku: 'https://attacker.example/jwks' },
    { x5u: 'http://169.254.169.254/' },
    { jwk: {} },
    { x5c: [] },
    { cty: 'JWT' },
    { cty: 'application/jwt' },
    { cty: 1 },
    { typ: 1 },
    { typ: null },
  ])
    refuses(withHeader(JSON.stringify({ alg: 'ES256', ...extra })), 'malformed_token')
})

test('the algorithm is compared exactly; a missing one is malformed, an unknown one never accepted', () => {
  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    'none ',
    'HS256',
    'rs256',
    'RS256 ',
    '',
    'ES256K',
    'dir',
    '__proto__',
  ])
    refuses(withHeader(JSON.stringify({ alg })), 'algorithm_not_allowed')
  for (const header of [
    '{}',
    '{"alg":1}',
    '{"alg":["ES256"]}',
    '{"alg":null}',
    '{"__proto__":{"alg":"ES256"}}',
  ])
    refuses(withHeader(header), 'malformed_token')
})

test('a kid that is no short printable text is refused', () => {
  for (const kid of ['', 1, {}, [], null, 'a\u0000b', 'a\r\nb', 'é', 'k'.repeat(257)])
    refuses(withHeader(JSON.stringify({ alg: 'ES256', kid })), 'malformed_token')
  for (const kid of ['../../dev/null', "' OR 1=1 --", 'k'.repeat(256)])
    assert.equal(
      parseCompactJws(withHeader(JSON.stringify({ alg: 'ES256', kid })), LIMITS).kid,
      kid,
    )
})

test('no message of a refusal holds anything of the token, nor a character an error_description may not', () => {
  for (const token of [
    'sekrit.sekrit.sekrit',
    withHeader('{"alg":"sekrit"}'),
    withHeader('{"sekrit":1,}'),
  ]) {
    assert.throws(
      () => parseCompactJws(token, LIMITS),
      (error: Error) =>
        !/sekrit/.test(error.message) && /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/.test(error.message),
    )
  }
})

test('a media type is compared without case and without application/', () => {
  assert.equal(foldMediaType('Application/AT+JWT'), 'at+jwt')
  assert.equal(foldMediaType('JWT'), 'jwt')
  assert.equal(foldMediaType('text/jwt'), 'text/jwt')
})
