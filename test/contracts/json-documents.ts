import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JsonDocuments } from '../../src/subject/keys.ts'

/** What a URL answers with; everything can be wrong on purpose. */
export interface Publication {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Sends this much of the body, then nothing more, and never ends. */
  readonly stallAfterBytes?: number
}

/** A fetcher under test and the place it fetches from. */
export interface JsonDocumentsUnderTest {
  readonly documents: JsonDocuments
  /** Makes a path answer; gives its URL. */
  readonly publish: (path: string, publication: Publication) => string
  /** Paths that were asked for, in order. */
  readonly asked: readonly string[]
  close(): Promise<void>
}

const JSON_TYPE = { 'content-type': 'application/json' }
const MOST_BYTES = 512 * 1024
const soon = (): AbortSignal => AbortSignal.timeout(5000)

/** What every {@link JsonDocuments} must do. */
export function jsonDocumentsContract(
  name: string,
  open: () => Promise<JsonDocumentsUnderTest>,
): void {
  const under = (what: string, body: (given: JsonDocumentsUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      const given = await open()
      try {
        await body(given)
      } finally {
        await given.close()
      }
    })
  }
  const refuses = (what: string, publication: Publication): void =>
    under(`${what} is no document`, async ({ documents, publish }) => {
      const url = publish('/document', publication)
      await assert.rejects(
        documents.fetch(url, soon()),
        (error: Error) => !/sekrit/.test(error.message),
      )
    })

  under(
    'a document is fetched with the time it may be reused',
    async ({ documents, publish, asked }) => {
      const url = publish('/keys?v=1', {
        headers: {
          'content-type': 'application/jwk-set+json',
          'cache-control': 'public, max-age=300',
        },
        body: '{"keys":[{"kid":"a"}]}',
      })
      const { document, maxAgeSeconds } = await documents.fetch(url, soon())
      assert.equal(JSON.stringify(document), '{"keys":[{"kid":"a"}]}')
      assert.equal(maxAgeSeconds, 300)
      assert.deepEqual(asked, ['/keys?v=1'])
    },
  )

  under(
    'the reuse time is read from Cache-Control alone, and is zero where reuse is forbidden',
    async ({ documents, publish }) => {
      for (const [header, expected] of [
        ['Max-Age=60', 60],
        ['max-age="60"', 60],
        ['s-maxage=5, max-age=60', 60],
        ['max-age=60, no-cache', 0],
        ['no-store', 0],
        ['public', undefined],
        ['max-age=-1', undefined],
        ['max-age=soon', undefined],
      ] as const) {
        const url = publish('/keys', {
          headers: { ...JSON_TYPE, 'cache-control': header },
          body: '{}',
        })
        assert.equal((await documents.fetch(url, soon())).maxAgeSeconds, expected, header)
      }
    },
  )

  under('a media type is told without its case and parameters', async ({ documents, publish }) => {
    const url = publish('/keys', {
      headers: { 'content-type': 'Application/JSON; charset=utf-8' },
      body: '[]',
    })
    assert.equal(JSON.stringify((await documents.fetch(url, soon())).document), '[]')
  })

  for (const status of [201, 204, 400, 401, 404, 500, 503])
    refuses(`status ${status}`, { status, headers: JSON_TYPE, body: '{}' })
  for (const type of [
    'text/html',
    'text/plain',
    'application/octet-stream',
    'application/jose+json',
    '',
  ])
    refuses(`media type ${type || 'none'}`, {
      headers: type === '' ? {} : { 'content-type': type },
      body: '{}',
    })
  for (const [what, body] of [
    ['an empty body', ''],
    ['HTML', '<html>sekrit</html>'],
    ['JSON with a duplicate name', '{"sekrit":1,"sekrit":2}'],
    ['JSON that is nested deeply', `${'['.repeat(1000)}${']'.repeat(1000)}`],
    ['JSON with a byte order mark', '\ufeff{}'],
    ['JSON that is not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ] as const)
    refuses(what, { headers: JSON_TYPE, body })

  under('a redirect is not followed', async ({ documents, publish, asked }) => {
    const target = publish('/target', { headers: JSON_TYPE, body: '{}' })
    for (const status of [301, 302, 303, 307, 308]) {
      const url = publish(`/moved-${status}`, {
        status,
        headers: { ...JSON_TYPE, location: target },
        body: '{}',
      })
      await assert.rejects(documents.fetch(url, soon()))
    }
    assert.ok(!asked.includes('/target'))
  })

  under('512 KiB are read and not a byte more', async ({ documents, publish }) => {
    const fits = publish('/fits', { headers: JSON_TYPE, body: `"${'x'.repeat(MOST_BYTES - 2)}"` })
    assert.ok(await documents.fetch(fits, soon()))
    const over = publish('/over', { headers: JSON_TYPE, body: `"${'x'.repeat(MOST_BYTES - 1)}"` })
    await assert.rejects(documents.fetch(over, soon()))
  })

  under('a body that stalls is given up with the signal', async ({ documents, publish }) => {
    const url = publish('/stalls', { headers: JSON_TYPE, body: '{"a":1}', stallAfterBytes: 3 })
    await assert.rejects(documents.fetch(url, AbortSignal.timeout(50)))
  })

  under('a signal that has fired lets nothing leave', async ({ documents, publish, asked }) => {
    const url = publish('/keys', { headers: JSON_TYPE, body: '{}' })
    await assert.rejects(documents.fetch(url, AbortSignal.abort(new Error('over'))))
    assert.deepEqual(asked, [])
  })

  under('a place that does not exist is an error', async ({ documents, publish }) => {
    const url = publish('/keys', { headers: JSON_TYPE, body: '{}' })
    await assert.rejects(documents.fetch(new URL('/elsewhere', url).href, soon()))
    for (const bad of [
      '',
      'keys',
      'file:///etc/passwd',
      'gopher://127.0.0.1/',
      'data:application/json,{}',
    ])
      await assert.rejects(documents.fetch(bad, soon()), bad)
  })
}
