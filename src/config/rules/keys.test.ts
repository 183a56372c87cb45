import assert from 'node:assert/strict'
import { test } from 'node:test'
import { broken, problemsOfKeys, SAFE, UNSAFE } from '../../../test/security/unsafe-keys.ts'
import { renderProblems } from '../render.ts'

for (const [name, text] of Object.entries(SAFE)) {
  test(`the ${name} configuration that is broken below is good`, () => {
    assert.deepEqual(problemsOfKeys(text), [])
  })
}

for (const [name, row] of Object.entries(UNSAFE)) {
  test(`${name} is refused as ${row.code}, with its place and a mend`, () => {
    const text = broken(row)
    const [first, ...others] = problemsOfKeys(text)

    assert.ok(first, 'it was accepted')
    assert.deepEqual([first.severity, first.code], ['error', row.code], JSON.stringify(first))
    assert.match(first.mend ?? '', row.mend)
    assert.ok(first.line !== undefined && first.column !== undefined)
    if (text.includes('▸')) {
      const lines = (text.split('▸')[0] ?? '').split('\n')
      assert.deepEqual([first.line, first.column], [lines.length, (lines.at(-1)?.length ?? 0) + 1])
    }
    assert.deepEqual(others, [], 'one mistake is one error')
    assert.equal(/hunter2|0707/.test(renderProblems([first]) + JSON.stringify(first)), false)
  })
}

test('in dev, and only there, publishAhead: 0s is a rotation without waiting', () => {
  const fast = SAFE.fast.replace('publishAhead: 6s', 'publishAhead: 0s')
  assert.deepEqual(problemsOfKeys(fast), [])

  const [first] = problemsOfKeys(fast.replace('publishAhead: 0s', 'publishAhead: 1s'))
  assert.equal(first?.code, 'config/publish-ahead')
})

test('of two tenants the one with the longer tokens counts for rotateEvery', () => {
  const second = `  beta:
    issuer: http://127.0.0.1:8080/beta
    idps: { login: { issuer: https://login.beta.example, audience: rolemint } }
    clients: {}
    tokens: { ttl: 4s }
`
  const [first] = problemsOfKeys(`${SAFE.fast}${second}`)
  assert.match(first?.message ?? '', /tokens of tenant beta live for 4s/)
})

test('a misspelt key beside keys is one error, not two', () => {
  for (const [right, wrong] of [
    ['signer:', 'singer:'],
    ['publishAhead:', 'publishAhaed:'],
    ['secretIdFile:', 'secretIdFlie:'],
  ] as const) {
    const text = Object.values<string>(SAFE).find((one) => one.includes(right)) ?? ''
    assert.deepEqual(
      problemsOfKeys(text.replace(right, wrong)).map(({ code }) => code),
      ['config/unknown-key'],
    )
  }
})

const consumers = (count: number) =>
  SAFE.sealed.replace(
    '{ orders-api: { caches: 20h }, billing: {} }',
    `{ ${Array.from({ length: count }, (_, index) => `c-${index}: {}`).join(', ')} }`,
  )

test('a tenant has 200 named consumers at most', () => {
  assert.deepEqual(problemsOfKeys(consumers(200)), [])
  assert.equal(problemsOfKeys(consumers(201))[0]?.path, 'tenants.acme.consumers')
})
