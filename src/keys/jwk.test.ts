import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { calculateJwkThumbprint } from 'jose'
import { exportPublicJwk, importPublicJwk, publicJwk, thumbprint } from './jwk.ts'

test('the thumbprint of the example key of RFC 7638 §3.1 is the one printed there', () => {
  const example = {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
    alg: 'RS256',
    kid: '2011-04-29',
  }
  assert.equal(thumbprint(example), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})

test('the thumbprint of the Ed25519 key of RFC 8037 appendix A.3 is the one printed there', () => {
  const example = {
    crv: 'Ed25519',
    kty: 'OKP',
    x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
  }
  assert.equal(thumbprint(example), 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
})

test('a private key exported as a public JWK keeps none of its private members', async () => {
  const pairs = [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ed25519'),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ]
  for (const { privateKey, publicKey } of pairs) {
    const jwk = exportPublicJwk(privateKey)
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'])
      assert.ok(!(member in jwk), member)
    assert.ok(importPublicJwk(jwk).equals(publicKey))
    assert.equal(thumbprint(jwk), await calculateJwkThumbprint(jwk, 'sha256'))
  }
})

test('a JWK that is not the public key of a signature is refused', () => {
  assert.throws(() => publicJwk({ kty: 'oct', k: 'c2VjcmV0' }), TypeError)
  assert.throws(() => publicJwk({ kty: 'constructor' }), TypeError)
  assert.throws(() => publicJwk({ kty: 'EC', crv: 'P-256', x: 'AA' }), TypeError)
  assert.throws(() => publicJwk({}), TypeError)
})
