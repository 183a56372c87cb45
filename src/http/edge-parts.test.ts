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
    assert.deepEqual(target, { host: 'h', path: '/a', query: 'b?c', address: '203.0.113.9' })
  })

  test('hosts are compared in lower case and without the port of their scheme', () => {
    assert.equal(host('STS.Acme.example:443'), 'sts.acme.example')
    assert.equal(host('sts.acme.example:8443'), 'sts.acme.example:8443')
    assert.equal(host('[::1]:80'), '[::1]')
  })

  test('the authority of an absolute target replaces Host (RFC 9112 §3.2.2)', () => {
    const target = createRequestTarget([])(message('http://b.example/t?q', { host: 'a.example' }))
    assert.deepEqual([target.host, target.path, target.query], ['b.example', '/t', 'q'])
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

const address = (trusted: readonly string[], forwardedFor: string | undefined, peer = '10.0.0.1') =>
  createRequestTarget(trusted)(message('/', { 'x-forwarded-for': forwardedFor }, peer)).address
const INNER = ['10.0.0.0/8', 'fd00::/8']

suite('addresses of callers', () => {
  test('without trusted proxies it is the peer, whatever it says of itself', () => {
    assert.equal(address([], '198.51.100.7', '203.0.113.9'), '203.0.113.9')
    assert.equal(address(INNER, '198.51.100.7', '203.0.113.9'), '203.0.113.9')
    assert.equal(address([], undefined, '::ffff:203.0.113.9'), '203.0.113.9')
  })

  test('an attacker that writes a victim into X-Forwarded-For is known by its own address', () => {
    assert.equal(address(INNER, '192.0.2.1, 203.0.113.9'), '203.0.113.9')
    assert.equal(address(INNER, '192.0.2.1, 203.0.113.9, 10.2.2.2'), '203.0.113.9')
    assert.equal(address(INNER, '10.9.9.9, 203.0.113.9, 10.2.2.2', 'fd00::1'), '203.0.113.9')
  })

  test('nothing is believed beyond a hop that is no address', () => {
    assert.equal(address(INNER, '203.0.113.9, unknown, 10.2.2.2'), '10.2.2.2')
    assert.equal(address(INNER, '203.0.113.9, _hidden'), '10.0.0.1')
    assert.equal(address(INNER, ''), '10.0.0.1')
    assert.equal(address(INNER, `${'10.1.1.1, '.repeat(10_000)}10.1.1.1`), '10.1.1.1')
  })

  test('one address has one spelling', () => {
    for (const hop of ['203.0.113.9', '203.0.113.9:4711', '::ffff:203.0.113.9'])
      assert.equal(address(INNER, hop), '203.0.113.9', hop)
    for (const hop of ['2001:DB8::9', '[2001:db8::9]', '[2001:db8::9]:4711'])
      assert.equal(address(INNER, hop), '2001:db8::9', hop)
    assert.equal(address(INNER, 'fe80::1%eth0'), '10.0.0.1')
  })
})

const budgetOf = (budgetMilliseconds: number) =>
  createRequestBudget({ budgetMilliseconds, slotMilliseconds: 1 })
const fired = async (signal: AbortSignal) => {
  // The timer of a budget keeps no process alive, so the test must.
  const awake = setTimeout(() => undefined, 60_000)
  if (!signal.aborted) {
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve)
    })
  }
  clearTimeout(awake)
}

suite('request budgets', () => {
  test('the signal fires with a refusal that can be answered', async () => {
    const { signal } = budgetOf(1).open(0, () => undefined)
    await fired(signal)
    assert.ok(isRefusal(signal.reason, 'overloaded'))
  })

  test('a caller that goes away ends its own work, not that of a request of the same slot', () => {
    const budget = budgetOf(60_000)
    const one = budget.open(0, () => undefined)
    const other = budget.open(0, () => undefined)
    one.gone()
    assert.ok(isRefusal(one.signal.reason, 'overloaded'))
    assert.equal(other.signal.aborted, false)
  })

  test('a request that is over is not heard of again', async () => {
    const budget = budgetOf(1)
    const over = budget.open(0, () => undefined)
    const open = budget.open(0, () => undefined)
    over.end()
    await fired(open.signal)
    assert.equal(over.signal.aborted, false)
  })
})
