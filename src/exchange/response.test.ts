import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aTenant, someEvidence } from '../../test/fakes/policy.ts'
import { isRefusal } from '../lib/refusal.ts'
import { stillUsable } from './response.ts'

const NOW = 1_800_000_000
const subject = (over: { usableUntil?: number; ownKid?: string } = {}) => ({
  evidence: someEvidence().subject,
  usableUntil: NOW + 60,
  claims: [],
  kid: 'k',
  alg: 'ES256',
  ...over,
})
const actor = (ownKid: string) => ({
  evidence: { idp: 'login', issuer: 'https://idp.example', sub: 'robot', delegated: false },
  usableUntil: NOW + 60,
  claims: [],
  ownKid,
})
const deps = (...killed: string[]) => ({
  clock: { now: () => NOW * 1000 },
  mustBeSure: () => undefined,
  cutOff: (tenant: string, kid: string) => killed.includes(`${tenant} ${kid}`),
})

test('a token that was good when it came is still good after the look-up', () => {
  stillUsable(deps('acme other', 'globex mine'), aTenant(), subject({ ownKid: 'mine' }), undefined)
})

test('a token that ran out during the look-up is not exchanged, to the very second', () => {
  stillUsable(deps(), aTenant(), subject({ usableUntil: NOW + 1 }), undefined)
  assert.throws(
    () => stillUsable(deps(), aTenant(), subject({ usableUntil: NOW }), undefined),
    (error) => isRefusal(error, 'expired'),
  )
})

test('attack: a token of ours whose key is killed during the look-up is not exchanged, as subject or as actor', () => {
  for (const [given, acting] of [
    [subject({ ownKid: 'mine' }), undefined],
    [subject(), actor('mine')],
  ] as const)
    assert.throws(
      () => stillUsable(deps('acme mine'), aTenant(), given, acting),
      (error) => isRefusal(error, 'revoked'),
    )
})

test('a key of an IdP that happens to have the id of a killed key of ours is not meant', () => {
  stillUsable(deps('acme k'), aTenant(), subject(), undefined)
})
