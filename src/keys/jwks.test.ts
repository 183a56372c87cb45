import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { renderJwks } from './jwks.ts'
import type { KeyState, Ring, RingKey } from './ring.ts'

function ringOf(states: readonly KeyState[], extra: Record<string, string> = {}): Ring {
  const keys = states.map(
    (state): RingKey => ({
      kid: `k-${state}`,
      alg: 'ES256',
      state,
      publicJwk: { kty: 'EC', crv: 'P-256', x: state, y: 'y', ...extra },
      createdAt: 0,
      reason: 'test',
      by: 'ada',
    }),
  )
  return { version: 7, keys }
}

const keysIn = (body: string): { kid: string }[] =>
  (JSON.parse(body) as { keys: { kid: string }[] }).keys

test('JWKS shows the keys that sign, will sign and have signed, in this order, and no other', () => {
  const ring = ringOf(['compromised', 'retired', 'verify-only', 'staged', 'published', 'active'])
  assert.deepEqual(
    keysIn(renderJwks(ring).body).map(({ kid }) => kid),
    ['k-active', 'k-published', 'k-verify-only'],
  )
})

test('each key says what it is for: kid, use and its only algorithm', () => {
  assert.deepEqual(keysIn(renderJwks(ringOf(['active'])).body), [
    { kid: 'k-active', use: 'sig', alg: 'ES256', crv: 'P-256', kty: 'EC', x: 'active', y: 'y' },
  ])
})

test('a private member that got into the stored ring does not get into JWKS', () => {
  const { body } = renderJwks(ringOf(['active'], { d: 'private', k: 'private', kid: 'other' }))
  assert.ok(!body.includes('private'))
  assert.equal(keysIn(body)[0]?.kid, 'k-active')
})

test('the entity tag is strong and belongs to exactly these bytes', () => {
  const { body, etag, kids } = renderJwks(ringOf(['active', 'published']))
  assert.equal(etag, `"${createHash('sha256').update(body).digest('base64url')}"`)
  assert.deepEqual(renderJwks({ ...ringOf(['active', 'published']), version: 8 }), {
    body,
    etag,
    kids,
  })
  assert.deepEqual(kids, ['k-active', 'k-published'])
  assert.notEqual(renderJwks(ringOf(['active'])).etag, etag)
})
