import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Secret } from '../lib/secret.ts'
import { toSource, webhookKey } from './options.ts'

const keyOf = (written: string) => webhookKey(new Secret(written))?.reveal()

test('a webhook secret is whsec_ and the base64 of at least 24 bytes, with or without padding and line end', () => {
  const key = randomBytes(25)
  const base64 = key.toString('base64')
  for (const written of [base64, base64.replace(/=+$/, ''), `${base64}\n`])
    assert.deepEqual(keyOf(`whsec_${written}`), key)
})

test('attack: a secret that is short, mistyped or of another form signs nothing', () => {
  const base64 = randomBytes(30).toString('base64')
  for (const written of [
    base64,
    'whsec_',
    `whsec_${randomBytes(23).toString('base64')}`,
    `whsec_${base64.slice(0, 10)}*${base64.slice(10)}`,
    `whsec_${base64.slice(0, 10)} ${base64.slice(10)}`,
    `whpk_${base64}`,
    'whsec_correct horse battery staple, repeated',
  ])
    assert.equal(keyOf(written), undefined, written)
})

test('a source that says nothing of it is asked with the documented windows, and denies when it fails', () => {
  const source = toSource('hr', { url: 'https://hr.example/{user}', roles: 'roles' })
  assert.deepEqual(
    {
      ...source,
      url: undefined,
    },
    {
      name: 'hr',
      url: undefined,
      idps: undefined,
      auth: undefined,
      rolesPath: 'roles',
      nextPagePath: undefined,
      echoPath: undefined,
      maxPages: 20,
      consistency: { kind: 'none' },
      batch: undefined,
      concurrency: 64,
      connectMilliseconds: 200,
      readMilliseconds: 800,
      totalMilliseconds: 800,
      freshMilliseconds: 60_000,
      staleMilliseconds: 0,
      staleIfErrorMilliseconds: 0,
      unknownUserMilliseconds: 30_000,
      onFailure: 'deny',
      limited: undefined,
      webhookKey: undefined,
    },
  )
})

test('what is listed for an outage lives fifteen minutes unless it says otherwise', () => {
  const config = { url: 'https://hr.example/{user}', roles: 'roles', onFailure: 'limited' as const }
  const limitedOf = (ttl?: string) =>
    toSource('hr', { ...config, limited: { roles: ['R'], ...(ttl === undefined ? {} : { ttl }) } })
      .limited
  assert.deepEqual(limitedOf(), { roles: ['R'], ttlSeconds: 900 })
  assert.deepEqual(limitedOf('2m'), { roles: ['R'], ttlSeconds: 120 })
})
