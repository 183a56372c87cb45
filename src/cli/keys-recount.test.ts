import assert from 'node:assert/strict'
import { test } from 'node:test'
import { recounted } from './keys-recount.ts'

const key = (kid: string) => ({
  kid,
  alg: 'ES256',
  state: 'active',
  created_at: '2026-01-01T00:00:00.000Z',
  reason: 'r',
  by: 'b',
})

test('a recount reads every page of the ledger and counts what was issued, by key', async () => {
  const asked: string[] = []
  const pages = [
    {
      entries: [
        { event: 'issued', kid: 'k1', at: '2026-03-03T00:00:00.000Z' },
        { event: 'refused', kid: 'k1', at: '2026-03-02T00:00:00.000Z' },
        { event: 'key', kid: 'k2', at: '2026-03-02T00:00:00.000Z' },
      ],
      next_before: 7,
    },
    { entries: [{ event: 'issued', kid: 'k1', at: '2026-02-02T00:00:00.000Z' }] },
  ]
  const admin = {
    call: (_method: string, path: string) => {
      asked.push(path)
      return Promise.resolve(pages[asked.length - 1])
    },
  }
  const ring = { tenant: 'acme', version: 3, keys: [{ ...key('k1'), signatures: 1 }, key('k2')] }
  const { keys } = await recounted(admin, ring)
  assert.deepEqual(
    keys.map(({ kid, signatures, last_signed_at: last }) => [kid, signatures, last]),
    [
      ['k1', 2, '2026-03-03T00:00:00.000Z'],
      ['k2', 0, undefined],
    ],
  )
  assert.deepEqual(asked, [
    '/audit/entries?tenant=acme&limit=500',
    '/audit/entries?tenant=acme&limit=500&before=7',
  ])
})
