import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anIdp } from '../../test/fakes/policy.ts'
import { isRefusal } from '../lib/refusal.ts'
import { checkClaims, leftOutClaims } from './claims.ts'
import { idpSubject } from './evidence.ts'

const NOW = 1_790_000_000
const USUAL = {
  iss: 'https://login.example',
  sub: 'u1',
  aud: 'rolemint',
  iat: NOW,
  exp: NOW + 300,
  upn: 'ada@acme.example',
}
/** As Entra writes it for a user in more than 200 groups. */
const DISTRIBUTED = {
  _claim_names: { groups: 'src1' },
  _claim_sources: { src1: { endpoint: 'https://graph.example/v1.0/users/u1/getMemberObjects' } },
}
const moment = { now: NOW, skewSeconds: 0 }
const strict = anIdp({ requiredClaims: ['groups'] })

for (const [how, overage] of Object.entries({
  'names them elsewhere': DISTRIBUTED,
  'says only that there are some': { hasgroups: true },
  'names them elsewhere and lists a part': { ...DISTRIBUTED, groups: ['g1'] },
  'says that there are more than it lists': { hasgroups: true, groups: [] },
})) {
  test(`a token that ${how} is not taken for one with groups, and the refusal says who left them out`, () => {
    assert.throws(
      () => checkClaims({ ...USUAL, ...overage }, strict, moment),
      (error) =>
        isRefusal(error, 'missing_claim') && /left the claim groups out/.test(error.message),
    )
  })

  test(`where groups are not required, a token that ${how} is accepted, and the evidence notes it`, () => {
    const payload = { ...USUAL, ...overage }
    const idp = anIdp()
    const subject = idpSubject(idp, checkClaims(payload, idp, moment), payload)
    assert.deepEqual({ ...subject }, { ...subject, leftOut: ['groups'] })
    // There is no member that could be read as "no groups".
    assert.ok(!('groups' in subject) && !('roles' in subject))
  })
}

test('groups that are all there, or none at all, are no overage', () => {
  for (const groups of [['g1'], []]) {
    const payload = { ...USUAL, groups, hasgroups: false, _claim_names: {} }
    assert.ok(checkClaims(payload, strict, moment))
    assert.deepEqual(leftOutClaims(payload), [])
  }
  assert.throws(() => checkClaims(USUAL, strict, moment), /lacked the claim groups/)
})

test('attack: claims about claims that are no names are taken for nothing', () => {
  for (const names of [null, 7, 'groups', ['groups'], true]) {
    const payload = { ...USUAL, groups: ['g1'], _claim_names: names }
    assert.ok(checkClaims(payload, strict, moment))
    assert.deepEqual(leftOutClaims(payload), [])
  }
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`c${i}`, 'src1']))
  assert.equal(leftOutClaims({ _claim_names: { ...many, ['x'.repeat(65)]: 'src1' } }).length, 8)
})
