import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { isRefusal } from '../lib/refusal.ts'
import { bearerToken, presentedCredentials } from './form.ts'

const NONE = new Map<string, string>()
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

const encode = (text: string) => new URLSearchParams([['', text]]).toString().slice(1)

function refused(authorization: string) {
  assert.throws(
    () => presentedCredentials(authorization, NONE),
    (error) => isRefusal(error, 'client_auth_failed'),
    authorization,
  )
}

test('Basic halves are form-decoded after base64 (RFC 6749 §2.3.1)', () => {
  const { basic: given } = presentedCredentials(basic('a%3Ab+c:s%2Bt+u:v'), NONE)
  assert.equal(given?.id, 'a:b c')
  assert.equal(given?.secret.reveal(), 's+t u:v')
})

test('the scheme is matched without regard to case', () => {
  assert.equal(presentedCredentials(basic('a:b').replace('Basic', 'bAsIc'), NONE).basic?.id, 'a')
})

test('a Basic credential that decoders could read differently fails authentication', () => {
  for (const header of [
    'Basic',
    'Basic ',
    'Basic !!!!',
    'Basic YTpi\n',
    'Basic YTpi=',
    'Basic YTp', // cut short
    'Basic YT pi', // white space inside
    'Basic YTo_', // base64url
    'Basic YTpj Zg==', // two values
    `${basic('a:b')}, ${basic('c:d')}`, // two headers, joined
    'Basic YR==', // non-canonical trailing bits
    basic('nocolon'),
    basic(':nouser'),
    basic('a%zz:b'),
    `Basic ${Buffer.from([0x61, 0x3a, 0xff]).toString('base64')}`,
  ])
    refused(header)
})

test('another scheme at an OAuth endpoint fails authentication instead of being overlooked', () => {
  refused('Bearer abc')
  refused('DPoP abc')
  refused('')
})

test('credential parameters are passed on as they came, as secrets', () => {
  const credentials = presentedCredentials(
    undefined,
    new Map([
      ['client_id', 'orders-web'],
      ['client_secret', 'hush'],
      ['client_assertion', 'a.b.c'],
      ['client_assertion_type', 'urn:x'],
    ]),
  )
  assert.equal(credentials.clientId, 'orders-web')
  assert.equal(credentials.clientSecret?.reveal(), 'hush')
  assert.equal(credentials.assertion?.reveal(), 'a.b.c')
  assert.equal(credentials.assertionType, 'urn:x')
  assert.doesNotMatch(`${inspect(credentials)}${JSON.stringify(credentials)}`, /hush|a\.b\.c/)
})

test('what was not sent is absent, so that the client room can count methods', () => {
  assert.deepEqual(Object.keys(presentedCredentials(undefined, NONE)), [])
})

test('a bearer token is one token, or the request is malformed', () => {
  assert.equal(bearerToken(undefined), undefined)
  assert.equal(bearerToken('Basic YTpi'), undefined)
  assert.equal(bearerToken('bearer  a.b-c_d'), 'a.b-c_d')
  for (const header of ['Bearer a b', 'Bearer a, Bearer b', 'Bearer "a"', 'Bearer é'])
    assert.throws(
      () => bearerToken(header),
      (error) => isRefusal(error, 'malformed_request'),
    )
})

test('any id and secret that a client encodes come out as they went in', () => {
  const half = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(half, half, (id, secret) => {
      const header = basic(`${encode(id)}:${encode(secret)}`)
      const { basic: given } = presentedCredentials(header, NONE)
      assert.deepEqual([given?.id, given?.secret.reveal()], [id, secret])
    }),
  )
})
