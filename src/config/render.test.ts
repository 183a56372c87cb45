import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fakeConfigFiles } from '../../test/fakes/config-files.ts'
import { loadConfig } from './load.ts'
import { nearest } from './nearest.ts'
import { ConfigError } from './problem.ts'
import { renderProblems } from './render.ts'

const KEYS = 'keys: { store: { sealed: { kek: "${env:KEK}" } } }'

function rendered(text: string): string {
  try {
    loadConfig({
      path: '/c/rolemint.yaml',
      files: fakeConfigFiles({ '/c/rolemint.yaml': text }),
      env: { KEK: '07'.repeat(32) },
    })
  } catch (error) {
    if (error instanceof ConfigError) return renderProblems(error.problems)
    throw error
  }
  return ''
}

test('a problem is shown with its line, a caret under the mistake, and the mend beside it', () => {
  const text = `version: 1
${KEYS}
tenants:
  acme:
    issuer: https://sts.acme.example
    clients: {}
    idps:
      login:
        issuer: https://login.acme.example
        audience: rolemint
        algoritms: [RS256] # TODO
`
  assert.equal(
    rendered(text),
    `error[config/unknown-key]: unknown key "algoritms" in tenants.acme.idps.login
  --> rolemint.yaml:11:9
  11 |         algoritms: [RS256]
     |         ^^^^^^^^^           mend: did you mean "algorithms"?
`,
  )
})

test('a very long line is cut around the caret, and a long mend stands below it', () => {
  const long = `version: 1\nprofile: dev\ntenants: { ${'a'.repeat(30)}: { issuer: https://a.example, clients: {}, idps: { ${'b'.repeat(60)}: { issuer: https://b.example, audience: 1 } } } }\n`
  const [, , line = '', caret = ''] = rendered(long).split('\n')
  assert.ok(line.length < 140)
  assert.equal(line.slice(caret.indexOf('^'), caret.lastIndexOf('^') + 1), '[redacted]')

  const [, , key, below, mend] = rendered(
    `${long}telemetry: { enabled: true, sampling: all }\n`,
  ).split('\n')
  assert.equal(key, '  4 | telemetry: { [redacted]: [redacted], [redacted]: [redacted] }')
  assert.equal(below, '    | ^^^^^^^^^')
  assert.match(mend ?? '', /^ {4}\| mend: known here: version, profile/)
})

test('a problem of the environment names the variable', () => {
  const files = fakeConfigFiles({
    '/c/rolemint.yaml':
      'version: 1\nprofile: dev\ntenants: { a: { issuer: https://a.example, idps: {}, clients: {} } }\n',
  })
  const run = () =>
    loadConfig({ path: '/c/rolemint.yaml', files, env: { ROLEMINT_LIMITS_SKEW: '5' } })
  assert.throws(run, (error: ConfigError) => {
    const [first = ''] = renderProblems(error.problems).split('\n\n')
    assert.equal(
      first,
      'error[config/bad-value]: limits.skew is "5"\n  --> env ROLEMINT_LIMITS_SKEW\n  mend: wanted: duration (`250ms`, `30s`, `12h`, `30d`)\n',
    )
    return true
  })
})

test('at most five problems are shown, and the rest is counted', () => {
  const keys = ['one', 'two', 'three', 'four', 'five', 'six', 'seven']
  const text = `version: 1\n${KEYS}\ntenants: {}\n${keys.map((key) => `${key}xyz: 1\n`).join('')}`
  const shown = rendered(text)

  assert.equal(shown.match(/^error\[/gm)?.length, 5)
  assert.match(shown, /and 3 more/)
})

test('the nearest word is found over typos, swaps and other spellings, and only if it is near', () => {
  const words = ['issuer', 'audience', 'algorithms', 'jwksUri', 'clientSecret']
  assert.equal(nearest('isuser', words), 'issuer')
  assert.equal(nearest('algoritms', words), 'algorithms')
  assert.equal(nearest('jwks_uri', words), 'jwksUri')
  assert.equal(nearest('client-secret', words), 'clientSecret')
  assert.equal(nearest('colour', words), undefined)
  assert.equal(nearest('x'.repeat(5000), words), undefined)
})
