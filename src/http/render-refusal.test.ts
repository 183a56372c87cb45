import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Refusal, type RefusalCode } from '../lib/refusal.ts'
import { EdgeError } from './edge-error.ts'
import { type ErrorContext, publicText, RENDERINGS, renderError } from './render-refusal.ts'

const CONTEXT: ErrorContext = {
  style: 'oauth',
  accept: undefined,
  issuer: 'https://sts.acme.example',
  requestId: '4bf92f3577b34da6a3ce929d0e0e4736',
  challenge: true,
}

/** Copied by hand from architecture §6, "Error codes"; [JSON API status, status at OAuth endpoints, error]. */
const EXPECTED: Record<RefusalCode, readonly [number, number, string]> = {
  malformed_token: [400, 400, 'invalid_request'],
  token_too_large: [400, 400, 'invalid_request'],
  invalid_signature: [400, 400, 'invalid_request'],
  algorithm_not_allowed: [400, 400, 'invalid_request'],
  expired: [400, 400, 'invalid_request'],
  not_yet_valid: [400, 400, 'invalid_request'],
  untrusted_issuer: [400, 400, 'invalid_request'],
  wrong_audience: [400, 400, 'invalid_request'],
  wrong_presenter: [400, 400, 'invalid_request'],
  wrong_type: [400, 400, 'invalid_request'],
  missing_claim: [400, 400, 'invalid_request'],
  invalid_upn: [400, 400, 'invalid_request'],
  upn_conflict: [400, 400, 'invalid_request'],
  replayed: [400, 400, 'invalid_request'],
  revoked: [400, 400, 'invalid_request'],
  unknown_user: [400, 400, 'invalid_request'],
  no_roles: [400, 400, 'invalid_request'],
  actor_not_allowed: [400, 400, 'invalid_request'],
  proof_required: [400, 400, 'invalid_request'],
  malformed_request: [400, 400, 'invalid_request'],
  refresh_invalid: [400, 400, 'invalid_grant'],
  unsupported_grant: [400, 400, 'unsupported_grant_type'],
  target_not_allowed: [400, 400, 'invalid_target'],
  scope_not_allowed: [400, 400, 'invalid_scope'],
  client_auth_failed: [401, 401, 'invalid_client'],
  grant_not_allowed: [400, 400, 'unauthorized_client'],
  rate_limited: [429, 429, 'temporarily_unavailable'],
  unknown_tenant: [404, 404, 'invalid_request'],
  method_not_allowed: [405, 405, 'invalid_request'],
  body_too_large: [413, 413, 'invalid_request'],
  unsupported_media_type: [415, 400, 'invalid_request'],
  entitlements_unavailable: [503, 503, 'temporarily_unavailable'],
  idp_keys_unavailable: [503, 503, 'temporarily_unavailable'],
  signer_unavailable: [503, 503, 'temporarily_unavailable'],
  ledger_unavailable: [503, 503, 'temporarily_unavailable'],
  overloaded: [503, 503, 'temporarily_unavailable'],
  internal: [500, 500, 'server_error'],
}

const CODES = Object.keys(EXPECTED) as RefusalCode[]

const bodyOf = (answer: { readonly body: string | undefined }) =>
  JSON.parse(answer.body ?? '') as Record<string, unknown>

const typeFor = (accept: string | undefined) =>
  renderError(new Refusal('expired', 'x'), { ...CONTEXT, accept }).headers['content-type']

const after = (retryAfterSeconds: number) =>
  renderError(new Refusal('rate_limited', 'x', { retryAfterSeconds }), CONTEXT).headers[
    'retry-after'
  ]

test('every refusal has the status and the error that the architecture gives it, at both kinds of endpoint', () => {
  assert.deepEqual(Object.keys(RENDERINGS).toSorted(), CODES.toSorted())
  for (const code of CODES) {
    const [api, oauth, error] = EXPECTED[code]
    for (const [style, status] of [
      ['api', api],
      ['oauth', oauth],
    ] as const) {
      const answer = renderError(new Refusal(code, 'A sentence.'), { ...CONTEXT, style })
      assert.equal(answer.status, status, `${code} at ${style}`)
      assert.equal(bodyOf(answer)['status'], status, `${code} at ${style}`)
      assert.equal(bodyOf(answer)['error'], error, code)
    }
  }
})

