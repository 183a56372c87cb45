import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ExchangeParameters } from '../exchange/request.ts'
import { isRefusal, type RefusalCode } from '../lib/refusal.ts'
import { FORM_TYPE, parseForm } from './form.ts'

const HEADERS = { 'content-type': FORM_TYPE }

function parse(body: string | Buffer, headers: object = HEADERS, query = ''): ExchangeParameters {
  return parseForm(headers, query, Buffer.from(body))
}

function refused(act: () => unknown, code: RefusalCode = 'malformed_request', param?: string) {
  assert.throws(act, (error) => isRefusal(error, code) && error.param === param)
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `p${i}=1`).join('&')

test('parameters are decoded: plus is a space, escapes are UTF-8', () => {
  const { single } = parse('scope=a+b&client_id=caf%C3%A9%26co&x=1%2B1')
  assert.deepEqual(
    [...single],
    [
      ['scope', 'a b'],
      ['client_id', 'café&co'],
      ['x', '1+1'],
    ],
  )
})

test('audience and resource may repeat and keep their order (RFC 8693 §2.1)', () => {
  const { audience, resource } = parse('audience=a&resource=urn%3Ab&audience=c&resource=d')
  assert.deepEqual(audience, ['a', 'c'])
  assert.deepEqual(resource, ['urn:b', 'd'])
})

test('row 57: any other repeated parameter is refused, also one nobody knows, and named when it has a plain name', () => {
  refused(() => parse('subject_token=a&subject_token=a'), 'malformed_request', 'subject_token')
  refused(() => parse('grant_type=a&x=1&grant_type=b'), 'malformed_request', 'grant_type')
  refused(() => parse('unheard_of=1&unheard_of=2'), 'malformed_request', 'unheard_of')
  refused(() => parse('%3Cscript%3E=1&%3Cscript%3E=2'))
})

test('row 57: a parameter spelt with escapes is the same parameter', () => {
  refused(() => parse('subject_token=a&subject%5Ftoken=b'), 'malformed_request', 'subject_token')
})

test('a parameter without value counts as left out (RFC 6749 §3.2)', () => {
  const { single, audience } = parse('scope=&scope=a&audience=&flag&=5&&x=1')
  assert.equal(single.get('scope'), 'a')
  assert.deepEqual(audience, [])
  assert.equal(single.has('flag'), false)
  assert.equal(single.get('x'), '1')
})

test('rows 57 and 58: a query string is refused whatever it holds, since URLs are logged', () => {
  refused(() => parse('grant_type=x', HEADERS, 'subject_token=a'))
  refused(() => parse('grant_type=x', HEADERS, 'tracking=1'))
})

test('row 58: another media type or charset is refused', () => {
  for (const type of [
    undefined,
    'application/json',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencoded; charset=utf-16',
    'application/x-www-form-urlencoded; charset=iso-8859-1',
    'application/x-www-form-urlencoded;;',
    'application/x-www-form-urlencoded, text/plain',
    'application/x-www-form-urlencodedx',
  ])
    refused(() => parse('a=b', { 'content-type': type }), 'unsupported_media_type')
})

test('the usual spellings of the media type are accepted', () => {
  for (const type of [
    'application/x-www-form-urlencoded;charset=UTF-8',
    'Application/X-WWW-Form-Urlencoded; charset="utf-8"',
    'application/x-www-form-urlencoded ; charset=utf-8',
  ])
    assert.equal(parse('a=b', { 'content-type': type }).single.get('a'), 'b', type)
})

test('a compressed body is refused, not guessed at', () => {
  refused(() => parse('a=b', { ...HEADERS, 'content-encoding': 'gzip' }), 'unsupported_media_type')
})

test('bytes and escapes that are no UTF-8 are refused, also overlong and halved ones', () => {
  refused(() => parse(Buffer.from([0x61, 0x3d, 0xff])))
  refused(() => parse(Buffer.from([0x61, 0x3d, 0xc3, 0x25, 0x41, 0x39])))
  for (const value of ['%', '%4', '%zz', '%FF', '%C0%AE', '%ED%A0%80', '%E2%82'])
    refused(() => parse(`a=${value}`))
})

test('more than 100 parameters are refused', () => {
  assert.equal(parse(many(100)).single.size, 100)
  refused(() => parse(many(101)))
  refused(() => parse('&'.repeat(101)))
})

test('names like __proto__ are parameters like any other', () => {
  const { single } = parse('__proto__=1&constructor=2')
  assert.deepEqual([...single.keys()], ['__proto__', 'constructor'])
})

test('an absent body is an empty form', () => {
  assert.equal(parseForm(HEADERS, '', undefined).single.size, 0)
})

test('what URLSearchParams writes is read back the same', () => {
  const value = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(fc.uniqueArray(value, { maxLength: 20 }), value, (names, text) => {
      const known = names.filter((name) => name !== 'audience' && name !== 'resource')
      const written = new URLSearchParams(known.map((name) => [name, text] as [string, string]))
      const expected = [...new Map(written)]
      assert.deepEqual([...parse(written.toString()).single], expected)
    }),
  )
})

test('no bytes make the parser throw anything but a refusal', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parse(Buffer.from(bytes))
      } catch (error) {
        assert.ok(isRefusal(error, 'malformed_request'))
      }
    }),
  )
})
