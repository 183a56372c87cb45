/** The schemas of docs/contracts/source.md are what the demo answers, what the adapter sends, and what their examples say. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { suite, test } from 'node:test'
import { Compile } from 'typebox/schema'
import { startDemoEntitlements } from '../../demo/entitlements.ts'
import { createEgress } from '../../src/adapters/http/egress.ts'
import { createHttpEntitlementSource } from '../../src/adapters/http/entitlement-source.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { Secret } from '../../src/lib/secret.ts'
import { startEntitlementApi } from '../fakes/entitlement-api.ts'
import { sourceOf } from '../fakes/entitlement-source.ts'

interface ContractSchema {
  readonly $schema: string
  readonly $id: string
  readonly examples: readonly unknown[]
}

function schemaOf(name: string): ContractSchema {
  const url = new URL(`../../docs/contracts/${name}.schema.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8')) as ContractSchema
}

function keeps(name: string, value: unknown): boolean {
  return Compile(schemaOf(name)).Check(value)
}

const NAMES = ['source-page', 'source-batch-request', 'source-batch-answer'] as const

suite('the schemas of the source contract', () => {
  for (const name of NAMES) {
    test(`${name}: JSON Schema 2020-12, and its examples keep it`, () => {
      const schema = schemaOf(name)
      assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema')
      assert.equal(schema.$id, `urn:rolemint:contract:${name}`)
      assert.ok(schema.examples.length > 0)
      for (const example of schema.examples)
        assert.ok(keeps(name, example), JSON.stringify(example))
    })
  }

  test('they refuse what the adapter refuses', () => {
    const page = { user: 'ada', items: [{ role: 'a' }], next: null }
    assert.ok(keeps('source-page', page))
    for (const broken of [
      [],
      { ...page, user: '' },
      { ...page, user: 7 },
      { ...page, items: ['a'] },
      { ...page, items: [{}] },
      { ...page, items: [{ role: 7 }] },
      { ...page, items: {} },
      { ...page, next: 7 },
      { ...page, version: {} },
      { ...page, version: 2 ** 53 },
    ])
      assert.equal(keeps('source-page', broken), false, JSON.stringify(broken))
    const batch = { answers: [{ user: 'ada', roles: ['a'] }], unknown: [] }
    assert.ok(keeps('source-batch-answer', batch))
    for (const broken of [
      { answers: batch.answers },
      { unknown: [] },
      { ...batch, answers: [{ user: 'ada' }] },
      { ...batch, answers: [{ user: 'ada', roles: [7] }] },
      { ...batch, unknown: [7] },
    ])
      assert.equal(keeps('source-batch-answer', broken), false, JSON.stringify(broken))
  })

  test('the demo answers as they say, on every page and in a batch', async () => {
    const api = await startDemoEntitlements()
    try {
      const headers = { authorization: `Bearer ${api.bearer}` }
      let path: string | null = '/users/alice%40demo.example/roles'
      let pages = 0
      while (path !== null) {
        const page = (await (await fetch(`${api.url}${path}`, { headers })).json()) as {
          next: string | null
        }
        assert.ok(keeps('source-page', page), JSON.stringify(page))
        path = page.next
        pages += 1
      }
      assert.equal(pages, 3)
      const [question] = schemaOf('source-batch-request').examples
      const body = JSON.stringify(question)
      const answer: unknown = await (
        await fetch(`${api.url}/roles`, { method: 'POST', headers, body })
      ).json()
      assert.ok(keeps('source-batch-answer', answer), JSON.stringify(answer))
    } finally {
      await api.close()
    }
  })

  test('the adapter asks as they say, with the headers that the page shows and no more', async () => {
    const api = await startEntitlementApi()
    const egress = createEgress({ allow: [], allowLoopback: true })
    const port = createHttpEntitlementSource({ egress, clock: systemClock })
    const auth = { header: 'authorization', value: new Secret('Bearer s3cret') }
    const batch = {
      url: api.batchUrl,
      usersMember: 'users',
      answersPath: 'answers',
      userPath: 'user',
      rolesPath: 'roles',
      unknownPath: 'unknown',
      windowMilliseconds: 1,
      max: 100,
    }
    try {
      const signal = AbortSignal.timeout(30_000)
      const single = sourceOf({ url: api.url, auth })
      await port.rolesOf(single, 'alice@acme.example', 200, signal)
      await port.rolesOf({ ...single, batch }, 'alice@acme.example', 200, signal)
    } finally {
      await port.close()
      await api.close()
    }
    const [get, post] = api.requests
    const shown = readFileSync(new URL('../../docs/contracts/source.md', import.meta.url), 'utf8')
    const [, target = '', fields = ''] = /^GET (\S+) HTTP\/1\.1\n([^`]+)```/m.exec(shown) ?? []
    assert.equal(get?.target, target)
    const documented = fields
      .trim()
      .split('\n')
      .map((field) => field.split(':')[0])
    const sent = Object.keys(get?.headers ?? {}).filter((name) => name !== 'connection')
    assert.deepEqual(new Set(sent), new Set(documented))
    for (const field of fields.trim().split('\n').slice(1, 5)) {
      const [name = '', value] = field.split(': ')
      assert.equal(get?.headers[name], value)
    }
    assert.ok(keeps('source-batch-request', JSON.parse(post?.body ?? '')))
  })
})