test('one object carries the members of RFC 6749, those of RFC 9457 and our own', () => {
  const refusal = new Refusal('expired', 'The subject token has expired.', {
    param: 'subject_token',
  })
  assert.deepEqual(bodyOf(renderError(refusal, CONTEXT)), {
    error: 'invalid_request',
    error_description: 'The subject token has expired.',
    type: 'https://sts.acme.example/errors/expired',
    title: 'Token has expired',
    status: 400,
    detail: 'The subject token has expired.',
    error_code: 'expired',
    param: 'subject_token',
    request_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    retryable: false,
  })
})

test('an OAuth endpoint answers application/json unless problem+json ranks strictly above it', () => {
  for (const accept of [
    undefined,
    '*/*',
    'application/*',
    'application/json, application/problem+json',
    'application/problem+json;q=0.5, application/json',
    'application/problem+json;q=0, */*',
  ])
    assert.equal(typeFor(accept), 'application/json', accept)
  for (const accept of [
    'application/problem+json',
    'application/problem+json, application/json;q=0.9',
    'Application/Problem+JSON, */*;q=0.1',
  ])
    assert.equal(typeFor(accept), 'application/problem+json', accept)
})

test('the JSON API always answers application/problem+json', () => {
  const answer = renderError(new Refusal('expired', 'x'), {
    ...CONTEXT,
    style: 'api',
    accept: 'application/json',
  })
  assert.equal(answer.headers['content-type'], 'application/problem+json')
})

test('no error may be stored, and one whose media type depends on Accept says so', () => {
  for (const code of CODES) {
    const { headers } = renderError(new Refusal(code, 'x'), CONTEXT)
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['pragma'], 'no-cache')
    assert.equal(headers['vary'], 'Accept')
  }
})

test('429 and 503 say when to try again, in whole seconds and never 0; nothing else does', () => {
  for (const code of CODES) {
    const answer = renderError(new Refusal(code, 'x'), CONTEXT)
    const retryable = answer.status === 429 || answer.status === 503
    assert.equal(answer.headers['retry-after'], retryable ? '1' : undefined, code)
    assert.equal(bodyOf(answer)['retryable'], retryable, code)
  }
  assert.deepEqual([after(0), after(0.2), after(2.1), after(30)], ['1', '1', '3', '30'])
})

test('a 401 names the Basic scheme when HTTP authentication was used or nothing was sent', () => {
  const refusal = new Refusal('client_auth_failed', 'x')
  const challenge = (given: boolean) =>
    renderError(refusal, { ...CONTEXT, challenge: given }).headers['www-authenticate']
  assert.equal(challenge(true), 'Basic realm="rolemint"')
  assert.equal(challenge(false), undefined)
})

test('headers of the error itself are kept', () => {
  const refusal = new Refusal('method_not_allowed', 'x', { headers: { allow: 'POST' } })
  assert.equal(renderError(refusal, CONTEXT).headers['allow'], 'POST')
})

test('an exception whose message holds a token is answered with a constant sentence', () => {
  const canary = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.c2ln'
  for (const thrown of [new Error(canary), new TypeError(`bad ${canary}`), canary, { canary }]) {
    const answer = renderError(thrown, CONTEXT)
    assert.equal(answer.status, 500)
    assert.equal(bodyOf(answer)['error_code'], 'internal')
    assert.doesNotMatch(JSON.stringify(answer), /eyJ|canary/)
  }
})

test('the cause of a refusal is never rendered', () => {
  const cause = new Error('connect ECONNREFUSED 10.0.0.7:8200')
  const answer = renderError(new Refusal('signer_unavailable', 'x', { cause }), CONTEXT)
  assert.doesNotMatch(JSON.stringify(answer), /10\.0\.0\.7/)
})

test('an error_description holds only what RFC 6749 §5.2 allows, whatever the sentence was', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (sentence) => {
      const { error_description: text, detail } = bodyOf(
        renderError(new EdgeError('conflict', sentence), CONTEXT),
      )
      assert.match(String(text), /^[\x20-\x21\x23-\x5B\x5D-\x7E]*$/)
      assert.equal(text, detail)
    }),
  )
})

test('a sentence without forbidden characters is left as it is', () => {
  const sentence = "The parameter scope was repeated; it's a list."
  assert.equal(publicText(sentence), sentence)
})
