import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { createSystemRandom } from '../lib/id.ts'
import { newClientSecret } from './new-secret.ts'

test('a new secret has 256 random bits, a prefix for scanners, and the digest of all of it', () => {
  const { secret, sha256 } = newClientSecret(createSystemRandom())
  const text = secret.reveal()
  assert.match(text, /^rms_[A-Za-z0-9_-]{43}$/)
  assert.equal(sha256, createHash('sha256').update(text).digest('base64url'))
})

test('no secret is made twice, and none is printed by accident', () => {
  const random = createSystemRandom()
  const made = Array.from({ length: 500 }, () => newClientSecret(random))
  assert.equal(new Set(made.map(({ secret }) => secret.reveal())).size, 500)
  assert.doesNotMatch(inspect(made[0], { depth: 9 }), /rms_/)
})
