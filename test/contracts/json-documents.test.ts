import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { createEgress, EgressRefused } from '../../src/adapters/http/egress.ts'
import { HttpFailure, judgeHttp } from '../../src/adapters/http/http-failure.ts'
import { createHttpJsonDocuments } from '../../src/adapters/http/json-documents.ts'
import {
  type JsonDocumentsUnderTest,
  jsonDocumentsContract,
  type Publication,
} from './json-documents.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

interface HttpUnderTest extends JsonDocumentsUnderTest {
  readonly headers: readonly IncomingHttpHeaders[]
  readonly abandoned: () => Promise<void>
}

/** The HTTP adapter against a real server on this machine. */
async function openHttp(): Promise<HttpUnderTest> {
  const published = new Map<string, Publication>()
  const asked: string[] = []
  const headers: IncomingHttpHeaders[] = []
  const closed = Promise.withResolvers<void>()
  const server = createServer((request, response) => {
    asked.push(request.url ?? '')
    headers.push(request.headers)
    response.on('close', () => response.writableFinished || closed.resolve())
    send(response, published.get(request.url ?? '') ?? { status: 404 })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const documents = createHttpJsonDocuments({ allowHttp: true })
  return {
    documents,
    asked,
    headers,
    abandoned: () => closed.promise,
    publish(path, publication) {
      published.set(path, publication)
      return `http://127.0.0.1:${port}${path}`
    },
    async close() {
      await documents.close()
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

function send(
  response: ServerResponse,
  { status = 200, headers = {}, body = '', stallAfterBytes }: Publication,
): void {
  response.writeHead(status, headers)
  if (stallAfterBytes === undefined) response.end(body)
  else response.write(body.slice(0, stallAfterBytes))
}

jsonDocumentsContract('http', openHttp)

async function withHttp(body: (given: HttpUnderTest) => Promise<void>): Promise<void> {
  const given = await openHttp()
  try {
    await body(given)
  } finally {
    await given.close()
  }
}

const soon = (): AbortSignal => AbortSignal.timeout(5000)

test('http: outside the dev profile nothing is asked of a plain http URL', () =>
  withHttp(async ({ publish, asked }) => {
    const strict = createHttpJsonDocuments({ allowHttp: false })
    const url = publish('/keys', { headers: JSON_TYPE, body: '{}' })
    await assert.rejects(strict.fetch(url, soon()), /https/)
    await assert.rejects(strict.fetch(url.toUpperCase(), soon()), /https/)
    await strict.close()
    assert.deepEqual(asked, [])
  }))

test('http: a compressed body is refused unread, however small it is (gzip bomb)', () =>
  withHttp(async ({ documents, publish, headers }) => {
    const body = gzipSync(Buffer.alloc(20_000_000, 0x20))
    for (const encoding of ['gzip', 'br', 'GZIP', 'x-unknown']) {
      const url = publish('/bomb', {
        headers: { ...JSON_TYPE, 'content-encoding': encoding },
        body,
      })
      await assert.rejects(documents.fetch(url, soon()), /encoded body/)
    }
    assert.ok(headers.every((each) => each['accept-encoding'] === 'identity'))
  }))

test('http: a body of 20 MB is abandoned, not read', () =>
  withHttp(async ({ documents, publish, abandoned }) => {
    const url = publish('/huge', {
      headers: JSON_TYPE,
      body: Buffer.alloc(20_000_000, 0x20),
    })
    await assert.rejects(documents.fetch(url, soon()))
    await abandoned()
  }))

test('http: the body of a refusal is abandoned, however large it is', () =>
  withHttp(async ({ documents, publish, abandoned }) => {
    const url = publish('/error', { status: 500, body: Buffer.alloc(20_000_000, 0x20) })
    // A signal that never fires: only the adapter itself can end the body.
    await assert.rejects(documents.fetch(url, new AbortController().signal), /status 500/)
    const tooLate = setTimeout(3000, 'still open', { ref: false })
    assert.notEqual(await Promise.race([abandoned(), tooLate]), 'still open')
  }))

test('http: credentials in a URL are refused, and none are sent', () =>
  withHttp(async ({ documents, publish, headers, asked }) => {
    const url = publish('/keys', { headers: JSON_TYPE, body: '{}' })
    await assert.rejects(
      documents.fetch(url.replace('http://', 'http://user:pw@'), soon()),
      /credentials/,
    )
    assert.deepEqual(asked, [])
    await documents.fetch(url, soon())
    assert.equal(headers[0]?.authorization, undefined)
    assert.equal(headers[0]?.cookie, undefined)
  }))

test('http: a failure tells whether asking again may help, and when', () =>
  withHttp(async ({ documents, publish }) => {
    const judged = async (publication: Publication) => {
      const failure: unknown = await documents
        .fetch(publish('/keys', publication), soon())
        .catch((error: unknown) => error)
      assert.ok(failure instanceof HttpFailure)
      return judgeHttp(failure)
    }
    const headers = { ...JSON_TYPE, 'retry-after': '3' }
    assert.deepEqual(await judged({ status: 503, headers }), {
      kind: 'failure',
      retryable: true,
      retryAfterMilliseconds: 3000,
      summary: 'answered with status 503',
    })
    assert.equal((await judged({ status: 404, headers: JSON_TYPE })).kind, 'answer')
    assert.equal((await judged({ headers: JSON_TYPE, body: '<html>' })).kind, 'failure')
    assert.equal((await judged({ body: '{}' })).kind, 'failure')
  }))

test('http: a host that is gone, and an answer that breaks off, may be asked again', async () => {
  const server = createServer((_, response) => {
    response.writeHead(200, { ...JSON_TYPE, 'content-length': '9' })
    response.write('{', () => response.destroy())
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const documents = createHttpJsonDocuments({ allowHttp: true })
  const judged = () => documents.fetch(`http://127.0.0.1:${port}/`, soon()).catch(judgeHttp)
  const breaksOff = await judged()
  await new Promise((resolve) => void server.close(resolve))
  for (const verdict of [breaksOff, await judged()])
    assert.deepEqual(verdict, { kind: 'failure', retryable: true })
  await documents.close()
})

test('http: a document inside the network is asked for only where that is listed (SSRF)', () =>
  withHttp(async ({ publish, asked }) => {
    const url = publish('/keys', { headers: JSON_TYPE, body: '{}' })
    const strict = createHttpJsonDocuments(
      { allowHttp: true },
      { egress: createEgress({ allow: [], allowLoopback: false }) },
    )
    await assert.rejects(strict.fetch(url, soon()), EgressRefused)
    assert.deepEqual(asked, [])
    await strict.close()
    const listed = createHttpJsonDocuments(
      { allowHttp: true },
      { egress: createEgress({ allow: ['127.0.0.1'], allowLoopback: false }) },
    )
    assert.ok(await listed.fetch(url, soon()))
    await listed.close()
  }))

test('http: closing the adapter ends requests under way', () =>
  withHttp(async ({ publish, abandoned }) => {
    const url = publish('/stalls', { headers: JSON_TYPE, body: '{}', stallAfterBytes: 1 })
    const documents = createHttpJsonDocuments({ allowHttp: true })
    const fetching = assert.rejects(documents.fetch(url, soon()))
    // The server has answered its first byte by the time a second request to it is through.
    await assert.rejects(documents.fetch(publish('/none', { status: 404 }), soon()))
    await documents.close()
    await fetching
    await abandoned()
  }))
