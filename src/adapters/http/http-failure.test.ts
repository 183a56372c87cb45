import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errors } from 'undici'
import { EgressRefused } from './egress.ts'
import { HttpFailure, judgeHttp, retryAfterOf } from './http-failure.ts'

const status = (code: number) => judgeHttp(new HttpFailure(`status ${code}`, { status: code }))
const coded = (code: string) => judgeHttp(Object.assign(new Error('10.1.2.3'), { code }))

test('"not now" counts against the host and may be tried again', () => {
  for (const code of [429, 502, 503, 504])
    assert.deepEqual([status(code).kind, status(code).retryable], ['failure', true], `${code}`)
})

test('a client error is an answer: the host is well', () => {
  for (const code of [400, 401, 403, 404, 410, 451])
    assert.deepEqual([status(code).kind, status(code).retryable], ['answer', false], `${code}`)
})

test('whatever else is not as agreed counts against the host, and asking again would not help', () => {
  for (const code of [200, 204, 301, 302, 500, 501, 505])
    assert.deepEqual([status(code).kind, status(code).retryable], ['failure', false], `${code}`)
  const html = judgeHttp(new HttpFailure('answered with a media type that is not JSON'))
  assert.deepEqual([html.kind, html.retryable], ['failure', false])
  assert.deepEqual(judgeHttp(new TypeError('a bug')), { kind: 'failure', retryable: false })
  assert.deepEqual(judgeHttp('no error'), { kind: 'failure', retryable: false })
})

test('a fault of the connection may pass, unless it comes back however often it is tried', () => {
  for (const code of ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'EAI_AGAIN', 'UND_ERR_SOCKET'])
    assert.ok(coded(code).retryable, code)
  assert.ok(judgeHttp(new errors.ConnectTimeoutError()).retryable)
  for (const code of [
    'ENOTFOUND',
    'CERT_HAS_EXPIRED',
    'DEPTH_ZERO_SELF_SIGNED_CERT',
    'ERR_TLS_CERT_ALTNAME_INVALID',
    'HPE_INVALID_CONSTANT',
    'UND_ERR_HEADERS_OVERFLOW',
    'UND_ERR_DESTROYED',
  ])
    assert.deepEqual([coded(code).kind, coded(code).retryable], ['failure', false], code)
})

test('a refused address is not tried again, and its summary names no host', () => {
  const verdict = judgeHttp(new EgressRefused('hr.internal', 'private'))
  assert.deepEqual(verdict, {
    kind: 'failure',
    retryable: false,
    summary: 'the address is private',
  })
})

test('Retry-After is seconds or a date by the clock of the host, and nothing else', () => {
  const date = 'Tue, 24 Nov 2026 10:00:00 GMT'
  const now = Date.parse('2026-11-24T09:59:00Z')
  const of = (value: string | string[], more = {}) =>
    retryAfterOf({ 'retry-after': value, ...more }, now)
  assert.equal(of('120'), 120_000)
  assert.equal(of('0'), 0)
  assert.equal(of(date), 60_000)
  assert.equal(of(date, { date: 'Tue, 24 Nov 2026 09:59:50 GMT' }), 10_000)
  assert.equal(of(date, { date: 'Tue, 24 Nov 2026 11:00:00 GMT' }), 0)
  for (const bad of ['', '-1', '1.5', 'soon', '1e9', '12345678901', '2026-11-24', ['1', '2']])
    assert.equal(of(bad), undefined, String(bad))
  assert.equal(retryAfterOf({}, now), undefined)
  const verdict = judgeHttp(new HttpFailure('busy', { status: 503, retryAfterMilliseconds: 400 }))
  assert.equal(verdict.retryAfterMilliseconds, 400)
})
