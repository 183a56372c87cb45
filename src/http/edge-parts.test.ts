import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { suite, test } from 'node:test'
import { createSystemRandom } from '../lib/id.ts'
import { isRefusal } from '../lib/refusal.ts'
import { prefers } from './accept.ts'
import { conditional, tagged } from './conditional.ts'
import { createRequestBudget, createRequestTarget, requestId } from './request-scope.ts'

const html = (accept: string) => prefers(accept, 'text/html', 'application/json')

suite('Accept (RFC 9110 §12.5.1)', () => {
  test('the most specific range decides, wherever it stands', () => {
    assert.equal(html('text/html,application/xhtml+xml,*/*;q=0.8'), true)
    assert.equal(html('*/*, text/html;q=0.5'), false)
    assert.equal(html('text/*;q=0.9, application/json;q=0.8'), true)
    assert.equal(html('application/json'), false)
    assert.equal(html('*/*'), false)
  })

  test('a quality that is no quality counts as not wanted', () => {
    assert.equal(prefers('text/html;q=9', 'text/html', 'application/json'), false)
    assert.equal(prefers('text/html;q=abc', 'text/html', 'application/json'), false)
  })
})

suite('request ids (row 77)', () => {
  const random = createSystemRandom()
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736'

  test('a well-formed traceparent gives the id', () => {
    assert.equal(requestId(`00-${trace}-00f067aa0ba902b7-01`, random), trace)
    assert.equal(requestId(`cc-${trace}-00f067aa0ba902b7-01-what-the-future`, random), trace)
  })

  test('a malformed one is replaced by a fresh id', () => {
    for (const given of [
      undefined,
      '',
      'garbage',
      `00-${trace}-00f067aa0ba902b7`,
      `00-${trace}-00f067aa0ba902b7-01-more`,
      `ff-${trace}-00f067aa0ba902b7-01`,
      `00-${trace.toUpperCase()}-00f067aa0ba902b7-01`,
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `00-${trace}-00f067aa0ba902b7-01, 00-${trace}-00f067aa0ba902b7-01`,
      `01-${trace}-00f067aa0ba902b7-01-${'x'.repeat(10_000)}`,
    ]) {
      const id = requestId(given, random)
      assert.match(id, /^[0-9a-f]{32}$/)
      assert.notEqual(id, trace, given)
    }
  })

  test('fresh ids differ', () => {
    assert.notEqual(requestId(undefined, random), requestId(undefined, random))
  })
})

suite('conditional requests (RFC 9110 §13.1.2)', () => {
  const document = tagged('{"keys":[]}')
  const status = (ifNoneMatch: string | undefined) =>
    conditional(document, ifNoneMatch, { 'content-type': 'x', 'cache-control': 'y' }).status

  test('the same tag, weak, in a list or any tag is answered 304', () => {
    for (const tag of [document.etag, `W/${document.etag}`, `"a", W/${document.etag}`, '*', ' * '])
      assert.equal(status(tag), 304, tag)
  })

  test('another tag, no tag or no quotes is answered in full', () => {
    for (const tag of [undefined, '"other"', '', document.etag.slice(1, -1), '"*"'])
      assert.equal(status(tag), 200, tag)
  })

  test('304 has the tag and the cache rules, but neither body nor media type', () => {
    const answer = conditional(document, '*', { 'content-type': 'x', 'cache-control': 'y' })
    assert.deepEqual(answer, {
      status: 304,
      headers: { 'cache-control': 'y', etag: document.etag },
      body: undefined,
    })
  })

  test('the tag follows the content', () => {
    assert.notEqual(tagged('a').etag, tagged('b').etag)
    assert.match(tagged('a').etag, /^"[^"]+"$/)
  })
})

const message = (
  url: string,
  headers: Record<string, string | undefined>,
  remoteAddress = '203.0.113.9',
) => ({ url, headers, socket: { remoteAddress } }) as unknown as IncomingMessage

const host = (given: string) => createRequestTarget([])(message('/', { host: given })).host

suite('request targets', () => {
  test('path and query are parted at the first question mark', () => {
    const target = createRequestTarget([])(message('/a?b?c', { host: 'h' }))
    assert.deepEqual(target, { host: 'h', path: '/a', query: 'b?c' })
  })

  test('hosts are compared in lower case and without the port of their scheme', () => {
    assert.equal(host('STS.Acme.example:443'), 'sts.acme.example')
    assert.equal(host('sts.acme.example:8443'), 'sts.acme.example:8443')
    assert.equal(host('[::1]:80'), '[::1]')
  })

  test('the authority of an absolute target replaces Host (RFC 9112 §3.2.2)', () => {
    const target = createRequestTarget([])(message('http://b.example/t?q', { host: 'a.example' }))
    assert.deepEqual(target, { host: 'b.example', path: '/t', query: 'q' })
  })

  test('row 65: X-Forwarded-Host of an untrusted peer is ignored', () => {
    const headers = { host: 'a.example', 'x-forwarded-host': 'victim.example' }
    for (const trusted of [[], ['10.0.0.0/8'], ['203.0.113.8'], ['2001:db8::/32']])
      assert.equal(createRequestTarget(trusted)(message('/', headers)).host, 'a.example')
  })

  test('a trusted proxy tells the host; of several values its own counts, which is the last', () => {
    const headers = { host: 'inner', 'x-forwarded-host': 'spoofed.example, sts.acme.example' }
    for (const peer of ['10.1.2.3', '::ffff:10.1.2.3'])
      assert.equal(
        createRequestTarget(['10.0.0.0/8'])(message('/', headers, peer)).host,
        'sts.acme.example',
      )
  })

  test('a proxy that is no network is refused at start', () => {
    for (const network of ['proxy.example', '10.0.0.0/33', '10.0.0.0/x', '::/129'])
      assert.throws(() => createRequestTarget([network]), TypeError)
  })
})

suite('request budgets', () => {
  test('requests of one slot share a signal, later ones get their own', () => {
    const budget = createRequestBudget({ budgetMilliseconds: 60_000, slotMilliseconds: 100 })
    const first = budget.signal(1000)
    assert.equal(budget.signal(1099), first)
    assert.notEqual(budget.signal(1100), first)
    assert.equal(first.aborted, false)
  })

  test('the signal fires with a refusal that can be answered', async () => {
    const budget = createRequestBudget({ budgetMilliseconds: 1, slotMilliseconds: 1 })
    const signal = budget.signal(0)
    // The timer of a budget keeps no process alive, so the test must.
    const awake = setTimeout(() => undefined, 60_000)
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve)
    })
    clearTimeout(awake)
    assert.ok(isRefusal(signal.reason, 'overloaded'))
  })
})
